"""Goals: which there are, in what order, and from which draws."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from sparring.envs.web.webshop.catalogue import Catalogue
from sparring.envs.web.webshop.goals import NO_BOUND, GoalBook, combinations, draw_price_bound, weighted_index
from sparring.envs.web.webshop.splits import split_goals
from sparring.errors import InvalidConfig


def original_synthetic(catalogue: Catalogue, seed: int) -> list[tuple[str, str, float]]:
    """(asin, instruction, weight) of every goal, made the plain way from the products, draws included."""
    generator = random.Random(seed)
    products = [catalogue.product(row) for row in range(len(catalogue))]
    prices = [p.pricing[0] if len(p.pricing) == 1 else generator.uniform(*p.pricing) for p in products]
    goals: list[tuple[str, str, tuple[str, ...]]] = []
    for product, price in zip(products, prices, strict=True):
        if product.instruction is None:
            continue
        grid = [10.0 * step for step in range(1, 100) if 10.0 * step > price][:4]
        ending = f", and price lower than {max(generator.sample(grid, 2)):.2f} dollars" if len(grid) > 1 else ""
        names = sorted(product.options)
        for values in itertools.product(*(product.options[name] for name in names)):
            wish = ", and ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True))
            text = product.instruction + (f" with {wish}" if wish else "") + ending
            goals.append((product.asin, text, product.instruction_attributes))
    counts = Counter(one for goal in goals for one in goal[2])
    weighted = [(asin, text, sum(1 / counts[one] for one in wanted) / len(wanted)) for asin, text, wanted in goals]
    random.Random(233).shuffle(weighted)
    return weighted


@pytest.mark.parametrize("seed", [0, 7])
def test_synthetic_goals_are_the_shuffled_combinations(awkward: Catalogue, seed: int) -> None:
    book = GoalBook(awkward, "synthetic", seed)
    goals = [book.goal(index) for index in range(len(book))]
    assert [(goal.asin, goal.instruction_text, goal.weight) for goal in goals] == original_synthetic(awkward, seed)
    # An option group without values leaves no combination: the blanket has no goals.
    assert "B0TEST0002" not in {goal.asin for goal in goals}


def test_human_goals_skip_instructions_without_attributes_and_keep_options_as_a_list(awkward: Catalogue) -> None:
    book = GoalBook(awkward, "human")
    goals = [book.goal(index) for index in range(len(book))]
    assert len(goals) == 10 and not any("no attributes" in goal.instruction_text for goal in goals)
    kettle = next(goal for goal in goals if goal.asin == "B0TEST0001")
    assert kettle.instruction_text.startswith('i want a loud copper kettle, 12" x 9", and price lower than ')
    assert kettle.as_original()["goal_options"] == ['12" x 9"', "dark red"]
    assert {goal.weight for goal in goals} == {1}


def test_a_price_bound_is_the_larger_of_two_of_the_next_four_steps() -> None:
    generator = random.Random(0)
    drawn = Counter(draw_price_bound(24.0, generator) for _ in range(6000))
    # Of the six pairs of (30, 40, 50, 60) one has 40, two have 50 and three have 60 as its larger member.
    assert {bound: round(count / 1000) for bound, count in drawn.items()} == {40.0: 1, 50.0: 2, 60.0: 3}
    assert draw_price_bound(30.0, random.Random(0)) > 40 - 1e-9  # strictly above: 30 itself is no candidate
    assert draw_price_bound(975.0, generator) == 990.0
    assert draw_price_bound(980.0, generator) == NO_BOUND  # one candidate is too few
    assert draw_price_bound(2000.0, generator) == NO_BOUND


def test_filter_and_limit_select_goals(awkward: Catalogue) -> None:
    everything = GoalBook(awkward, "synthetic")
    odd = GoalBook(awkward, "synthetic", keep=lambda index, goal: index % 2 == 1 and goal["price_upper"] < 100)
    texts = [everything.goal(index) for index in range(1, len(everything), 2)]
    assert [odd.goal(index) for index in range(len(odd))] == [goal for goal in texts if goal.price_upper < 100]
    few = GoalBook(awkward, "synthetic", limit=5)
    assert len({few.goal(index).instruction_text for index in range(len(few))}) == 5
    assert few.weight_sums[-1] == pytest.approx(sum(few.goal(index).weight for index in range(5)))
    with pytest.raises(InvalidConfig, match="no human goals"):
        GoalBook(awkward, "human", keep=lambda index, goal: False)
    with pytest.raises(InvalidConfig, match='must be "synthetic" or "human"'):
        GoalBook(awkward, "both")  # type: ignore[arg-type]


def test_the_originals_draw_is_one_place_off() -> None:
    sums = np.array([0.0, 1.0, 3.0, 6.0])  # weights 1, 2, 3
    generator = random.Random(0)
    drawn = Counter(weighted_index(sums, generator) for _ in range(6000))
    # Index 0 never comes, index 1 gets weight 1, and the last one gets weight 2 and its own 3.
    assert {index: round(count / 1000) for index, count in drawn.items()} == {1: 1, 2: 5}


def test_products_splits_share_no_product_and_miss_no_goal(awkward: Catalogue) -> None:
    book = GoalBook(awkward, "synthetic")
    splits = split_goals(book, "product")
    products = {name: {book.goal(int(index)).asin for index in split.goals} for name, split in splits.items()}
    assert sum(len(split.goals) for split in splits.values()) == len(book)
    assert all(products.values())
    for one, other in itertools.combinations(products.values(), 2):
        assert not one & other


def test_the_originals_splits(awkward: Catalogue) -> None:
    book = GoalBook(awkward, "human")
    small = split_goals(book, "original")
    assert [len(split.goals) for split in small.values()] == [10, 10, 10]  # too few to divide
    book.sources = np.zeros(2000, np.int32)
    large = {name: split.goals for name, split in split_goals(book, "original").items()}
    assert [(goals[0], goals[-1]) for goals in (large["test"], large["dev"], large["train"])] == [
        (0, 499), (500, 1499), (1500, 1999),
    ]  # fmt: skip


def test_a_split_draws_by_weight(awkward: Catalogue) -> None:
    split = split_goals(GoalBook(awkward, "synthetic"), "product")["train"]
    weights = np.array([split.book.goal(int(index)).weight for index in split.goals])
    generator = np.random.default_rng(0)
    drawn = Counter(split.draw(generator) for _ in range(20_000))
    shares = np.array([drawn[int(index)] for index in split.goals]) / 20_000
    assert np.abs(shares - weights / weights.sum()).max() < 0.012  # > 3 standard deviations at any share below 1/4


def test_combinations_count() -> None:
    assert combinations({}) == 1
    assert combinations({"a": ("x", "y"), "b": ("z",)}) == 2
    assert combinations({"a": ("x",), "b": ()}) == 0
