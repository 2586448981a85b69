"""Copies of Gymnasium environments, and whether one repeats itself under a seed and under deepcopy: that is tried."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import data_equivalence

from sparring.types import SnapshotKind

_EPISODES = 4
_STEPS = 16

AnEnv = TypeVar("AnEnv", bound=gymnasium.Env[Any, Any])


def light_copy(env: AnEnv, *changing: str) -> AnEnv:
    """A copy that shares all but the random generator and the attributes that are `changing` in place.

    It is what `__deepcopy__` returns where the rest is known never to change.
    """
    twin = copy.copy(env)
    for name in ("_np_random", *changing):
        setattr(twin, name, copy.deepcopy(getattr(env, name)))
    return twin


def how_it_repeats(make: Callable[[], gymnasium.Env[Any, Any]]) -> tuple[SnapshotKind | None, bool]:
    """Play a few short random episodes, once more in the same and in another environment, and from deep copies.

    Returns:
        The best kind of snapshot that was exact (None for none), and whether equal seeds gave equal episodes.
    """
    one, other = make(), make()
    try:
        plans = [_plan(one, seed) for seed in range(_EPISODES)]
        first = [_play(one, seed, plan) for seed, plan in enumerate(plans)]
        for again in (one, other):
            if not all(_same(_play(again, seed, plan), first[seed]) for seed, plan in enumerate(plans)):
                return None, False
        if all(_copies(one, seed, plan, first[seed]) for seed, plan in enumerate(plans)):
            return SnapshotKind.COPY, True
        return SnapshotKind.REPLAY, True
    finally:
        one.close()
        other.close()


def _plan(env: gymnasium.Env[Any, Any], seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    space: Any = env.action_space
    return [int(space.start) + int(action) for action in rng.integers(int(space.n), size=_STEPS)]


def _play(env: gymnasium.Env[Any, Any], seed: int, plan: list[int]) -> list[Any]:
    observation, _ = env.reset(seed=seed)
    # Some environments reuse the array they return.
    return [copy.deepcopy(observation), *_go_on(env, plan)]


def _go_on(env: gymnasium.Env[Any, Any], plan: list[int]) -> list[Any]:
    seen: list[Any] = []
    for action in plan:
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append((copy.deepcopy(observation), float(reward), bool(terminated), bool(truncated)))
        if terminated or truncated:
            break
    return seen


def _copies(env: gymnasium.Env[Any, Any], seed: int, plan: list[int], expected: list[Any]) -> bool:
    """Whether a copy taken halfway goes on as the original did, and leaves the original's way as it was."""
    half = (len(expected) - 1) // 2  # of the steps: the observation of reset comes first
    _play(env, seed, plan[:half])
    try:
        twin = copy.deepcopy(env)
        tails = [_go_on(twin, plan[half:]), _go_on(env, plan[half:])]
    except Exception:  # whatever an environment's own parts make of being copied: it is no copy
        return False
    return all(_same(tail, expected[half + 1 :]) for tail in tails)


def _same(one: Any, other: Any) -> bool:
    return data_equivalence(one, other, exact=True)
