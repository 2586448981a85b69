"""The one collector: what an episode is, and that both drivers agree on it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from sparring.agents.scripted import ExpertPolicy, RandomPolicy
from sparring.envs.base import EnvType, Info
from sparring.envs.pool import EnvPool
from sparring.envs.wrappers import ShowExpert
from sparring.errors import InvalidConfig, PolicyFailed
from sparring.rollout import Setting, Start, rollout, rollout_async, stream
from sparring.types import Action, ActionSet, Policy, Prompt, Stop, Trajectory
from tests.worlds import WORDS, Copy

SETTING = Setting("tests/Copy-v1")


def starts(count: int) -> list[Start]:
    return [Start(seed=number, split="train", sampling_seed=7 * number) for number in range(count)]


class Counting:
    """Plays at random and remembers the sizes of its batches and what it was asked."""

    version = 3

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.prompts: list[Prompt] = []
        self.forgotten: list[str] = []

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        self.batches.append(len(prompts))
        self.prompts += prompts
        return RandomPolicy().act(prompts)

    def forget(self, episode: str) -> None:
        self.forgotten.append(episode)


class Ragged(Copy):
    """Episodes of one to five turns."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        self.words = 1 + int(np.random.default_rng(seed).integers(5))
        return super().reset(seed=seed, options=options)


class Faulty(Copy):
    """Fails in the way `fault` names, in episodes of an odd seed, at their second turn (or at reset)."""

    faults: ClassVar[dict[str, Any]] = {
        "no string": lambda result: (7, *result[1:]),
        "no number": lambda result: (result[0], "much", *result[2:]),
        "nan": lambda result: (result[0], float("nan"), *result[2:]),
        "too short": lambda result: result[:4],
        "nothing": lambda result: None,
        "actions": lambda result: (*result[:4], {"actions": ["a"]}),
        "info": lambda result: (*result[:4], None),
    }

    def __init__(self, fault: str) -> None:
        super().__init__(words=3)
        self.fault = fault

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        self.odd = bool(seed and seed % 2)
        if self.odd and self.fault == "reset":
            raise OSError("the disk is full")
        return super().reset(seed=seed, options=options)

    def step(self, action: str) -> Any:
        result = super().step(action)
        if not self.odd or self.at < 2:
            return result
        if self.fault == "raises":
            raise OSError("the disk is full")
        return self.faults[self.fault](result) if self.fault in self.faults else result


def lock_step(policy: Policy, pool: EnvPool, begin: Sequence[Start], setting: Setting = SETTING) -> list[Trajectory]:
    return rollout(policy, pool, begin, setting)


def free_running(policy: Policy, pool: EnvPool, begin: Sequence[Start], setting: Setting = SETTING) -> list[Trajectory]:
    return rollout_async(policy, pool, begin, replace(setting, step_timeout_s=20.0))


DRIVERS = [lock_step, free_running]
Driver = Callable[..., list[Trajectory]]


@pytest.mark.parametrize(
    ("make", "policy"), [(Ragged, RandomPolicy()), (lambda: ShowExpert(Ragged()), ExpertPolicy(0.3))]
)
@pytest.mark.parametrize("size", [1, 4])
def test_both_drivers_give_the_same_trajectories(make: Callable[[], EnvType], policy: Policy, size: int) -> None:
    with EnvPool(make, 1) as alone, EnvPool(make, size) as one, EnvPool(make, size) as other:
        expected = [lock_step(policy, alone, [start])[0] for start in starts(12)]
        assert lock_step(policy, one, starts(12)) == expected
        assert free_running(policy, other, starts(12)) == expected


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_episode_is_kept_whole(driver: Driver) -> None:
    with EnvPool(lambda: ShowExpert(Copy(words=2)), 1) as pool:
        (found,) = driver(
            ExpertPolicy(), pool, [Start(5, "train-3", "train", 9)], Setting("env", ("expert",), "window(1)")
        )
    assert (found.env_id, found.wrappers, found.memory, found.task_id) == ("env", ("expert",), "window(1)", "train-3")
    assert (found.seed, found.sampling_seed, found.policy_version) == (5, 9, 0)
    assert (found.stop, found.error, found.instruction) == (Stop.TERMINATED, None, "Say the word.")
    # The turn holds what was seen, said and earned; the last observation is kept apart from the turns.
    assert [turn.observation.text for turn in found.turns] == [turn.action.text for turn in found.turns]
    assert [turn.reward for turn in found.turns] == [0.5, 0.5]
    assert [turn.terminated for turn in found.turns] == [False, True]
    assert found.final is not None and found.final.text == "done"
    assert (found.score, found.success, found.total_reward) == (1.0, True, 1.0)
    assert "expert" not in found.info and found.turns[0].observation.expert == found.turns[0].action.text


