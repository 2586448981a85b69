"""Rewards from the formula, worked out by hand, and the fast fuzzy match against the full one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.web.webshop.goals import Goal
from sparring.envs.web.webshop.products import Product
from sparring.envs.web.webshop.reward import (
    COLOURS,
    count_options,
    matches,
    normalize_colour,
    purchase_reward,
    token_set_ratio,
)
from sparring.errors import InvalidData

PRODUCT = Product(
    asin="B000000001", name="Blue Wool Scarf", description="Hand made.", bullets=("machine wash", "Fringed Ends"),
    category="fashion", query="scarves", product_category="Clothing › Women › Scarves", options={}, pricing=(30.0,),
    price_tag="$30.0", attributes=("machine wash",), nouns=("blue", "wool", "scarf"), main_image="", option_images={},
    instruction=None, instruction_attributes=(),
)  # fmt: skip


def goal(**changes: Any) -> Goal:
    fields: dict[str, Any] = {
        "row": 0, "asin": "B000000001", "category": "fashion", "query": "scarves", "name": "Blue Wool Scarf",
        "product_category": "Clothing › Women › Scarves", "instruction_text": "x", "attributes": ("machine wash",),
        "price_upper": 40.0, "options": (("color", "blue"), ("size", "long")), "weight": 1.0, "human": False,
    }  # fmt: skip
    return Goal(**{**fields, **changes})


def reward(goal: Goal, price: float = 30.0, **options: str) -> float:
    return purchase_reward(PRODUCT, goal, PRODUCT.nouns, price, options)[0]


def test_the_reward_is_the_share_of_what_was_asked_for() -> None:
    assert reward(goal(), color="blue", size="long") == 1.0
    assert reward(goal(), color="blue") == 3 / 4  # 1 attribute + 1 option + price, of 1 + 2 + 1
    assert reward(goal()) == 2 / 4
    assert reward(goal(), price=40.0) == 2 / 4  # the bound itself is allowed
    assert reward(goal(), price=40.01) == 1 / 4
    assert reward(goal(attributes=("silk",)), color="blue", size="long") == 3 / 4
    assert reward(goal(attributes=("fringed ends", "hand made", "wool"), options=())) == 1.0  # found in the texts
    assert reward(goal(attributes=("Hand made",), options=())) == 1 / 2  # texts are lower-cased, the wish is not


@pytest.mark.parametrize(
    ("changes", "nouns", "factor"),
    [
        ({}, ("scarf",), 1.0),
        ({}, (), 1.0),  # no nouns count as a title score of 0.2, and the query matches
        ({"query": "x", "product_category": "x"}, (), 0.5),  # 0.2 is not above 0.2
        ({"query": "x", "product_category": "Women › Clothing"}, ("scarf",), 1.0),  # two labels in common
        ({"query": "x", "product_category": "x"}, ("scarf", "a", "b", "c", "d"), 0.5),  # 1/5 of the nouns
        ({"query": "x", "product_category": "x"}, ("scarf", "scarf", "a", "b"), 1.0),  # 1/4: repeats count below only
        ({}, ("scarf", *"abcdefghij"), 0.1),  # 1/11 of the nouns
        ({}, ("hat",), 0.0),  # none, though query and category match
    ],
)
def test_another_kind_of_product_is_worth_less(changes: dict[str, str], nouns: tuple[str, ...], factor: float) -> None:
    wanted = goal(**changes, options=())
    assert purchase_reward(PRODUCT, wanted, nouns, 30.0, {})[0] == factor


def test_the_parts_are_named_as_in_the_original() -> None:
    _, parts = purchase_reward(PRODUCT, goal(), ("scarf",), 30.0, {"color": "blue"})
    assert parts == {
        "r_type": 1.0, "r_att": 1.0, "w_att": 0.25, "query_match": True, "category_match": True, "title_score": 1.0,
        "r_option": 0.5, "w_option": 0.5, "r_price": True, "w_price": 0.25,
    }  # fmt: skip
    _, without = purchase_reward(PRODUCT, goal(options=()), ("scarf",), 30.0, {})
    assert "r_option" not in without and "w_option" not in without


def test_goals_that_cannot_be_scored_are_refused() -> None:
    with pytest.raises(InvalidData, match="wants no attributes"):
        reward(goal(attributes=()))
    with pytest.raises(InvalidData, match="price bound 0"):
        reward(goal(price_upper=0))


def test_colours_hide_in_words_and_come_in_order_of_the_list() -> None:
    assert len(COLOURS) == len(set(COLOURS)) and list(COLOURS[:8]) == sorted(COLOURS[:8])
    assert normalize_colour("tangerine") == "tan"
    assert normalize_colour("credenza") == "red"
    assert normalize_colour("white and black") == "black"  # earlier in the list
    assert normalize_colour("xl") == "xl"
    assert normalize_colour(("color", "dark red")) == ("color", "dark red")  # a pair only by a whole member
    assert normalize_colour(("color", "red")) == "red"


def test_options_of_human_goals_match_by_colour_and_those_of_synthetic_ones_with_their_name() -> None:
    assert count_options(["navy stripes"], ["navy"]) == 1
    assert count_options(["large"], ["x-large"]) == 1  # "large" is all of one side's tokens
    assert count_options(["dark red"], [("color", "dark red")]) == 1  # 'red' is among the tokens of the pair
    assert count_options(["tangerine"], [("color", "tangerine")]) == 0  # it turned into 'tan', the pair did not
    assert count_options(["long"], [("size", "long")]) == 1
    assert count_options([], ["red"]) == 0


@pytest.mark.parametrize(
    ("first", "second", "ratio"),
    [
        ("red shoe", "shoe red", 100),
        ("red shoe", "red shoe size nine", 100),  # one side's tokens are all in common
        ("café", "cafe", 86),  # é goes: "caf" against "cafe" is 2 * 3 / 7
        ("abcd", "abce", 75),  # 2 * 3 / 8
        ("", "x", 0),
        ("!!", "!!", 0),  # no tokens at all
        (("color", "red"), "color red", 100),
    ],
)
def test_ratios(first: object, second: object, ratio: int) -> None:
    assert token_set_ratio(first, second) == ratio


@given(st.lists(st.text("abcé '-", max_size=6), max_size=4), st.lists(st.text("abcé '-", max_size=6), max_size=4))
def test_the_fast_match_agrees_with_the_ratio(first: list[str], second: list[str]) -> None:
    one, other = " ".join(first), " ".join(second)
    assert matches(one, other) == (token_set_ratio(one, other) > 85)
