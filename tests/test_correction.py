"""Metrics of self-correction, votes, and retries, on episodes made by hand and drawn at random."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.agents.load import load_agent
from sparring.bench import BenchConfig, bench
from sparring.correction import Attempts, correction_metrics, edit_distance, measure, rates
from sparring.errors import InvalidConfig, InvalidData
from sparring.first_attempts import retries
from sparring.settings import EnvConfig
from sparring.types import Action, Observation, Stop, Trajectory, Turn
from sparring.voting import in_parallel, in_turns, majority


def episode(*said: str, right: str = "4", task: str = "train/0", stop: Stop = Stop.TERMINATED) -> Trajectory:
    """An episode of a problem whose right answer is `right`."""
    turns = tuple(
        Turn(
            Observation(f"{task}:{number}"),
            Action(text, token_ids=(7,), logprobs=(-0.5,), prompt_tokens=3),
            float(text == right),
            info={"attempt": number, "correct": text == right, "answer": text},
        )
        for number, text in enumerate(said, 1)
    )
    return Trajectory("x/Y-v1", task, 5, "", turns, stop, sampling_seed=9)


EPISODES = [episode("3", "4"), episode("4", "4"), episode("4", "5"), episode("13", "14")]

outcomes = st.lists(
    st.lists(st.booleans(), min_size=1, max_size=5).map(
        lambda correct: Attempts(tuple(correct), tuple(0.5 for _ in correct[1:]))
    ),
    min_size=1,
    max_size=20,
)


def test_the_figures_by_hand() -> None:
    found = correction_metrics(EPISODES)
    assert found == {
        "t1": 0.5,
        "t2": 0.5,
        "delta": 0.0,
        "wrong_to_right": 0.25,
        "right_to_wrong": 0.25,
        "copied": 0.25,
        "edit_distance": pytest.approx((1 + 0 + 1 + 0.5) / 4),
    }


@given(outcomes)
def test_delta_is_what_was_mended_less_what_was_spoilt(episodes: list[Attempts]) -> None:
    found = rates(episodes)
    last = f"t{max(len(one.correct) for one in episodes)}"
    assert found["delta"] == pytest.approx(found["wrong_to_right"] - found["right_to_wrong"], abs=1e-12)
    assert found["delta"] == pytest.approx(found[last] - found["t1"], abs=1e-12)


@given(outcomes)
def test_intervals_hold_the_figures(episodes: list[Attempts]) -> None:
    found, interval = rates(episodes), measure(episodes, [str(at) for at, _ in enumerate(episodes)], rng=rng())
    assert [one.estimate for one in interval.accuracy] == pytest.approx(
        [found[f"t{at}"] for at in range(1, len(interval.accuracy) + 1)]
    )
    for name in ("delta", "wrong_to_right", "right_to_wrong"):
        one = getattr(interval, name)
        assert one.estimate == pytest.approx(found[name])
        assert one.low - 1e-12 <= one.estimate <= one.high + 1e-12
    assert (interval.copied is None) == ("copied" not in found)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_an_episode_that_stopped_early_keeps_its_answer() -> None:
    found = correction_metrics([episode("4"), episode("1", "2", "4")])
    assert (found["t1"], found["t2"], found["t3"], found["delta"]) == (0.5, 0.5, 1.0, 0.5)
    assert found["copied"] == 0  # only attempts that were made count


def test_what_was_no_attempt_does_not_count() -> None:
    lost = episode("4", "4", stop=Stop.ENV_ERROR)
    plain = Trajectory("x/Y-v1", "a", 0, "", (Turn(Observation("o"), Action("a"), 1.0),), Stop.TERMINATED)
    assert correction_metrics([lost, plain]) == {}
    assert correction_metrics([lost, plain, *EPISODES]) == correction_metrics(EPISODES)


def test_intervals_refuse_nothing_and_too_few_clusters() -> None:
    with pytest.raises(InvalidData, match="got 0 and 0"):
        measure([], [], rng=rng())
    with pytest.raises(InvalidData, match="got 1 and 2"):
        measure([Attempts((True,), ())], ["a", "b"], rng=rng())
    with pytest.raises(InvalidData, match="got 2 outcomes and 0 distances"):
        Attempts((True, False), ())


@cache
def distance(one: str, other: str) -> int:
    """Levenshtein's recursion as he wrote it."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        distance(one[1:], other) + 1,
        distance(one, other[1:]) + 1,
        distance(one[1:], other[1:]) + (one[0] != other[0]),
    )


@given(st.text("ab c", max_size=8), st.text("ab c", max_size=8))
def test_edit_distance_is_levenshteins(one: str, other: str) -> None:
    longest = max(len(one), len(other))
    assert edit_distance(one, other) == pytest.approx(distance(one, other) / longest if longest else 0)
    assert (edit_distance(one, other) == 0) == (one == other)


def test_endless_answers_are_compared_by_their_beginnings() -> None:
    long = "x" * 1_000_000
    assert edit_distance(long, long) == 0
    assert 0 < edit_distance(long, long + "y") < 0.01
    assert edit_distance(long, "y" * 1_000_000) == 1