@pytest.mark.parametrize("driver", DRIVERS)
def test_prompts_grow_turn_by_turn_under_seeds_of_their_own(driver: Driver) -> None:
    policy = Counting()
    with EnvPool(lambda: Copy(words=3), 1) as pool:
        (found,) = driver(policy, pool, [Start(4, sampling_seed=6)])
    assert [len(prompt.messages) for prompt in policy.prompts] == [1, 3, 5]
    assert [prompt.seed for prompt in policy.prompts] == [(4, 6, turn) for turn in range(3)]
    for earlier, later, turn in zip(policy.prompts, policy.prompts[1:], found.turns, strict=False):
        assert later.messages[: len(earlier.messages)] == earlier.messages
        assert later.messages[-2].action == turn.action
    assert found.policy_version == 3


@pytest.mark.parametrize("driver", DRIVERS)
def test_episodes_in_flight_have_different_keys_and_are_forgotten(driver: Driver) -> None:
    policy = Counting()
    with EnvPool(Copy, 3) as pool:
        driver(policy, pool, [Start(1), Start(1), Start(1), Start(2)])
    keys = {prompt.episode for prompt in policy.prompts}
    assert len(keys) == 4
    assert sorted(policy.forgotten) == sorted(keys)


def test_lock_step_keeps_the_batch_full() -> None:
    policy = Counting()
    with EnvPool(Ragged, 4) as pool:
        found = rollout(policy, pool, starts(20), SETTING)
    assert sum(policy.batches) == sum(len(one.turns) for one in found)
    # Only when no start is left to begin does the batch shrink, and then it never grows again.
    last_begins = next(at for at, size in enumerate([*policy.batches, 0]) if size < 4)
    assert all(size == 4 for size in policy.batches[:last_begins])
    assert policy.batches[last_begins:] == sorted(policy.batches[last_begins:], reverse=True)
    assert sum(policy.batches[:last_begins]) > 20


def test_async_batches_what_gathers_while_the_policy_is_busy() -> None:
    class Slow(Counting):
        def act(self, prompts: Sequence[Prompt]) -> list[Action]:
            time.sleep(0.02)
            return super().act(prompts)

    policy = Slow()
    with EnvPool(lambda: Copy(words=4), 4) as pool:
        rollout_async(policy, pool, starts(4), SETTING)
    assert sum(policy.batches) == 16
    assert max(policy.batches) >= 2


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("raises", "OSError in step("),
        ("reset", "OSError in reset: the disk is full"),
        ("no string", "an observation must be a string, got int"),
        ("no number", "ValueError in step("),
        ("nan", "a reward must be a finite number, got nan"),
        ("too short", "ValueError in step("),
        ("nothing", "TypeError in step("),
        ("actions", 'info["actions"] must be an ActionSet, got list'),
        ("info", "TypeError in step("),
    ],
)
def test_a_broken_environment_costs_its_own_episode_only(driver: Driver, fault: str, says: str) -> None:
    with EnvPool(lambda: Faulty("none"), 2) as pool:
        expected = driver(RandomPolicy(), pool, starts(6))
    made: list[Faulty] = []

    def make() -> Faulty:
        made.append(Faulty(fault))
        return made[-1]

    with EnvPool(make, 2) as pool:
        found = driver(RandomPolicy(), pool, starts(6))
        assert [one.seed for one in found] == list(range(6))
        assert found[::2] == expected[::2]
        # Three broke, and each was replaced by a fresh one.
        assert (len(pool), len(made)) == (2, 5)
    for broken, whole in zip(found[1::2], expected[1::2], strict=True):
        assert broken.stop is Stop.ENV_ERROR
        assert broken.error is not None and broken.error.startswith(says)
        # What was completed before it broke is kept.
        assert broken.turns == (() if fault == "reset" else whole.turns[:1])


