"""How a visit moves on, and the session rules of the original's interface."""

from __future__ import annotations

import random

import pytest

from sparring.envs.web.webshop.catalogue import Catalogue
from sparring.envs.web.webshop.goals import GoalBook
from sparring.envs.web.webshop.pages import Kind
from sparring.envs.web.webshop.session import Shop, Visit, page_name
from sparring.envs.web.webshop.simulator import Simulator
from sparring.errors import InvalidConfig


def never() -> random.Random:
    raise AssertionError("nothing random was asked for")


def walk(shop: Shop, *actions: str) -> Visit:
    visit = shop.enter("s", 0)
    for action in actions:
        outcome = shop.act(visit, action, never)
        assert outcome.no_op is None, (action, outcome.no_op)
        visit = outcome.visit
    return visit


def test_acting_never_changes_a_visit(shop: Shop) -> None:
    item = walk(shop, "search[kettle]", "click[b0test0001]")
    before = (item.url, dict(item.options), dict(item.counters), item.seen)
    chosen = shop.act(item, "click[dark red]", never).visit
    assert chosen.options == {"color": "dark red"}
    assert (item.url, dict(item.options), dict(item.counters), item.seen) == before


def test_a_search_is_honoured_everywhere_and_clears_product_and_options(shop: Shop) -> None:
    visit = walk(shop, "search[kettle]", "click[b0test0001]", "click[dark red]", "click[buy now]", "search[lamp]")
    assert (visit.kind, visit.row, visit.options, visit.finished) == (Kind.RESULTS, None, {}, True)
    assert visit.seen == {"B0TEST0001"}  # only the start page forgets these
    assert walk(shop, "search[kettle]", "click[b0test0001]", "click[back to search]").seen == frozenset()


def test_option_texts_that_are_button_names_act_as_buttons(shop: Shop) -> None:
    item = ("search[gadget]", "click[b0test0004]")
    assert walk(shop, *item, "click[description]").kind is Kind.SUB_PAGE
    assert walk(shop, *item, "click[attributes]").sub_page == "Attributes"  # though the button is not shown
    assert walk(shop, *item, "click[< prev]").kind is Kind.RESULTS
    assert walk(shop, *item, "click[next >]").options == {"mode": "next >"}
    assert walk(shop, *item, "click[back to search]").kind is Kind.INDEX
    assert walk(shop, *item, "click[buy now]").finished


def test_keywords_can_pass_for_a_page_name(shop: Shop) -> None:
    spoofed = walk(shop, "search[search_results lamp]", "click[b0test0006]", "click[< prev]")
    assert (spoofed.kind, spoofed.number, spoofed.rows) == (Kind.RESULTS, 0, ())
    assert page_name("http://x/item_sub_page/s/B1/item_page/1/Features/{}") == "item_page"
    assert page_name("http://x/done/s") == "done"
    assert page_name("http://x/s") == ""


def test_pages_of_hits_have_no_end_and_follow_slices(shop: Shop) -> None:
    visit = walk(shop, "search[warm]")  # 24 winter things and a blanket
    assert (len(visit.rows), visit.total) == (10, 25)
    for expected in (10, 5, 0, 0):
        visit = shop.act(visit, "click[next >]", never).visit
        assert len(visit.rows) == expected
    assert visit.counters == {"search": 5}
    assert "click[next >]" in shop.page(visit).actions.choices


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("buy", "is no action"),
        ("search[]", "is no action"),
        ("Search[lamp]", "is no action"),
        ("click[lamp]", 'nothing called "lamp" can be clicked'),
        ("click[search]", 'nothing called "search" can be clicked'),
        ("search[<a> soft]", "TypeError"),
        ("search[<c>]", "IndexError"),
        ("search[<r>]", "needs 50 products; the catalogue has 31"),
    ],
)
def test_no_actions_say_why(shop: Shop, action: str, reason: str) -> None:
    visit = shop.enter("s", 0)
    outcome = shop.act(visit, action, never)
    assert outcome.visit is visit and (outcome.reward, outcome.done) == (0.0, False)
    assert outcome.no_op is not None and reason in outcome.no_op


def test_labels_are_searched_whole_and_in_file_order(shop: Shop) -> None:
    assert walk(shop, "search[<q> winter scarfs]").total == 8
    fashion = walk(shop, "search[<c> fashion]")
    assert fashion.total == 25 and list(fashion.rows) == sorted(fashion.rows)


def test_random_hits_are_drawn_anew_on_every_page(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.envs.web.webshop.session.RANDOM_HITS", 20)
    generator, again = random.Random(4), random.Random(4)
    first = shop.act(shop.enter("s", 0), "search[<r>]", lambda: generator).visit
    second = shop.act(first, "click[next >]", lambda: generator).visit
    assert list(first.rows) == again.sample(range(31), 20)[:10]
    assert list(second.rows) == again.sample(range(31), 20)[10:]


def test_sessions_persist_with_their_first_goal(awkward: Catalogue) -> None:
    simulator = Simulator(Shop(GoalBook(awkward, "synthetic")))
    simulator.reset("alice")
    goal = simulator.visit.goal
    simulator.step("search[kettle]")
    simulator.step("click[b0test0001]")
    _, _, done, info = simulator.step("click[buy now]")
    assert done and info is None
    simulator.reset("alice")
    assert simulator.visit.goal == goal and simulator.visit.kind is Kind.INDEX
    assert simulator.session["done"] and simulator.session["verbose_info"] is not None
    simulator.reset(3)
    assert simulator.visit.goal == 3
    simulator.reset("3")  # the same id
    assert simulator.visit.goal == 3
    simulator.reset(-1)
    assert simulator.visit.goal == len(simulator.shop.book) - 1
    simulator.reset(True)
    assert (simulator.visit.session_id, simulator.visit.goal) == ("True", 1)
    with pytest.raises(InvalidConfig, match="there is no goal 999"):
        simulator.reset(999)


def test_an_own_instruction_text_changes_only_the_attribute(awkward: Catalogue) -> None:
    simulator = Simulator(Shop(GoalBook(awkward, "synthetic")))
    observation, _ = simulator.reset(0, instruction_text="other")
    assert simulator.instruction_text == "other" and "other" not in observation
    simulator.reset(0)
    assert simulator.instruction_text == "Instruction: " + simulator.shop.book.goal(0).instruction_text
