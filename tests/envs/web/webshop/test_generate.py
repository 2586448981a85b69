"""The made-up catalogue: deterministic, awkward where sellers are, fair where it sets a task."""

from __future__ import annotations

import re
from itertools import islice, zip_longest
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.web.webshop import words
from sparring.envs.web.webshop.catalogue import open_catalogue
from sparring.envs.web.webshop.generate import generate, items, rows, title_nouns
from sparring.envs.web.webshop.products import parse_product
from sparring.envs.web.webshop.reward import count_options
from sparring.errors import InvalidConfig


@given(seed=st.integers(0, 2**40), products=st.integers(1, 60))
@settings(max_examples=20, deadline=None)
def test_the_same_seed_gives_the_same_items(seed: int, products: int) -> None:
    first, second = list(items(products, seed)), list(items(products, seed))
    assert first == second
    assert len(first) == products
    assert [item.row for item in first] == list(rows(products, seed))


def test_another_seed_gives_other_products() -> None:
    pairs = zip_longest(rows(50, 0), rows(50, 1))
    assert not any(one["asin"] == other["asin"] or one["name"] == other["name"] for one, other in pairs)


def test_asins_look_like_asins_and_never_repeat() -> None:
    asins = [row["asin"] for row in rows(20_000, 5)]
    assert len(set(asins)) == len(asins)
    assert all(re.fullmatch(r"B0[0-9A-Z]{8}", asin) for asin in asins)


def test_items_are_made_one_by_one() -> None:
    assert len(list(islice(items(10**9, 0), 100))) == 100


def test_there_must_be_a_product() -> None:
    with pytest.raises(InvalidConfig, match="at least 1, got 0"):
        next(items(0, 0))


def test_prices_are_as_awkward_as_real_ones() -> None:
    prices = [row["pricing"] for row in rows(20_000, 3)]
    assert {None, ""} <= set(prices)
    written = [price for price in prices if price]
    assert any(" to " in price for price in written)
    assert any("," in price for price in written), "a thousand dollars and more"
    assert any(re.fullmatch(r"\$\d+0\.00", price) for price in written), "on the grid of price bounds"
    assert any(price.endswith(".99") for price in written)


def test_every_row_parses_and_every_wish_can_be_met() -> None:
    for number, item in enumerate(items(3_000, 1)):
        product = parse_product(number, item.row, {item.row["asin"]: item.attributes})
        assert set(product.instruction_attributes) <= set(product.attributes)
        texts = " ".join((product.name, product.description, *product.bullets)).lower()
        assert all(attribute in texts for attribute in product.attributes[:2])
        shown = {value for values in product.options.values() for value in values}
        for wish in item.human:
            assert set(wish["instruction_options"]) <= shown
            assert wish["instruction_attributes"] and set(wish["instruction_attributes"]) <= set(product.attributes)
        assert item.nouns == title_nouns(product.name)
        assert set(item.nouns) <= set(product.name.lower().split())


def test_all_five_categories_and_all_kinds_are_there() -> None:
    made = list(rows(2_000, 0))
    assert {row["category"] for row in made} == set(words.DEPARTMENTS)
    assert {row["query"] for row in made} == {kind.plural for kind in words.KINDS}


@pytest.mark.parametrize("group", words.GROUPS.values(), ids=list(words.GROUPS))
def test_choosing_the_wanted_value_always_counts(group: tuple[str, tuple[str, ...]]) -> None:
    # The reward replaces a value by a colour name inside it ("wired" is "red" to it); such values would make
    # goals that nobody can reach.
    name, values = group
    for value in (one.replace("/", " | ") for one in values):
        assert count_options((value,), ((name, value),)) == 1
        assert count_options((value,), (value,)) == 1


def test_made_up_names_differ_and_popular_ones_are_short() -> None:
    names = [words.coined(rank) for rank in range(100_000)]
    assert len(set(names)) == len(names)
    assert max(map(len, names[:1_600])) <= 8


def test_words_follow_a_long_tailed_distribution() -> None:
    brands: dict[str, int] = {}
    for row in rows(20_000, 2):
        brand = row["name"].split()[0]
        brands[brand] = brands.get(brand, 0) + 1
    counts = sorted(brands.values(), reverse=True)
    assert counts[0] > 50 * counts[len(counts) // 2]
    assert len(counts) > 500


def test_a_generated_catalogue_opens_with_its_goals_and_nouns(tmp_path: Path) -> None:
    catalogue = open_catalogue(generate(products=300, seed=4, out=tmp_path / "catalogue"))
    made = list(items(300, 4))
    assert len(catalogue) == 300
    assert catalogue.manifest["human_goals"] == sum(len(item.human) for item in made)
    for row, item in enumerate(made):
        assert catalogue.product(row).asin == item.row["asin"]
        assert catalogue.product(row).nouns == item.nouns