def test_an_environment_that_hangs_is_abandoned() -> None:
    release = threading.Event()

    class Hangs(Copy):
        def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
            if self.task == 1:
                release.wait(30)
            return super().step(action)

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
            self.task = seed
            return super().reset(seed=seed, options=options)

    try:
        with EnvPool(Hangs, 2) as pool:
            found = rollout(RandomPolicy(), pool, starts(5), replace(SETTING, step_timeout_s=0.3))
    finally:
        release.set()
    assert [one.stop for one in found] == [Stop.TERMINATED, Stop.ENV_ERROR, *[Stop.TERMINATED] * 3]
    assert found[1].error == "no answer within 0.3 s: the environment was abandoned"


def test_one_that_hangs_for_ever_does_not_keep_the_program_from_ending() -> None:
    program = """
import threading
from sparring.agents.scripted import RandomPolicy
from sparring.envs.pool import EnvPool
from sparring.rollout import Setting, Start, rollout_async
from tests.worlds import Copy

class Hangs(Copy):
    def step(self, action):
        threading.Event().wait()

with EnvPool(Hangs, 2) as pool:
    for one in rollout_async(RandomPolicy(), pool, [Start(0), Start(1)], Setting("env", step_timeout_s=0.2)):
        print(one.stop)
"""
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "env_error\nenv_error\n"


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_environment_that_can_not_be_made_again_raises(driver: Driver) -> None:
    made = []

    def make() -> EnvType:
        if made:
            raise OSError("no more of them")
        made.append(1)
        return Faulty("raises")

    with EnvPool(make, 1) as pool, pytest.raises(OSError, match="no more of them"):
        driver(RandomPolicy(), pool, starts(3))


class Failing:
    """A policy whose engine breaks at its third batch, or gives one action too few."""

    version = 0

    def __init__(self, short: bool = False) -> None:
        self.short, self.calls = short, 0

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        self.calls += 1
        if self.calls >= 3 and not self.short:
            raise ZeroDivisionError("out of memory")
        return [Action("red")] * (len(prompts) - self.short)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_failed_policy_raises(driver: Driver) -> None:
    with EnvPool(lambda: Copy(words=5), 2) as pool, pytest.raises(ZeroDivisionError, match="out of memory"):
        driver(Failing(), pool, starts(4))
    with EnvPool(Copy, 2) as pool, pytest.raises(PolicyFailed, match=r"was given \d prompts and returned \d actions"):
        driver(Failing(short=True), pool, starts(4))


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_budget_of_turns_and_a_full_context_end_an_episode(driver: Driver) -> None:
    with EnvPool(lambda: Copy(words=5), 2) as pool:
        found = driver(RandomPolicy(), pool, starts(3), Setting("env", max_turns=2))
    assert {(len(one.turns), one.stop) for one in found} == {(2, Stop.MAX_TURNS)}
    assert all(one.final is not None and one.final.text in WORDS for one in found)

    class Full(RandomPolicy):
        def act(self, prompts: Sequence[Prompt]) -> list[Action]:
            return [Action("", stop="context") if prompt.turn == 1 else Action("red") for prompt in prompts]

    with EnvPool(lambda: Copy(words=5), 2) as pool:
        found = driver(Full(), pool, starts(3))
    # The unsaid action is no turn, and what was seen last is the observation that no longer fitted.
    assert {(len(one.turns), one.stop) for one in found} == {(1, Stop.CONTEXT_FULL)}
    assert all(one.final is not None and one.final.text in WORDS for one in found)


