"""The published rule is reproduced, and each of its flaws is shown beside what the strict rule says."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.gui.geometry import Box
from sparring.envs.gui.rewards import (
    NO_TEXT,
    GuiReward,
    Truth,
    _compat_point,
    guir1_compat,
    guir1_strict,
    iou,
    point_in_box,
    token_f1,
)

BOX = (10.0, 20.0, 40.0, 60.0)


def answer(content: str) -> str:
    return f"<think>where is it</think> <answer>{content}</answer>"


def single(action: str, point: str = "[0, 0]", text: str = NO_TEXT) -> str:
    return answer(f"[{{'action': '{action}', 'point': {point}, 'input_text': '{text}'}}]")


def double(action: str, point: str = "[0, 0]", text: str = NO_TEXT) -> str:
    return answer(f'[{{"action": "{action}", "point": {point}, "input_text": "{text}"}}]')


@pytest.mark.parametrize("rule", [guir1_compat, guir1_strict])
def test_what_both_rules_agree_on(rule: object) -> None:
    assert callable(rule)
    assert rule(single("click", "[12, 30]"), Truth("click", BOX)) == GuiReward(1.0, 1.0)
    assert rule(single("click", "[12, 30]"), Truth("click", BOX)).total == 1.0
    assert rule(single("click", "[50, 30]"), Truth("click", BOX)).total == pytest.approx(0.2)
    assert rule(single("click", "[100, 100]"), Truth("click", (100.0, 239.0))).accuracy == 1.0  # 139 pixels away
    assert rule(single("click", "[100, 100]"), Truth("click", (100.0, 240.0))).accuracy == 0.0  # 140 are too far
    assert rule(single("type", text="red shoes"), Truth("type", text="red boots")).accuracy == 1.0  # F1 of 0.5
    assert rule(single("type", text="red shoes"), Truth("type", text="big blue boots")).accuracy == 0.0
    assert rule(single("scroll", text="down"), Truth("scroll", text="DOWN")) == GuiReward(1.0, 1.0)
    assert rule(single("scroll", text="sideways"), Truth("scroll", text="down")) == GuiReward(0.0, 0.0)
    assert rule(single("press_back"), Truth("press_back")).total == 1.0
    assert rule(single("press_back"), Truth("press_home")).total == pytest.approx(0.2)
    assert rule(single("type"), Truth("type", text="x")).format == 0.0  # nothing to type
    assert rule("click at 12 30", Truth("click", BOX)) == GuiReward(0.0, 0.0)
    assert rule("", Truth("click", BOX)) == GuiReward(0.0, 0.0)


def test_flaw_double_quoted_json_is_never_right() -> None:
    said = double("click", "[12, 30]")
    assert guir1_compat(said, Truth("click", BOX)) == GuiReward(0.0, 1.0)
    assert guir1_strict(said, Truth("click", BOX)) == GuiReward(1.0, 1.0)


def test_flaw_close_delete_is_never_right() -> None:
    assert guir1_compat(single("close/delete"), Truth("close/delete")) == GuiReward(0.0, 1.0)
    assert guir1_strict(single("close/delete"), Truth("close/delete")) == GuiReward(1.0, 1.0)


def test_flaw_one_letter_passes_for_a_word() -> None:
    for said in ("a", "pastabar"):
        assert guir1_compat(single("type", text=said), Truth("type", text="pasta")).accuracy == 1.0
        assert guir1_strict(single("type", text=said), Truth("type", text="pasta")).accuracy == 0.0


def test_flaw_apostrophes_cut_the_text() -> None:
    said = answer("""[{'action': 'type', 'point': [0, 0], 'input_text': "joe's diner near here"}]""")
    escaped = answer(r"""[{'action': 'type', 'point': [0, 0], 'input_text': 'joe\'s diner near here'}]""")
    for one in (said, escaped):
        assert guir1_compat(one, Truth("type", text="joe's diner near here")).accuracy == 0.0
        assert guir1_strict(one, Truth("type", text="joe's diner near here")) == GuiReward(1.0, 1.0)


def test_flaw_the_wrong_app_is_right() -> None:
    said = single("open_app", text="Calendar")
    assert guir1_compat(said, Truth("open_app", text="Maps")).accuracy == 1.0
    assert guir1_strict(said, Truth("open_app", text="Maps")).accuracy == 0.0
    assert guir1_strict(single("open_app", text="maps"), Truth("open_app", text="Maps")).accuracy == 1.0


def test_flaw_fractions_are_not_read_and_the_last_point_counts() -> None:
    assert guir1_compat(single("click", "[12.5, 30]"), Truth("click", BOX)).accuracy == 0.0
    assert guir1_strict(single("click", "[12.5, 30]"), Truth("click", BOX)) == GuiReward(1.0, 1.0)
    two = answer(
        "[{'action': 'click', 'point': [500, 500], 'input_text': 'no input text'}, "
        "{'action': 'click', 'point': [12, 30], 'input_text': 'no input text'}]"
    )
    assert guir1_compat(two, Truth("click", BOX)).accuracy == 1.0
    assert guir1_strict(two, Truth("click", BOX)).accuracy == 0.0


def test_flaw_an_edge_is_outside() -> None:
    assert guir1_compat(single("click", "[10, 30]"), Truth("click", BOX)).accuracy == 0.0
    assert guir1_strict(single("click", "[10, 30]"), Truth("click", BOX)).accuracy == 1.0


def test_flaw_the_text_is_evaluated(tmp_path: object) -> None:
    ran: list[int] = []
    globals()["_trap"] = lambda: ran.append(1)
    for text in ("[_trap()]", "__import__('os').getcwd()", "[{'action': str(1), 'point': [0, 0], 'input_text': ''}]"):
        for rule in (guir1_compat, guir1_strict):
            assert rule(answer(text), Truth("click", BOX)) == GuiReward(0.0, 0.0)
    assert not ran


@given(st.text(max_size=200), st.sampled_from(["", "[", "[{'action': 'click', 'point': ", "((((" * 200]))
@settings(deadline=None)
def test_any_text_gets_a_reward(text: str, start: str) -> None:
    for said in (text, answer(start + text)):
        for rule in (guir1_compat, guir1_strict):
            for truth in (Truth("click", BOX), Truth("type", text="x"), Truth("click", ())):
                assert 0.0 <= rule(said, truth).total <= 1.0


def test_very_long_and_deep_answers_cost_nothing_but_their_reward() -> None:
    for said in (answer("[" * 5_000), answer("9" * 9_000), "x" * 1_000_000):
        assert guir1_compat(said, Truth("click", BOX)).total == 0.0
        assert guir1_strict(said, Truth("click", BOX)).total == 0.0


def test_numbers_beyond_all_floats_are_wrong_like_others() -> None:
    for digits in (400, 4_000, 5_000):
        said = single("click", f"[{'9' * digits}, 30]")
        for truth in (Truth("click", BOX), Truth("click", (500.0, 500.0))):
            assert guir1_compat(said, truth).accuracy == guir1_strict(said, truth).accuracy == 0.0


def test_braces_and_pairs_without_end_cost_no_time() -> None:
    began = time.process_time()
    for content in ("{" * 9_000, "{" * 3_000 + "[1,1]" * 1_200, "{" * 3_000 + "[1,1] \n" * 900):
        assert guir1_compat(answer("'action': 'click'" + content), Truth("click", BOX)).accuracy == 0.0
    assert time.process_time() - began < 2.0  # the published pattern takes hours


@given(st.lists(st.sampled_from(["{", "}", "[1,2]", "[3, 4]", "[5,\n6]", "\n", " ", "[", "[8,9"]), max_size=14))
@settings(deadline=None)
def test_the_point_is_that_of_the_published_pattern(parts: list[str]) -> None:
    content = "".join(parts)
    found = re.search(r"\{.*\[(\d+),\s*(\d+)]\s*.*\}", content)
    assert _compat_point(content) == ((int(found[1]), int(found[2])) if found else (0, 0))


def test_an_f1_is_rounded_as_published() -> None:
    shared = "one two three four five six "
    said, right = f"{shared} a b c d e", f"{shared} f g h i j k l"  # 11 and 13 words
    assert token_f1(said, right) == 0.5
    assert guir1_compat(single("type", text=said), Truth("type", text=right)).accuracy == 0.0  # 0.4999999999999999
    assert guir1_strict(single("type", text=said), Truth("type", text=right)).accuracy == 1.0


def test_flaw_forms() -> None:
    inner = "{'action': 'click', 'point': [12, 30], 'input_text': 'no input text'}"
    for said, compat, strict in (
        (f"<answer>[{inner}]</answer>", GuiReward(1.0, 0.0), GuiReward(0.0, 0.0)),
        (f"{answer(f'[{inner}]')}<answer>[]</answer>", GuiReward(1.0, 1.0), GuiReward(0.0, 0.0)),
        (answer(f"[{inner}]") + "\n", GuiReward(1.0, 0.0), GuiReward(1.0, 1.0)),
        (answer("[]"), GuiReward(0.0, 1.0), GuiReward(0.0, 0.0)),
        (answer("[" + inner.replace("}", ", 'why': ''}") + "]"), GuiReward(1.0, 1.0), GuiReward(1.0, 0.0)),
    ):
        assert (guir1_compat(said, Truth("click", BOX)), guir1_strict(said, Truth("click", BOX))) == (compat, strict)


def test_a_click_is_never_right_where_nobody_knows_the_place() -> None:
    for rule in (guir1_compat, guir1_strict):
        assert rule(single("click", "[12, 30]"), Truth("click")).accuracy == 0.0


def test_rewards_of_points_and_boxes() -> None:
    box = Box(0.0, 0.0, 0.5, 0.5)
    assert [point_in_box(point, box) for point in ((0.2, 0.2), (0.5, 0.2), None)] == [1.0, 0.0, 0.0]
    assert iou(box, box) == 1.0
    assert iou(Box(0.25, 0.0, 0.75, 0.5), box) == pytest.approx(1 / 3)
    assert iou(Box(0.5, 0.5, 1.0, 1.0), box) == 0.0
    assert iou(Box(0.25, 0.0, 0.75, 0.5), box, least=0.5) == 0.0
    assert iou(None, box) == 0.0


def test_words_are_counted() -> None:
    assert token_f1("a a", "a") == pytest.approx(2 / 3)
    assert token_f1("[Red] shoes", "red SHOES") == 1.0
    assert token_f1("", "") == 1.0
    assert token_f1("", "a") == 0.0
