"""Taking steps back in words: the very state comes back, and nothing can be gained or played for ever by it."""

from __future__ import annotations

from typing import Any

import pytest

import sparring
from sparring.envs.base import restore, snapshot
from sparring.envs.second_thought import FURTHEST, MOST, SecondThought, answered, sentence, special_tokens
from sparring.errors import EnvNotSearchable
from sparring.testing import report
from sparring.types import SnapshotKind
from tests.worlds import Copy

WRAPPER = "second-thought"


@pytest.fixture
def env() -> Any:
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=12, words=9)
    sparring.register_wrapper(WRAPPER, "sparring.envs.second_thought:SecondThought")
    made = sparring.make("tests/Copy-v1", wrappers=(WRAPPER,))
    made.reset(seed=3)
    return made


def said(env: Any, count: int, right: bool = True) -> Any:
    core: Copy = env.unwrapped
    for _ in range(count):
        result = env.step(core.secret[core.at] if right else "nonsense")
    return result


@pytest.mark.parametrize("steps", range(1, FURTHEST + 1))
def test_so_many_steps_are_taken_back(env: Any, steps: int) -> None:
    said(env, 2)
    before = env.unwrapped.observe()[0], env.unwrapped.at, env.unwrapped.right
    said(env, steps)
    text, reward, terminated, truncated, _ = env.step(sentence(steps))
    assert (text, env.unwrapped.at, env.unwrapped.right) == ("ok.\n" + before[0], *before[1:])
    assert reward == pytest.approx(-steps / 9) and not (terminated or truncated)


def test_what_was_taken_back_can_be_taken_back_no_more(env: Any) -> None:
    said(env, 3)
    env.step(sentence(2))
    _, _, _, _, info = env.step(sentence(2))
    assert "no_op" in info
    assert [sentence(1) in info["actions"].choices, sentence(3) in info["actions"].choices] == [True, False]


def test_what_was_paid_stays_paid() -> None:
    sparring.register_wrapper(WRAPPER, "sparring.envs.second_thought:SecondThought")
    env = sparring.make("NumberSearch-v1", wrappers=(WRAPPER,))
    _, info = env.reset(seed=0)
    _, cost, *_ = env.step(info["actions"].choices[0])
    assert cost < 0 and env.step(sentence(1))[1] == 0.0


def test_what_was_earned_goes_and_what_was_paid_stays_where_both_are_taken_back_at_once() -> None:
    class Paid(Copy):
        def step(self, action: str) -> Any:
            earned = 1.0 if self.at == 0 else -0.25
            text, _, over, cut, info = super().step(self.secret[self.at])
            return text, earned, over, cut, info

    env = SecondThought(Paid(words=9))
    env.reset(seed=0)
    assert [said(env, 1)[1] for _ in range(2)] == [1.0, -0.25]
    assert env.step(sentence(2))[1] == -1.0


def test_sentences_are_listed_where_they_do_something(env: Any) -> None:
    _, info = env.reset(seed=3)
    listed = [[one for one in info["actions"].choices if one in special_tokens()]]
    for _ in range(FURTHEST + 2):
        *_, info = said(env, 1)
        listed.append([one for one in info["actions"].choices if one in special_tokens()])
    assert [len(one) for one in listed] == [min(count, FURTHEST) for count in range(FURTHEST + 3)]


def test_what_did_nothing_needs_no_taking_back(env: Any) -> None:
    said(env, 1)
    before = env.unwrapped.observe()[0]
    said(env, 1)
    *_, info = env.step("nonsense")
    assert "no_op" in info and sentence(3) not in info["actions"].choices
    assert env.step(sentence(1))[0] == "ok.\n" + before


def test_turns_are_counted_on_and_an_episode_goes_back_a_few_times_at_most(env: Any) -> None:
    said(env, 1)
    for _ in range(MOST):
        assert not env.step(sentence(1))[3]
        *_, info = said(env, 1)
    assert not set(special_tokens()) & set(info["actions"].choices)
    turns = 1 + 2 * MOST
    while True:
        turns += 1
        *_, truncated, _ = said(env, 1, right=False) if env.unwrapped.at < 8 else env.step("")
        if truncated:
            break
    assert turns == 12


def test_the_end_comes_by_going_back_too_and_is_not_taken_back() -> None:
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=3, words=9)
    sparring.register_wrapper(WRAPPER, "sparring.envs.second_thought:SecondThought")
    env = sparring.make("tests/Copy-v1", wrappers=(WRAPPER,))
    env.reset(seed=3)
    said(env, 2)
    _, _, terminated, truncated, info = env.step(sentence(1))
    assert (terminated, truncated) == (False, True)
    assert not set(special_tokens()) & set(info["actions"].choices)


def test_snapshots_hold_what_can_come_back(env: Any) -> None:
    said(env, 3)
    saved = snapshot(env)
    once = env.step(sentence(2))
    said(env, 4)
    restore(env, saved)
    again = env.step(sentence(2))
    assert once[:4] == again[:4] and once[4]["actions"] == again[4]["actions"]


def test_the_contract_is_kept_under_it(env: Any) -> None:
    found = report(lambda: sparring.make("tests/Copy-v1", wrappers=(WRAPPER,)))
    assert [one for one in found if one.outcome == "failed"] == []


def test_a_world_without_copies_is_refused() -> None:
    class Replayed(Copy):
        snapshot_kind = SnapshotKind.REPLAY

    with pytest.raises(EnvNotSearchable, match="Replayed does not give"):
        SecondThought(Replayed())


def test_an_answer_is_given_once() -> None:
    assert answered(answered("red")) == answered("red") == "ok.\nred"
    assert len(set(special_tokens())) == FURTHEST
