from __future__ import annotations

import numpy as np
import pytest

from sparring.envs.text.babyai.env import MiniGrid
from sparring.errors import UnknownName

pytest.importorskip("minigrid")


def play(env: MiniGrid, seed: int, *, errors: float = 0.0) -> tuple[float, int]:
    """The score of the expert, and its turns; a share of the turns is random."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    for turn in range(1, 1_000):
        choices = env.observe()[1]["actions"].choices
        erring = rng.random() < errors
        action = choices[int(rng.integers(len(choices)))] if erring else env.expert_action()
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            return info["score"], turn
    raise AssertionError("the level has no end")


@pytest.mark.parametrize(
    "level",
    [
        "MiniGrid-DoorKey-6x6-v0",
        "MiniGrid-FourRooms-v0",
        "MiniGrid-LavaCrossingS9N2-v0",
        "MiniGrid-MemoryS9-v0",
        "MiniGrid-GoToDoor-6x6-v0",
        "MiniGrid-GoToObject-6x6-N2-v0",
        "MiniGrid-Fetch-6x6-N2-v0",
        "MiniGrid-PutNear-6x6-N2-v0",
        "MiniGrid-RedBlueDoors-6x6-v0",
        "MiniGrid-Unlock-v0",
        "MiniGrid-UnlockPickup-v0",
        "MiniGrid-KeyCorridorS3R1-v0",
        "MiniGrid-LockedRoom-v0",
        "BabyAI-GoToLocal-v0",
        "BabyAI-PutNextLocal-v0",
        "BabyAI-SynthS5R2-v0",
    ],
)
def test_the_expert_succeeds(level: str) -> None:
    env = MiniGrid(level)
    assert all(play(env, seed)[0] > 0 for seed in range(3))


def test_a_plan_is_shortest() -> None:
    env = MiniGrid("MiniGrid-Empty-8x8-v0", disjoint="seeds")
    # From (1, 1) facing east to (6, 6): five steps, a turn, five steps.
    assert play(env, 0)[1] == 11


@pytest.mark.parametrize("level", ["MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToLocal-v0", "BabyAI-PutNextLocal-v0"])
def test_the_expert_recovers_from_errors(level: str) -> None:
    env = MiniGrid(level)
    assert sum(play(env, seed, errors=0.3)[0] > 0 for seed in range(10)) >= 9


@pytest.mark.parametrize("level", ["MiniGrid-DoorKey-6x6-v0", "MiniGrid-UnlockPickup-v0", "BabyAI-GoToLocal-v0"])
def test_advice_does_not_depend_on_having_asked_before(level: str) -> None:
    """Asked at every turn, or for the first time on the way, in a restored environment: the same answer."""
    env, fresh = MiniGrid(level), MiniGrid(level)
    env.reset(seed=3)
    for _ in range(40):
        action = env.expert_action()
        fresh.reset(seed=4)
        fresh.restore(env.snapshot())
        fresh._expert = None
        assert fresh.expert_action() == action
        _, _, terminated, _, _ = env.step(action)
        if terminated:
            return
    raise AssertionError("the expert did not reach the end")


@pytest.mark.parametrize("level", ["MiniGrid-Dynamic-Obstacles-5x5-v0", "BabyAI-KeyInBox-v0"])
def test_a_level_without_an_expert_says_so(level: str) -> None:
    env = MiniGrid(level, disjoint="seeds")
    env.reset(seed=0)
    with pytest.raises(UnknownName, match=level):
        env.expert_action()
