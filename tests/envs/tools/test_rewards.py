"""ToolRL's rewards against the examples worked by hand, and against a brute-force matching."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.tools.calls import Call
from sparring.envs.tools.rewards import correctness, format_reward, jaccard, length_reward, scales, target_length
from sparring.errors import InvalidConfig

F = Call("f", {"a": 1, "b": 2})
NAMES = st.sampled_from("fgh")
CALLS = st.lists(st.builds(Call, NAMES, st.dictionaries(st.sampled_from("abc"), st.integers(0, 2))), max_size=4)


@pytest.mark.parametrize(
    ("gold", "made", "reward"),
    [
        ([F], [F], 3.0),
        ([F], [Call("f", {"a": 1, "b": 3})], 1.5),  # S = 1 + 1 + 1 of 4: 6 * 3/4 - 3
        ([F], [Call("g", {"a": 1, "b": 2})], -3.0),  # S = 0
        ([F, Call("g")], [F], 1.2),  # S = 1/2 + 3 of 5: 6 * 3.5/5 - 3
        ([F], [F, F], 2.25),  # S = 1/2 + 3 of 4: calling twice costs
        ([F], [Call("f", {"a": 1})], 0.75),  # S = 1 + 1/2 + 1 of 4
        ([F], [], -3.0),
        ([F], None, -3.0),
        ([], [], 0.0),
        ([], [F], -3.0),
        ([Call("g")], [Call("g")], 3.0),
    ],
)
def test_the_worked_examples(gold: list[Call], made: list[Call] | None, reward: float) -> None:
    assert correctness(gold, made) == pytest.approx(reward)


def test_the_greedy_match_takes_the_best_unused_call_of_the_name() -> None:
    near, far = Call("f", {"a": 1, "b": 3}), Call("f", {"c": 0})
    assert correctness([F], [far, near]) == pytest.approx(6 * (0.5 + 1 + 1) / 4 - 3)
    assert correctness([F, F], [near, F]) == pytest.approx(6 * (1 + 3 + 2) / 7 - 3)


def test_the_variants() -> None:
    wrong_value, less = Call("f", {"a": 1, "b": 3}), Call("f", {"a": 1})
    assert correctness([F], [wrong_value], scale=1) == pytest.approx(0.5)
    assert correctness([F], [wrong_value], detail="refined") == pytest.approx(1.5)  # names and keys are exact
    assert correctness([F], [less], detail="refined") == pytest.approx(6 * 2 / 4 - 3)  # its keys are not
    assert correctness([F], [wrong_value], detail="intermediate") == pytest.approx(6 * 1 / 4 - 3)  # the name alone
    assert correctness([F, Call("g")], [F], detail="intermediate") == pytest.approx(1.2)
    assert correctness([F, Call("g")], [Call("g"), F], detail="coarse") == 3  # in any order
    assert correctness([F], [wrong_value], detail="coarse") == -3
    for detail in ("fine", "refined", "intermediate", "coarse"):
        assert correctness([F], [F], detail=detail) == 3  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="detail"):
        correctness([F], [F], detail="rough")  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="scale"):
        correctness([F], [F], scale=0)


def test_equal_values_are_equal_json() -> None:
    assert correctness([Call("f", {"a": 1})], [Call("f", {"a": True})]) < 3
    assert correctness([Call("f", {"a": 1})], [Call("f", {"a": "1"})]) < 3
    assert correctness([Call("f", {"a": {"x": 1, "y": [2]}})], [Call("f", {"a": {"y": [2], "x": 1}})]) == 3


@given(gold=CALLS, made=CALLS)
def test_it_stays_within_its_bounds_and_exact_calls_have_the_most(gold: list[Call], made: list[Call]) -> None:
    assert -3 <= correctness(gold, made) <= 3
    if gold:
        assert correctness(gold, list(reversed(gold))) == pytest.approx(3)
        assert correctness(gold, made, scale=1) == pytest.approx(correctness(gold, made) / 3)


@given(gold=CALLS.map(lambda calls: calls[:1]), made=CALLS.map(lambda calls: calls[:1]))
def test_the_variants_differ_in_strictness_only(gold: list[Call], made: list[Call]) -> None:
    """Of single calls: of several, calls are matched by the variant's own points, and so may be matched better."""
    fine, refined = correctness(gold, made), correctness(gold, made, detail="refined")
    assert refined <= fine + 1e-9
    assert correctness(gold, made, detail="intermediate") <= fine + 1e-9


def test_jaccard_counts_repeats() -> None:
    assert jaccard("aab", "abb") == pytest.approx(2 / 4)
    assert jaccard("", "") == 1
    assert jaccard("a", "") == 0


@pytest.mark.parametrize(
    ("text", "calls", "response", "reward"),
    [
        ("<think>a</think>\n<tool_call>\n{}\n</tool_call>", True, False, 1),
        ("<think>a</think><response>b</response>", False, True, 1),
        ("<think>a</think>\n<tool_call>{}</tool_call>\n<response>b</response>", True, True, 1),
        ("<think>a</think>", False, False, 1),
        ("<think>a</think>\n<tool_call>{}</tool_call>", False, False, 0),  # none is expected
        ("<think>a</think>", True, False, 0),  # one is
        ("<tool_call>{}</tool_call><think>a</think>", True, False, 0),  # order
        ("<think>a</think><think>b</think><response>c</response>", False, True, 0),  # once each
        ("<think>a</think> so <response>c</response>", False, True, 0),  # nothing between
        ("well <think>a</think>", False, False, 0),
        ("<think>a<response></think></response>", False, True, 0),
        ("", False, False, 0),
    ],
)
def test_the_format(text: str, calls: bool, response: bool, reward: float) -> None:
    assert format_reward(text, calls=calls, response=response) == reward


def test_schedules() -> None:
    assert scales(7) == (1, 3)
    assert [scales(step, "two-stage")[1] for step in (0, 29, 30, 99)] == [1, 1, 3, 3]
    assert [scales(step, "linear") for step in (0, 75, 150, 999)] == [(2, 2), (1.5, 2.5), (1, 3), (1, 3)]
    with pytest.raises(InvalidConfig, match="schedule"):
        scales(0, "cosine")  # type: ignore[arg-type]


def test_lengths() -> None:
    assert length_reward("one two", 4) == 0.5
    assert length_reward("word " * 600) == 1
    assert [target_length(step, 100) for step in (0, 50, 100, 500)] == [384, 512, 640, 640]
    with pytest.raises(InvalidConfig):
        length_reward("", 0)
    with pytest.raises(InvalidConfig):
        target_length(0, 0)
