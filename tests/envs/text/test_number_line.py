from __future__ import annotations

import numpy as np
import pytest

from sparring.envs.text.number_line import NumberLine
from sparring.errors import InvalidConfig
from sparring.testing import check_env


def mean_return(env: NumberLine, episodes: int, rng: np.random.Generator | None = None) -> float:
    """Of the expert, or of random moves drawn from `rng`."""
    total = 0.0
    for episode in range(episodes):
        env.reset(seed=episode)
        over = False
        while not over:
            action = env.expert_action() if rng is None else "+-"[rng.integers(2)]
            _, reward, terminated, truncated, _ = env.step(action)
            total, over = total + reward, terminated or truncated
    return total / episodes


def test_it_keeps_the_contract() -> None:
    check_env("NumberLine-v1")


def test_an_episode_by_hand() -> None:
    env = NumberLine()
    text, info = env.reset(options={"task": "0-to-2"})
    assert text == "target 2\nnumber 0"
    assert info["task"] == "0-to-2"
    assert env.step("-")[:4] == ("target 2\nnumber 0", -1.0, False, False)  # the end of the line
    assert env.step("+")[:4] == ("target 2\nnumber 1", 0.0, False, False)  # towards it
    assert env.step("-")[:4] == ("target 2\nnumber 0", -1.0, False, False)  # away from it
    text, reward, _, _, info = env.step("++")
    assert (text, reward, info["no_op"]) == ("target 2\nnumber 0", -1.0, "'++' is neither - nor +")
    env.step("+")
    text, reward, terminated, truncated, info = env.step("+")
    assert (text, reward, terminated, truncated) == ("target 2\nnumber 2", 1.0, True, False)
    assert (info["score"], info["success"]) == (1.0, True)


def test_it_is_cut_after_twice_the_length_of_the_line() -> None:
    env = NumberLine(max_position=3)
    env.reset(options={"task": "1-to-3"})
    flags = [env.step("-")[2:] for _ in range(6)]
    assert [truncated for _, truncated, _ in flags] == [False] * 5 + [True]
    assert flags[-1][2]["score"] == 0.0
    assert flags[-1][2]["success"] is False


def test_the_expert_beats_random_moves() -> None:
    env = NumberLine()
    assert mean_return(env, 200) == 1.0  # every move is towards the target
    assert mean_return(env, 200, np.random.default_rng(0)) < -1.0


def test_the_pairs_are_divided_among_the_splits() -> None:
    env = NumberLine()
    tasks = [env.task_ids(split) for split in env.splits]
    assert [len(ids) for ids in tasks] == [24, 3, 3]
    assert len({task for ids in tasks for task in ids}) == 30  # all ordered pairs of 6 numbers
    assert all(NumberLine(max_position=2).task_ids(split) for split in env.splits)


def test_a_line_too_short_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="at least 2, got 1"):
        NumberLine(max_position=1)