def test_a_tied_vote_goes_to_the_answer_that_came_first() -> None:
    assert majority(["b", "a", "a", "b"]) == "b"
    assert majority(["c", "a", "a"]) == "a"
    with pytest.raises(InvalidData):
        majority([])


def test_choices_over_turns_by_hand() -> None:
    played = [episode("4", "5", "5"), episode("4", "5", "4"), episode("1", "2", "3")]
    found = in_turns(played, 3)
    assert (found.majority, found.oracle, found.problems) == (pytest.approx(1 / 3), pytest.approx(2 / 3), 3)
    assert in_turns(played, 1) == in_turns([episode("4"), episode("4"), episode("1")], 1)


def test_an_oracle_that_stopped_an_episode_has_the_accuracy_of_any_right_turn() -> None:
    played = [episode("1", "4", "5"), episode("4", "1", "1"), episode("1", "2", "3")]
    stopped = [episode("1", "4"), episode("4"), episode("1", "2", "3")]
    assert in_turns(stopped, 3).oracle == in_turns(played, 3).oracle == correction_metrics(stopped)["t3"]
    with pytest.raises(InvalidData, match="made 3 attempts, and 4"):
        in_turns(played, 4)


def test_choices_in_parallel_take_first_attempts_of_each_task() -> None:
    played = [episode(said, "4", task=task) for task, said in (("a", "4"), ("b", "1"), ("a", "2"), ("b", "3"))]
    found = in_parallel(played, 2)
    assert (found.majority, found.oracle, found.problems) == (0.5, 0.5, 2)
    with pytest.raises(InvalidData, match='"a" has 2 episodes'):
        in_parallel(played, 3)
    with pytest.raises(InvalidData):
        in_parallel([], 1)


@given(st.lists(st.lists(st.sampled_from("1234"), min_size=3, max_size=3), min_size=1, max_size=10))
def test_an_oracle_is_never_worse_than_a_vote_and_one_answer_needs_neither(problems: list[list[str]]) -> None:
    played = [episode(*said, task=str(at)) for at, said in enumerate(problems)]
    for turns in (1, 2, 3):
        found = in_turns(played, turns)
        assert found.majority <= found.oracle
    oracle = [in_turns(played, turns).oracle for turns in (1, 2, 3)]
    assert all(one <= more for one, more in pairwise(oracle))
    one = in_turns(played, 1)
    assert one.majority == one.oracle == correction_metrics(played)["t1"] == in_parallel(played, 1).majority


@given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.integers(0, 100))
def test_shuffled_attempts_are_those_of_other_problems(sizes: list[int], seed: int) -> None:
    played = [episode(f"{at}/{copy}", "4", task=str(at)) for at, size in enumerate(sizes) for copy in range(size)]
    if 2 * max(sizes) > len(played):
        with pytest.raises(InvalidData, match="at most half"):
            retries(played, "shuffled", rng=np.random.default_rng(seed))
        return
    starts = retries(played, "shuffled", rng=np.random.default_rng(seed))
    said = [start.prefix[0].action.text for start in starts]
    assert sorted(said) == sorted(one.turns[0].action.text for one in played)
    assert all(text.partition("/")[0] != start.task for text, start in zip(said, starts, strict=True))
    assert [start.prefix[0].observation for start in starts] == [one.turns[0].observation for one in played]


def test_kept_and_removed_attempts() -> None:
    [kept] = retries([EPISODES[0], episode("4", stop=Stop.ENV_ERROR)], "kept", rng=rng())
    assert (kept.task, kept.seed, kept.sampling_seed, kept.prefix) == ("train/0", 5, 9, EPISODES[0].turns[:1])
    [removed] = retries(EPISODES[:1], "removed", rng=rng())
    assert removed.prefix[0].action == Action("")
    assert retries([], "shuffled", rng=rng()) == []
    with pytest.raises(InvalidConfig, match="kept, removed, shuffled"):
        retries(EPISODES, "lost", rng=rng())  # type: ignore[arg-type]


def test_a_benchmark_shows_attempts_and_goes_on_with_them(tmp_path: Path) -> None:
    config = BenchConfig(EnvConfig("Chain-v1", {"attempts": 3}), tasks=12)
    agents = [load_agent("expert:0.5"), load_agent("random")]
    report = bench(agents, config, tmp_path)
    found = report.row("expert:0.5").correction
    assert found is not None and len(found.accuracy) == 3
    assert found.delta.estimate == pytest.approx(found.wrong_to_right.estimate - found.right_to_wrong.estimate)
    assert found.accuracy[-1].estimate == report.row("expert:0.5").success.estimate  # type: ignore[union-attr]
    lines = report.to_markdown().splitlines()
    assert "| agent | t1 | t2 | t3 |" in lines
    assert "| agent | delta | wrong to right | right to wrong | copied | edit distance |" in lines
    again = bench(agents, config, tmp_path, resume=True)
    assert again.row("expert:0.5").correction == found


def test_a_benchmark_without_attempts_shows_none(tmp_path: Path) -> None:
    report = bench([load_agent("random")], BenchConfig(EnvConfig("NumberSearch-v1"), tasks=4), tmp_path)
    assert report.row("random").correction is None and "Attempts" not in report.to_markdown()
