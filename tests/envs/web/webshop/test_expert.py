"""The expert: reward 1 wherever it can be had, from anywhere."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparring.agents.scripted import random_action
from sparring.envs.web.webshop.build import build_from_rows
from sparring.envs.web.webshop.catalogue import open_catalogue
from sparring.envs.web.webshop.expert import expert_of, next_action
from sparring.envs.web.webshop.generate import generate
from sparring.envs.web.webshop.goals import GoalKind, goal_book
from sparring.envs.web.webshop.pages import Kind
from sparring.envs.web.webshop.session import Outcome, Shop, Visit
from sparring.types import Observation, Prompt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(products=400, seed=7, out=tmp_path_factory.mktemp("made") / "catalogue")


def shop_of(folder: Path, kind: GoalKind) -> Shop:
    return Shop(goal_book(open_catalogue(folder), kind, 0))


def follow(shop: Shop, visit: Visit, limit: int = 60) -> tuple[Outcome, int]:
    for turn in range(1, limit + 1):
        outcome = shop.act(visit, next_action(shop, visit), random.Random)
        if outcome.done:
            return outcome, turn
        visit = outcome.visit
    raise AssertionError(f"the expert bought nothing in {limit} actions; it stands at {visit.url}")


def wander(shop: Shop, goal: int) -> Visit:
    """Take some random admissible actions, up to and including a purchase."""
    rng = np.random.default_rng(goal)
    visit = shop.enter("s", goal)
    for _ in range(int(rng.integers(1, 20))):
        if visit.kind is Kind.DONE:
            break
        observation = Observation("", shop.page(visit).actions)
        action = random_action(Prompt((), observation, shop.goal(visit).instruction_text), rng)
        visit = shop.act(visit, action, random.Random).visit
    return visit


@pytest.mark.parametrize("kind", ["synthetic", "human"])
def test_it_solves_every_goal_of_a_made_up_catalogue_in_few_steps(folder: Path, kind: GoalKind) -> None:
    shop = shop_of(folder, kind)
    for goal in range(len(shop.book)):
        outcome, turns = follow(shop, shop.enter("s", goal))
        assert outcome.reward == 1
        # search, open, choose each option, buy; a page more where the product is not among the first ten
        assert turns <= 4 + len(shop.book.goal(goal).options)


def test_its_searches_use_words_of_the_instruction(folder: Path) -> None:
    shop = shop_of(folder, "synthetic")
    for goal in range(0, len(shop.book), 7):
        told = shop.book.goal(goal).instruction_text.lower()
        assert all(word in told for word in expert_of(shop).plan(goal).query.split())


def test_it_finds_its_way_from_anywhere(folder: Path) -> None:
    shop = shop_of(folder, "synthetic")
    reached = set()
    for goal in range(300):
        visit = wander(shop, goal)
        reached.add(visit.kind)
        outcome, _ = follow(shop, visit)
        assert outcome.reward == 1
    assert reached == set(Kind)


@pytest.mark.parametrize(
    "query", ["item_sub_page", "search_results", "<r>", "<c> garden", "done item_page", "zzzz", "]"]
)
def test_strange_searches_do_not_trap_it(folder: Path, query: str) -> None:
    shop = shop_of(folder, "synthetic")
    goal = shop.book.goal(3)
    title = shop.catalogue.product(goal.row).name
    for words in (query, f"{query} {title}", f"{title} {query}"):
        visit = shop.act(shop.enter("s", 3), f"search[{words}]", lambda: random.Random(0)).visit
        for choice in (None, *shop.page(visit).actions.choices[-3:]):
            there = visit if choice is None else shop.act(visit, choice, random.Random).visit
            assert follow(shop, there)[0].reward == 1


def row(asin: str, name: str, options: dict[str, list[str]] | str = "", price: str = "$15.00") -> dict[str, Any]:
    groups = {key: [{"value": value} for value in values] for key, values in options.items()} if options else ""  # type: ignore[union-attr]
    return {
        "asin": asin, "name": name, "full_description": "", "small_description": [""], "pricing": price, "images": [],
        "product_category": "A › B", "category": "garden", "query": "pots", "customization_options": groups,
    }  # fmt: skip


def shop_with(folder: Path, rows: list[dict[str, Any]], wanted: str, human: list[str] | None = None) -> Shop:
    """A shop in which all products are blue pots and one person wants the product `wanted`."""
    told = {one["asin"]: {"attributes": ["blue pot"]} for one in rows}
    told[wanted] |= {"instruction": "find a blue pot", "instruction_attributes": ["blue pot"]}  # type: ignore[dict-item]
    wishes: dict[str, Any] = {}
    if human is not None:
        wishes[wanted] = [
            {"instruction": "a blue pot", "instruction_attributes": ["blue pot"], "instruction_options": human}
        ]
    out = build_from_rows(rows, told, wishes, lambda title: title.lower().split(), folder / "catalogue")
    return shop_of(out, "human" if human is not None else "synthetic")


def test_it_buys_another_product_where_the_goals_own_cannot_be_had(tmp_path: Path) -> None:
    # An option with a bracket can't be clicked; the second pot has the value without one.
    rows = [row("B1", "blue pot", {"set": ["[two]"]}), row("B2", "blue pot", {"set": ["two"]})]
    shop = shop_with(tmp_path, rows, "B1", ["[two]"])
    outcome, _ = follow(shop, shop.enter("s", 0))
    assert outcome.reward == 1
    assert outcome.visit.row == 1


def test_without_a_full_reward_it_takes_the_best_there_is(tmp_path: Path) -> None:
    # Attribute, price and option count a third each: the option can't be clicked anywhere, so 2/3 is the most.
    rows = [row("B1", "blue pot", {"set": ["[two]"]}), row("B2", "blue pot"), row("B3", "dear pot", price="$900.00")]
    shop = shop_with(tmp_path, rows, "B1")
    outcome, _ = follow(shop, shop.enter("s", 0))
    assert outcome.reward == pytest.approx(2 / 3)


def test_an_option_named_like_a_button_is_not_taken_for_an_option(tmp_path: Path) -> None:
    rows = [row("B1", "blue pot", {"kind": ["buy now", "description", "plain"], "size": ["small", "large"]})]
    shop = shop_with(tmp_path, rows, "B1")
    rewards = {
        shop.book.goal(goal).options: follow(shop, shop.enter("s", goal))[0].reward for goal in range(len(shop.book))
    }
    # attribute, two options, price: with an option that only looks like one, 3 of 4 remain
    assert {value for (_, kind), *_ in rewards for value in [kind]} == {"buy now", "description", "plain"}
    assert all(reward == (1 if options[0][1] == "plain" else 0.75) for options, reward in rewards.items())