@pytest.mark.parametrize("driver", DRIVERS)
def test_truncation_by_the_environment_is_told_from_its_end(driver: Driver) -> None:
    from gymnasium.wrappers import TimeLimit

    with EnvPool(lambda: TimeLimit(Copy(words=5), 2), 1) as pool:
        (found,) = driver(RandomPolicy(), pool, starts(1))
    assert found.stop is Stop.TRUNCATED and found.turns[-1].truncated and not found.turns[-1].terminated


@pytest.mark.parametrize("driver", DRIVERS)
def test_no_starts_no_trajectories(driver: Driver) -> None:
    with EnvPool(Copy, 2) as pool:
        assert driver(RandomPolicy(), pool, []) == []


def test_each_trajectory_is_reported_as_it_ends() -> None:
    for collect in (rollout, rollout_async):
        ended: list[Trajectory] = []
        with EnvPool(Ragged, 3) as pool:
            found = collect(RandomPolicy(), pool, starts(7), SETTING, on_finish=ended.append)
        assert sorted(ended, key=lambda one: one.seed) == found


def test_stream_yields_as_episodes_end_and_stops_when_left() -> None:
    async def first_two() -> list[int]:
        seen = []
        with EnvPool(Ragged, 2) as pool:
            running = stream(RandomPolicy(), pool, starts(50), SETTING)
            async for index, _ in running:
                seen.append(index)
                if len(seen) == 2:
                    break
            await running.aclose()  # type: ignore[attr-defined]
        return seen

    before = threading.active_count()
    assert len(set(asyncio.run(first_two()))) == 2
    assert threading.active_count() <= before + 2


@pytest.mark.timeout(20)
def test_leaving_while_the_policy_acts_does_not_hang() -> None:
    class Slow(RandomPolicy):
        def act(self, prompts: Sequence[Prompt]) -> list[Action]:
            time.sleep(0.05)
            return super().act(prompts)

    async def first() -> int:
        with EnvPool(Copy, 2) as pool:
            running = stream(Slow(), pool, starts(9), SETTING)
            index, _ = await anext(running)
            await asyncio.sleep(0.02)  # by now the other episode's request is being answered
            await running.aclose()  # type: ignore[attr-defined]
        return index

    assert asyncio.run(first()) in (0, 1)


def test_one_slow_answer_holds_up_nobody_where_the_policy_is_concurrent() -> None:
    class Server:
        """Answers each request in its own time; the first episode's answers wait for all the others to end."""

        version = 0
        concurrent = True

        def __init__(self) -> None:
            self.others_done = asyncio.Event()

        def act(self, prompts: Sequence[Prompt]) -> list[Action]:
            raise NotImplementedError("this one is asynchronous")

        async def aact(self, prompts: Sequence[Prompt]) -> list[Action]:
            if any(prompt.seed[0] == 0 for prompt in prompts):
                await asyncio.wait_for(self.others_done.wait(), 10)
            return RandomPolicy().act(prompts)

    async def collect() -> list[int]:
        policy = Server()
        order = []
        with EnvPool(Copy, 3) as pool:
            async for index, _ in stream(policy, pool, starts(6), SETTING):
                order.append(index)
                if len(order) == 5:
                    policy.others_done.set()
        return order

    assert asyncio.run(collect())[-1] == 0


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="max_turns"):
        Setting("env", max_turns=0)
    with pytest.raises(InvalidConfig, match="memory style"):
        Setting("env", memory="window(0)")
    with pytest.raises(ValueError, match="at least 1 environment"):
        EnvPool(Copy, 0)


def test_a_pool_closes_all_even_if_one_can_not() -> None:
    closed = []

    class Stubborn(Copy):
        def close(self) -> None:
            closed.append(self)
            raise OSError("will not")

    with EnvPool(Stubborn, 3):
        pass
    assert len(closed) == 3


def test_actions_are_seen_by_policies() -> None:
    policy = Counting()
    with EnvPool(Copy, 1) as pool:
        rollout(policy, pool, starts(1), SETTING)
    assert policy.prompts[0].observation.actions == ActionSet(WORDS)
