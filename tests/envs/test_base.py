"""The base class: choosing tasks, and snapshots through stacks of wrappers."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import OrderEnforcing, TimeLimit
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.base import EnvType, Info, TextEnv, TextWrapper, restore, snapshot
from sparring.envs.wrappers import ShowExpert
from sparring.errors import EnvNotSearchable, InvalidConfig, UnknownName
from sparring.types import SnapshotKind
from tests.worlds import WORDS, Copy


class Numbered(TextWrapper):
    """Numbers what it shows: its own state goes with snapshots."""

    state: ClassVar[tuple[str, ...]] = ("shown",)

    def __init__(self, env: EnvType) -> None:
        super().__init__(env)
        self.shown: list[int] = []

    def begin(self, info: Info) -> None:
        self.shown = []

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        self.shown.append(len(self.shown))
        return f"{self.shown[-1]}: {text}", info


class Dice(Copy):
    """Draws from its generator in every step."""

    state: ClassVar[tuple[str, ...]] = (*Copy.state, "rolled")

    def __init__(self) -> None:
        super().__init__(words=20)
        self.rolled = 0

    def observe(self) -> tuple[str, Info]:
        text, info = super().observe()
        return f"{text} {self.rolled}", info

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        self.rolled = int(self.np_random.integers(1_000_000))
        return super().step(action)


def stacked() -> EnvType:
    return Numbered(TimeLimit(ShowExpert(OrderEnforcing(Dice())), 12))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.integers(1, 11), st.integers(0, 2**31))
def test_what_follows_a_restore_is_what_followed_the_snapshot(before: int, after: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    env = stacked()
    shown, _ = env.reset(seed=seed)
    for _ in range(before):
        shown = env.step(str(rng.choice(WORDS)))[0]
    saved = snapshot(env)
    actions = [str(rng.choice(WORDS)) for _ in range(min(after, 12 - before))]
    first = [env.step(action) for action in actions]
    env.reset(seed=seed + 1)
    for _ in range(2):
        text, info = restore(env, saved)
        assert text == shown and info["expert"] in WORDS
        assert [env.step(action) for action in actions] == first


def test_a_fork_is_cut_at_its_own_limit() -> None:
    env = TimeLimit(Copy(words=9), 4)
    env.reset(seed=0)
    env.step("red")
    saved = snapshot(env)
    for _ in range(2):
        restore(env, saved)
        assert [env.step("red")[3] for _ in range(3)] == [False, False, True]


def test_a_snapshot_continues_in_a_fresh_environment_without_tying_the_two() -> None:
    one, other = stacked(), stacked()
    one.reset(seed=1)
    one.step("red")
    saved = snapshot(one)
    expected = [one.step("red") for _ in range(3)]
    restore(other, saved)  # never reset
    assert [other.step("red") for _ in range(3)] == expected
    other.step("blue")
    restore(one, saved)
    assert [one.step("red") for _ in range(3)] == expected


def test_the_generator_is_part_of_a_snapshot() -> None:
    env = Copy()
    env.reset(seed=4)
    saved = snapshot(env)
    first = [env.reset()[0] for _ in range(5)]
    restore(env, saved)
    assert [env.reset()[0] for _ in range(5)] == first


plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3))
nested = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.tuples(inner, inner),
        st.frozensets(plain, max_size=3),
    ),
    max_leaves=8,
)


def mutable_parts(value: Any) -> list[int]:
    """The identities of all lists and dictionaries within a value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    own = [id(value)] if isinstance(value, (dict, list)) else []
    return own + [one for part in inner for one in mutable_parts(part)]


class Holder(Copy):
    """Holds anything, one thing twice."""

    state: ClassVar[tuple[str, ...]] = (*Copy.state, "held", "again")
    held: Any = None
    again: Any = None


@given(nested)
def test_a_snapshot_shares_nothing_that_can_change_and_keeps_what_is_one_thing_one(value: Any) -> None:
    env = Holder()
    env.held = env.again = value
    saved = snapshot(env)
    restore(env, saved)
    once = env.held
    assert once == value and env.again is env.held
    restore(env, saved)
    assert not set(mutable_parts(value)) & set(mutable_parts(once))
    assert not set(mutable_parts(env.held)) & set(mutable_parts(once))


def test_a_snapshot_before_any_reset_is_possible() -> None:
    env = Copy()
    saved = snapshot(env)
    env.reset(seed=1)
    restore(env, saved)
    assert env.secret == []


