"""Action grammar, text nodes, and what the two observation modes show."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.web.webshop import pages
from sparring.envs.web.webshop.pages import Kind, Pages, parse_action, receipt, visible, with_history
from sparring.envs.web.webshop.session import Shop
from sparring.envs.web.webshop.simulator import Simulator
from sparring.errors import InvalidConfig

ACTION = re.compile(r"(.+)\[(.+)\]")


@given(st.text("ab[]\n ", max_size=14))
def test_actions_parse_as_the_originals_expression_does(action: str) -> None:
    found = ACTION.match(action)
    expected = (found[1], found[2].lower()) if found else (action, None)
    assert parse_action(action) == expected


def test_parsing_takes_linear_time() -> None:
    assert parse_action("[" * 200_000)[1] is None
    assert parse_action("a" + "[x" * 100_000 + "]")[1] == "x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", None), ("x", "x"), (" x\n", " x\n"), ("   ", " "), ("\t", " "), (" \n ", None), ("\xa0", "\xa0")],
)
def test_blank_nodes_shrink_to_one_blank_or_vanish(text: str, shown: str | None) -> None:
    assert visible(text) == shown


def test_an_item_page_lists_options_before_the_title(shop: Shop) -> None:
    row = shop.catalogue.row_of("B0TEST0001")
    assert row is not None
    page = shop.pages.item(row)
    assert page.text == (
        'Back to Search [SEP] < Prev [SEP] size [SEP] 12" x 9" [SEP] small | round [SEP] color [SEP] dark red [SEP] '
        '<b>mint< | b> [SEP] Kettle 12" x 9" "Best" Copper Pot [SEP] Price: $24.5 [SEP] Rating: N.A. [SEP] Description '
        "[SEP] Features [SEP] Reviews [SEP] Buy Now"
    )
    assert list(page.targets) == [
        "back to search", "< prev", "description", "features", "reviews", "buy now", '12" x 9"', "small | round",
        "dark red", "<b>mint< | b>",
    ]  # fmt: skip
    assert page.actions.choices[0] == "click[back to search]" and not page.actions.forms
    with_attributes = Pages(shop.catalogue, show_attrs=True).item(row)
    assert list(with_attributes.targets)[4:7] == ["reviews", "attributes", "buy now"]


def test_names_that_no_action_can_spell_are_not_offered(shop: Shop) -> None:
    blanket, gadget = (shop.catalogue.row_of(asin) for asin in ("B0TEST0002", "B0TEST0004"))
    assert blanket is not None and gadget is not None
    assert "[2 pack]" in shop.pages.item(blanket).targets
    assert "click[[2 pack]]" not in shop.pages.item(blanket).actions.choices
    assert "search" in shop.pages.item(gadget).targets
    assert "click[search]" not in shop.pages.item(gadget).actions.choices


def test_a_value_of_two_options_belongs_to_the_last(shop: Shop) -> None:
    row = shop.catalogue.row_of("B0TEST0003")
    assert row is not None
    assert shop.pages.item(row).targets["blue"].option == "fit"


def test_sub_pages_keep_blank_bullets_and_drop_blank_lines(shop: Shop) -> None:
    kettle, blanket, jacket, lamp = (
        shop.catalogue.row_of(asin) for asin in ("B0TEST0001", "B0TEST0002", "B0TEST0003", "B0TEST0006")
    )
    assert kettle is not None and blanket is not None and jacket is not None and lamp is not None
    head = "Back to Search [SEP] < Prev"
    assert shop.pages.sub_page(kettle, "Features").nodes[2:] == (" copper base", " ", "   whistles  ")
    assert shop.pages.sub_page(kettle, "Features").text == f"{head} [SEP] copper base [SEP]  [SEP] whistles"
    assert shop.pages.sub_page(blanket, "Description").text == f"{head} [SEP] "
    assert shop.pages.sub_page(jacket, "Description").text == head
    assert shop.pages.sub_page(lamp, "Description").text == head
    assert shop.pages.sub_page(lamp, "Reviews").text == head
    assert shop.pages.sub_page(lamp, "Attributes").nodes[2:] == (
        " easy install", " copper base", "garden", "lamps", "Home › Lighting › Lamps",
    )  # fmt: skip


def test_clicked_options_are_marked_and_announced_the_last_one_first(shop: Shop) -> None:
    simulator = Simulator(shop, "text_rich")
    simulator.reset(0)
    for action in ("search[kettle]", "click[b0test0001]", "click[small | round]", "click[dark red]"):
        simulator.step(action)
    lines = simulator.observation.split("\n")
    assert lines[:2] == ["You have clicked dark red.", "You have clicked small | round."]
    assert "  [clicked button] dark red [clicked button_]" in lines
    assert '  [button] 12" x 9" [button_]' in lines
    simulator.step('click[12" x 9"]')  # its quotes are escaped in the URL, so it never shows as clicked
    assert '  [button] 12" x 9" [button_]' in simulator.observation.split("\n")
    simulator.step("click[< prev]")
    assert "\n[clicked button] B0TEST0001 [clicked button_]\nKettle" in simulator.observation


def test_the_receipt_tells_nothing_of_the_goal() -> None:
    page = receipt("B1", {"b": "<i>", "a": "it's"}, 0.5)
    assert page.nodes[8] == '{"a": "it\\u0027s", "b": "\\u003ci\\u003e"}'
    assert page.nodes[-3:] == ("0.5", "Reward Details ", "None")
    assert len(page.nodes) == 33 and not page.targets


def test_headings(shop: Shop) -> None:
    assert pages.heading(Kind.INDEX, "buy") == ("WebShop", "Instruction: ", "buy")
    assert pages.heading(Kind.RESULTS, " ") == ("Instruction:", " ")
    assert pages.heading(Kind.DONE, "buy") == ()


def test_history_comes_oldest_first_and_actions_before_what_they_led_to() -> None:
    past, actions = ["o0", "o1"], ["a0", "a1"]
    assert with_history("o2", past, actions, 0, 0) == "o2"
    assert with_history("o2", past, actions, 1, 0) == "o1 [SEP] o2"
    assert with_history("o2", past, actions, 2, 2) == "o0 [SEP] a0 [SEP] o1 [SEP] a1 [SEP] o2"
    assert with_history("o2", past, actions, 5, 1) == "o0 [SEP] o1 [SEP] a1 [SEP] o2"


def test_other_observation_modes_are_refused(shop: Shop) -> None:
    with pytest.raises(InvalidConfig, match="observation_mode"):
        Simulator(shop, "html")
