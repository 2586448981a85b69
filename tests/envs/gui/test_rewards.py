"""The published rule is reproduced, and each of its flaws is shown beside what the strict rule says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.gui.geometry import Box
from sparring.envs.gui.rewards import (
    NO_TEXT,
    GuiReward,
    Truth,
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
