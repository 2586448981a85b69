"""Recorded rewards, and the functions they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sparring.envs.web.webshop.goals import Goal
from sparring.envs.web.webshop.products import Product
from sparring.envs.web.webshop.recordings.subject import OTHER_DATA, Check, Result, Subject, short_hash
from sparring.envs.web.webshop.reward import normalize_colour, purchase_reward, token_set_ratio
from sparring.errors import InvalidData


def check_rewards(data: Mapping[str, Any], subject: Subject) -> Iterator[Result]:
    """Rewards of purchases, with product and goal carried along or named."""
    owned = subject.owned([(case.get("dataset"), _case_asins(case)) for case in data["cases"]])
    for number, (case, ours) in enumerate(zip(data["cases"], owned, strict=True)):
        where = f"reward case {case.get('id', number)} ({case.get('tag', '')})"
        product = _purchased(case, subject)
        goals = _wanted(case, subject)
        if product is not None and goals:
            # Goals of one product may read alike and want different things: a hash of the text then names them all.
            outcomes = [_compare(where, case, product, goal, subject) for goal in goals]
            yield next((outcome for outcome in outcomes if outcome.same), outcomes[0])
        elif ours:
            missing = "product" if product is None else "goal"
            yield Check(where, "an entry that names our products", f"no such {missing} here", False)
        else:
            yield OTHER_DATA


def _compare(where: str, case: Mapping[str, Any], product: Product, goal: Goal, subject: Subject) -> Check:
    price = case.get("price")
    if price is None:
        row = subject.catalogue.row_of(product.asin)
        price = float(subject.shop(goal.human).book.prices[row]) if row is not None else 0.0
    try:
        nouns = _nouns(case, "goal", goal.asin, subject)
        reward, parts = purchase_reward(product, goal, nouns, price, case["options"])
        got: object = {"reward": reward, "info": parts}
    except InvalidData as error:
        got = f"raises InvalidData: {error}"
    if "raises" in case:
        return Check(where, f"raises {case['raises']}", got, isinstance(got, str))
    expected = case["expected"]
    if not isinstance(expected, dict):
        expected = {"reward": expected}
    compared = {key: got[key] for key in expected if key in got} if isinstance(got, dict) else got
    return Check.equal(where, expected, compared)


def _case_asins(case: Mapping[str, Any]) -> set[str]:
    return {case[key] for key in ("purchased_asin", "goal_asin") if isinstance(case.get(key), str)}


def _purchased(case: Mapping[str, Any], subject: Subject) -> Product | None:
    raw = case.get("purchased")
    if raw is None:
        row = subject.catalogue.row_of(case["purchased_asin"])
        if row is None:
            return None
        return replace(subject.catalogue.product(row), nouns=_nouns(case, "purchased", case["purchased_asin"], subject))
    return Product(
        asin=raw["asin"], name=raw["name"], description=raw["Description"], bullets=tuple(raw["BulletPoints"]),
        category="", query=raw["query"], product_category=raw["product_category"], options={}, pricing=(0.0,),
        price_tag="", attributes=tuple(raw["Attributes"]), main_image="",
        nouns=_nouns(case, "purchased", raw["asin"], subject),
        option_images={}, instruction=None, instruction_attributes=(),
    )  # fmt: skip


def _nouns(case: Mapping[str, Any], side: str, asin: str, subject: Subject) -> tuple[str, ...]:
    """The nouns recorded with a case, else those of our product of that ASIN."""
    recorded = case.get(f"{side}_nouns")
    return tuple(recorded) if recorded is not None else subject.catalogue.find(asin).nouns


def _wanted(case: Mapping[str, Any], subject: Subject) -> list[Goal]:
    """The goal of a case, or those that its ASIN and hash name."""
    raw = case.get("goal")
    if raw is None:
        return _goals_by_hash(case["goal_asin"], case["goal_text_sha"], subject)
    options = raw["goal_options"]
    human = not isinstance(options, dict)
    return [Goal(
        0, raw["asin"], raw["category"], raw["query"], raw["name"], raw["product_category"], raw["instruction_text"],
        tuple(raw["attributes"]), raw["price_upper"], tuple(options) if human else tuple(options.items()),
        raw["weight"], human,
    )]  # fmt: skip


def _goals_by_hash(asin: str, text_hash: str, subject: Subject) -> list[Goal]:
    """The goals of seed 0, synthetic and human, for this product with this instruction."""
    row = subject.catalogue.row_of(asin)
    found = []
    for human in (False, True):
        if row is not None and subject.catalogue.manifest["human_goals" if human else "synthetic_goals"]:
            book = subject.shop(human).book
            goals = map(book.goal, np.flatnonzero(book.goal_rows == row).tolist())
            found += [goal for goal in goals if short_hash(goal.instruction_text) == text_hash]
    return found


def check_ratios(data: Mapping[str, Any], subject: Subject) -> Iterator[Result]:
    """Values of `token_set_ratio` on difflib."""
    for pair in data["pairs"]:
        first, second = (tuple(pair[side]) if pair.get(f"{side}_is_tuple") else pair[side] for side in ("a", "b"))
        ratio = token_set_ratio(first, second)
        yield Check.equal(f"ratio of {first!r} and {second!r}", pair["thefuzz0.19+difflib"], ratio)


def check_colours(data: Sequence[Mapping[str, Any]], subject: Subject) -> Iterator[Result]:
    """Normalised colours."""
    for entry in data:
        option = tuple(entry["input_tuple"]) if "input_tuple" in entry else entry["input"]
        expected = tuple(entry["output"]) if isinstance(entry["output"], list) else entry["output"]
        yield Check.equal(f"colour of {option!r}", expected, normalize_colour(option))