def test_a_snapshot_tells_what_it_is() -> None:
    saved = Copy().snapshot()
    assert (saved.env_id, saved.kind) == ("Copy", SnapshotKind.COPY)
    with pytest.raises(InvalidConfig, match="a snapshot of Copy can't be restored in Dice"):
        Dice().restore(saved)


def test_a_stack_that_differs_is_refused() -> None:
    saved = snapshot(Numbered(Copy()))
    with pytest.raises(InvalidConfig, match="wrappers"):
        restore(Copy(), saved)
    with pytest.raises(InvalidConfig, match="wrappers"):
        restore(TimeLimit(Copy(), 3), saved)


def test_what_has_no_snapshots_says_how_to_get_them() -> None:
    class Stateless(Copy):
        state: ClassVar[tuple[str, ...]] = ()

    class Blind(TextEnv):
        state: ClassVar[tuple[str, ...]] = ("at",)
        at = 0

    class Plain(gymnasium.Env[str, str]):
        pass

    with pytest.raises(EnvNotSearchable, match="set the class attribute `state`"):
        snapshot(Stateless())
    with pytest.raises(EnvNotSearchable, match="no sparring TextEnv"):
        snapshot(Plain())
    with pytest.raises(EnvNotSearchable, match=r"no observe\(\), which restore\(\) needs"):
        restore(Blind(), snapshot(Blind()))


def test_an_attribute_that_state_names_and_nobody_set_is_named() -> None:
    class Late(Copy):
        state: ClassVar[tuple[str, ...]] = ("cart",)

    with pytest.raises(EnvNotSearchable, match=r"Late\.state names an attribute .*'cart'.*Set it in __init__"):
        Late().snapshot()


def test_the_two_kinds_of_snapshot_are_not_mixed_up() -> None:
    with pytest.raises(InvalidConfig, match=r"call env\.restore"):
        restore(Copy(), Copy().snapshot())


# Tasks


def test_a_task_is_chosen_by_name_by_split_or_by_the_generator() -> None:
    env = Copy()
    assert env.reset(options={"task": "test-3"})[1]["task"] == "test-3"
    assert env.reset(seed=0, options={"split": "test"})[1]["task"].startswith("test-")
    assert env.reset(seed=0)[1]["task"].startswith("train-")
    drawn = [env.reset(seed=seed)[1]["task"] for seed in range(40)]
    assert len(set(drawn)) > 4
    assert drawn == [env.reset(seed=seed)[1]["task"] for seed in range(40)]
    assert env.reset(options={"task": "test-3", "split": "test"})[1]["task"] == "test-3"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"split": "tset"}, 'no split "tset". Did you mean "test"'),
        ({"task": "test-33"}, 'no task "test-33". Did you mean "test-3"'),
        ({"task": "test-3", "split": "train"}, 'no task "test-3"'),
    ],
)
def test_wrong_tasks_and_splits_are_corrected(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UnknownName) as caught:
        Copy().reset(options=options)
    assert str(caught.value).startswith(says)


def test_an_empty_split_and_a_missing_expert_say_so() -> None:
    class Empty(Copy):
        def task_ids(self, split: str) -> list[str]:
            return []

    class Bare(TextEnv):
        pass

    with pytest.raises(InvalidConfig, match='Empty: the split "train" has no tasks'):
        Empty().reset()
    with pytest.raises(UnknownName, match=r"has no expert_action\(\)"):
        Bare().expert_action()
    with pytest.raises(UnknownName, match="no split"):
        Bare().task_ids("nowhere")


# Wrappers


def test_the_expert_is_shown_until_the_end() -> None:
    env = ShowExpert(Copy(words=2))
    text, info = env.reset(seed=0)
    assert info["expert"] == text
    text, _, _, _, info = env.step(info["expert"])
    assert info["expert"] == text
    _, _, terminated, _, info = env.step(info["expert"])
    assert terminated and "expert" not in info and info["success"]


def test_a_wrapper_translates_both_ways() -> None:
    class Shout(TextWrapper):
        def action(self, text: str) -> str:
            return text.lower()

        def view(self, text: str, info: Info) -> tuple[str, Info]:
            return text.upper(), info

    env = Shout(Copy(words=1))
    text, _ = env.reset(seed=0)
    assert text.isupper() and env.step(text)[1] == 1.0
