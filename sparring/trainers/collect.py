"""Episodes for trainers: groups to learn from, a fixed set to evaluate on, demonstrations to imitate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sparring.agents.scripted import ExpertPolicy, RandomPolicy
from sparring.envs.base import TextEnv
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, unknown
from sparring.rollout import Setting, Start, rollout
from sparring.settings import EnvConfig
from sparring.trainers.session import entropy
from sparring.types import Policy, Stop, Trajectory


@dataclass(frozen=True, slots=True)
class Collection:
    """What came back of a number of episodes that belong together in groups.

    Attributes:
        groups: the episodes that can be learned from; failed ones are left out, so groups may be short.
        failed: how many episodes the environment failed in.
    """

    groups: tuple[tuple[Trajectory, ...], ...]
    failed: int

    @property
    def trajectories(self) -> list[Trajectory]:
        """All episodes, group after group."""
        return [trajectory for group in self.groups for trajectory in group]


def group_starts(seed: int, step: int, *, groups: int, size: int, split: str) -> list[Start]:
    """The starts of one step: members of a group share task and environment seed, and differ in sampling seed."""
    rng = np.random.default_rng(entropy(seed, step, "starts"))
    seeds = rng.integers(2**31, size=groups)
    sampling = rng.integers(2**31, size=(groups, size))
    return [
        Start(int(seeds[group]), split=split, sampling_seed=int(sampling[group, member]))
        for group in range(groups)
        for member in range(size)
    ]


def collect_groups(policy: Policy, pool: EnvPool, starts: Sequence[Start], setting: Setting, size: int) -> Collection:
    """Play the starts of `group_starts` (groups of `size`), and drop and count what the environment failed in."""
    trajectories = rollout(policy, pool, starts, setting)
    groups = tuple(
        tuple(one for one in trajectories[first : first + size] if one.stop is not Stop.ENV_ERROR)
        for first in range(0, len(trajectories), size)
    )
    return Collection(groups, failed=len(trajectories) - sum(len(group) for group in groups))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Attributes: score and success, means over the episodes; episodes, how many; failed, how many were lost."""

    score: float
    success: float
    episodes: int
    failed: int


def evaluation_split(pool: EnvPool, wanted: str | None) -> str:
    """The split to evaluate on while training: `wanted`, or `dev` where there is one, or the first.

    Never `test` unless asked for by name: what steers a training run is no test any more.

    Raises:
        UnknownName: the environment has no split `wanted`.
    """
    splits = _splits(pool)
    if wanted is None:
        return "dev" if "dev" in splits else splits[0]
    if wanted not in splits:
        raise unknown("split", wanted, splits)
    return wanted


def training_split(pool: EnvPool) -> str:
    """The environment's training split: its first."""
    return _splits(pool)[0]


def _splits(pool: EnvPool) -> tuple[str, ...]:
    core = pool.envs[0].unwrapped
    if not isinstance(core, TextEnv):
        raise InvalidConfig(f"{type(core).__name__} is no sparring TextEnv, so it names no splits to train on")
    return core.splits


def evaluation_starts(pool: EnvPool, split: str, episodes: int, seed: int = 0) -> list[Start]:
    """The same starts at every call: different tasks of the split as far as there are enough, in random order."""
    core = pool.envs[0].unwrapped
    assert isinstance(core, TextEnv)
    tasks = core.task_ids(split)
    if not tasks:
        raise InvalidConfig(f'the split "{split}" of {type(core).__name__} has no tasks to evaluate on')
    rng = np.random.default_rng(entropy(seed, 0, "evaluate"))
    order = rng.permutation(len(tasks))
    return [
        Start(seed=index, task=tasks[int(order[index % len(order)])], split=split, sampling_seed=index)
        for index in range(episodes)
    ]


def evaluate(policy: Policy, pool: EnvPool, starts: Sequence[Start], setting: Setting) -> Evaluation:
    """Play the starts and take the means; episodes that the environment failed in are left out and counted."""
    whole = [one for one in rollout(policy, pool, starts, setting) if one.stop is not Stop.ENV_ERROR]
    count = max(len(whole), 1)
    return Evaluation(
        score=sum(one.score for one in whole) / count,
        success=sum(one.success for one in whole) / count,
        episodes=len(whole),
        failed=len(starts) - len(whole),
    )


def demonstrator(spec: str) -> tuple[Policy, tuple[str, ...]]:
    """A scripted agent by name, and the wrappers that it needs innermost.

    Args:
        spec: `expert`, `expert:RATE` (errs at that rate each turn), or `random`.
    Raises:
        UnknownName: no such agent. InvalidConfig: the rate is no number within 0 and 1.
    """
    name, _, rate = spec.partition(":")
    if name == "random" and not rate:
        return RandomPolicy(), ()
    if name == "expert":
        try:
            return ExpertPolicy(float(rate or 0)), ("expert",)
        except ValueError as error:
            raise InvalidConfig(f'the error rate in "{spec}" must be a number within 0 and 1') from error
    raise unknown("demonstrator", spec, ("expert", "random"), "Write expert:0.3 for an expert that errs at rate 0.3.")


def demonstrate(
    env: EnvConfig,
    setting: Setting,
    spec: str,
    *,
    episodes: int,
    split: str | None,
    seed: int,
    pool_size: int = 32,
    on_finish: Callable[[Trajectory], None] | None = None,
) -> list[Trajectory]:
    """Let a scripted agent play, and return the episodes that the environment did not fail in."""
    policy, wrappers = demonstrator(spec)
    with EnvPool(env.maker(wrappers), pool_size) as pool:
        starts = group_starts(seed, 0, groups=episodes, size=1, split=split or training_split(pool))
        played = rollout(policy, pool, starts, setting, on_finish=on_finish)
    return [one for one in played if one.stop is not Stop.ENV_ERROR]
