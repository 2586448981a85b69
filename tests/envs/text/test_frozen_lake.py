from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from sparring.envs.base import restore, snapshot
from sparring.envs.text.frozen_lake import FrozenLake, best_moves, lake_map
from sparring.errors import InvalidConfig
from sparring.testing import check_env


def success_rate(env: FrozenLake, episodes: int, rng: np.random.Generator | None = None) -> float:
    """Of the expert, or of random moves drawn from `rng`."""
    won = 0
    for episode in range(episodes):
        _, info = env.reset(seed=episode, options={"split": "test"})
        over = False
        while not over:
            choices = info["actions"].choices
            action = env.expert_action() if rng is None else choices[rng.integers(len(choices))]
            _, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        won += info["success"]
    return won / episodes


@pytest.mark.parametrize("slippery", [False, True])
def test_it_keeps_the_contract(slippery: bool) -> None:
    check_env(lambda: FrozenLake(slippery=slippery))


def test_a_walk_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.envs.text.frozen_lake.lake_map", lambda *_: ("SFF", "HFF", "FFG"))
    env = FrozenLake(size=3)
    text, info = env.reset(seed=0)
    assert text == "@ . .\nO . .\n. . G\nrow 0 column 0"
    assert info["instruction"].splitlines()[-1] == "actions: left, down, right, up"
    assert env.step("right")[:4] == (". @ .\nO . .\n. . G\nrow 0 column 1", 0.0, False, False)
    assert env.step("up")[0] == ". @ .\nO . .\n. . G\nrow 0 column 1"  # the edge
    env.step("down")
    saved = snapshot(env)
    text, reward, terminated, _, info = env.step("left")
    assert (text, reward, terminated) == (". . .\n@ . .\n. . G\nyou fell into a hole", 0.0, True)
    assert (info["score"], info["success"]) == (0.0, False)
    restore(env, saved)
    env.step("right")
    text, reward, terminated, _, info = env.step("down")
    assert (text, reward, terminated) == (". . .\nO . .\n. . @\nyou reached the goal", 1.0, True)
    assert (info["score"], info["success"]) == (1.0, True)


def test_the_expert_takes_a_shortest_way() -> None:
    env = FrozenLake(size=6, hole_share=0.35)
    for task in env.task_ids("test")[:20]:
        env.reset(seed=0, options={"task": task})
        steps, terminated = 0, False
        while not terminated:
            _, reward, terminated, _, _ = env.step(env.expert_action())
            steps += 1
        assert reward == 1.0
        assert steps == shortest_way(lake_map(task, 6, 0.35))


def shortest_way(rows: tuple[str, ...]) -> int:
    """By breadth-first search, which knows nothing of the environment's transitions."""
    size = len(rows)
    away = {(0, 0): 0}
    queue = deque([(0, 0)])
    while queue:
        row, column = queue.popleft()
        for beside in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            inside = 0 <= beside[0] < size and 0 <= beside[1] < size
            if inside and beside not in away and rows[beside[0]][beside[1]] != "H":
                away[beside] = away[row, column] + 1
                queue.append(beside)
    return away[size - 1, size - 1]


def test_on_slippery_ice_the_expert_keeps_away_from_holes() -> None:
    # A move goes ahead or to either of its sides, each with probability 1/3, so that a cell beside a hole is left
    # safely only by the move straight away from it.
    moves = best_moves(("SFF", "HFF", "FFG"), True, 1 / 3)
    assert moves[0] == 3  # up: slips left (stays) or right, never down into the hole
    assert moves[4] == 2  # right: slips up or down, never left into the hole


def test_the_expert_beats_random_moves() -> None:
    rng = np.random.default_rng(0)
    assert success_rate(FrozenLake(), 50) == 1.0
    assert success_rate(FrozenLake(), 200, rng) < 0.2
    slippery = FrozenLake(slippery=True, turn_limit=200)
    assert success_rate(slippery, 200) > success_rate(slippery, 200, rng) + 0.3


def test_no_map_is_in_two_splits() -> None:
    env = FrozenLake()
    maps = [{lake_map(task, 4, 0.2) for task in env.task_ids(split)} for split in env.splits]
    assert not (maps[0] & maps[1] or maps[0] & maps[2] or maps[1] & maps[2])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"got 4, 0\.9"):
        FrozenLake(hole_share=0.9)
    with pytest.raises(InvalidConfig, match="too few worlds"):
        env = FrozenLake(hole_share=0)
        for split in env.splits:
            env.reset(seed=0, options={"split": split})
