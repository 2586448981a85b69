"""Recorded goal lists, with the products, prices and draws recorded beside them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sparring.envs.web.webshop.goals import GoalBook
from sparring.envs.web.webshop.products import Product
from sparring.envs.web.webshop.recordings.subject import OTHER_DATA, Check, Result, Subject, data_set_named
from sparring.envs.web.webshop.session import Shop
from sparring.envs.web.webshop.simulator import Simulator

_ABSENT = object()


def check_goals(data: Mapping[str, Mapping[str, Any]], subject: Subject) -> Iterator[Result]:
    """Goal lists, whole or hashed, with the prices, products and draws recorded beside them."""
    for name, entry in data.items():
        label = entry.get("dataset", data_set_named(name))
        goals = [goal for goal in entry.get("first_goals", ()) if isinstance(goal, dict)]
        products = entry.get("loaded_products", ())
        asins = {one["asin"] for one in (*goals, *products)} | set(entry.get("product_prices_with_two", ()))
        if not subject.owns(label, asins):
            yield OTHER_DATA
        elif "n_goals" in entry:
            yield from _check_goal_list(name, entry, subject)
        else:
            yield from _check_selection(name, entry, subject)


def _check_goal_list(name: str, entry: Mapping[str, Any], subject: Subject) -> Iterator[Check]:
    human = bool(entry.get("human_goals", "human" in name and "human=False" not in name))
    shop = subject.shop(human, entry.get("seed_before_construction", entry.get("seed", _number("seed", name) or 0)))
    book = shop.book
    goals = [book.goal(index).as_original() for index in range(len(book))]
    digest = hashlib.sha256(json.dumps(goals, sort_keys=True).encode()).hexdigest()
    yield Check.equal(f"{name}: number of goals", entry["n_goals"], len(goals))
    if "sha256_of_json_dumps_sort_keys" in entry:
        yield Check.equal(f"{name}: hash of all goals", entry["sha256_of_json_dumps_sort_keys"], digest)
    if "sum_weights" in entry:
        got_sum = float(book.weight_sums[-1])
        same = math.isclose(got_sum, entry["sum_weights"], rel_tol=1e-9)
        yield Check(f"{name}: sum of weights", entry["sum_weights"], got_sum, same)
    for index, goal in enumerate(entry.get("first_goals", ())):
        yield Check.equal(f"{name}: goal {index}", goal, goals[index] if index < len(goals) else _ABSENT)
    for asin, price in entry.get("product_prices_with_two", {}).items():
        row = subject.catalogue.row_of(asin)
        yield Check.equal(f"{name}: price of {asin}", price, None if row is None else float(book.prices[row]))
    for row, product in enumerate(entry.get("loaded_products", ())):
        got_product = as_loaded(subject.catalogue.product(row)) if row < len(subject.catalogue) else _ABSENT
        yield Check.equal(f"{name}: product {product['asin']}", product, got_product)
    yield from _check_draws(name, entry, book)


def _check_draws(name: str, entry: Mapping[str, Any], book: GoalBook) -> Iterator[Check]:
    """Session ids and goals that the constructor's reset and the next ones drew."""
    if "session_after_ctor" not in entry:
        return
    simulator = Simulator(Shop(book))
    goal = book.goal(simulator.visit.goal).instruction_text
    yield Check.equal(
        f"{name}: first session", [entry["session_after_ctor"], entry.get("goal_after_ctor")],
        [simulator.visit.session_id, goal],
    )  # fmt: skip
    for number, expected in enumerate(entry.get("next_resets", ())):
        text, _ = simulator.reset()
        got = [simulator.visit.session_id, simulator.visit.goal, text]
        yield Check.equal(f"{name}: reset {number}", list(expected), got)


def _check_selection(name: str, entry: Mapping[str, Any], subject: Subject) -> Iterator[Check]:
    """Goals left by `limit_goals` or a filter; the entry's name says which, and the seed."""
    limit = _number("limit_goals", name)
    modulus = re.search(r"filter i%(\d+)==(\d+)", name)
    keep: Callable[[int, Mapping[str, Any]], bool] | None = None
    if modulus:
        divisor, rest = int(modulus[1]), int(modulus[2])
        keep = lambda index, goal: index % divisor == rest  # noqa: E731 - two numbers, used once
    book = GoalBook(
        subject.catalogue, "human" if "human" in name else "synthetic",
        _number("seed", name) or 0, keep, -1 if limit is None else limit,
    )  # fmt: skip
    yield Check.equal(f"{name}: number of goals", entry["n"], len(book))
    for index, text in enumerate(entry["goals"]):
        got = book.goal(index).instruction_text if index < len(book) else _ABSENT
        yield Check.equal(f"{name}: goal {index}", text, got)


def _number(key: str, name: str) -> int | None:
    """The number behind `key=` in an entry's name."""
    found = re.search(rf"{key}=(\d+)", name)
    return int(found[1]) if found else None


def as_loaded(product: Product) -> dict[str, Any]:
    """A product as the original's loader leaves it, apart from instructions."""
    images = {value: product.option_images.get(value) for values in product.options.values() for value in values}
    return {
        "name": product.name,
        "pricing": list(product.pricing),
        "product_category": product.product_category,
        "asin": product.asin,
        "category": product.category,
        "query": product.query,
        "Title": product.name,
        "Description": product.description,
        "Reviews": [],
        "Rating": "N.A.",
        "BulletPoints": list(product.bullets),
        "Price": product.price_tag,
        "options": {name: list(values) for name, values in product.options.items()},
        "option_to_image": images,
        "Attributes": list(product.attributes),
        "MainImage": product.main_image,
    }
