from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from sparring.envs.text.number_search import INSTRUCTION, NumberSearch
from sparring.errors import InvalidConfig
from sparring.registration import make
from sparring.testing import check_env


@cache
def optimum(numbers: int) -> float:
    """The least expected cost of finding one of `numbers`: the right `=` is free, every other question costs 1."""
    if numbers == 1:
        return 0.0
    guess = (numbers - 1) / numbers * (1 + optimum(numbers - 1))
    splits = [1 + (k * optimum(k) + (numbers - k) * optimum(numbers - k)) / numbers for k in range(1, numbers)]
    return min(guess, *splits)


def expert_return(env: NumberSearch, task: str) -> float:
    env.reset(seed=0, options={"task": task})
    total, over = 0.0, False
    while not over:
        _, reward, terminated, truncated, _ = env.step(env.expert_action())
        total, over = total + reward, terminated or truncated
    return total


def test_it_keeps_the_contract() -> None:
    check_env("NumberSearch-v1")


def test_an_episode_by_hand() -> None:
    env = make("NumberSearch-v1")
    text, info = env.reset(options={"task": "dev/07"})
    assert text == "low 00\nhigh 15"
    assert info["instruction"] == INSTRUCTION
    steps = [
        ("< 08", "low 00\nhigh 07", -1.0),  # 7 is less than 8
        ("< 04", "low 04\nhigh 07", -1.0),  # and not less than 4
        ("= 05", "low 04\nhigh 07", -1.0),  # wrong, and bounds can't remember it
        ("= 04", "low 05\nhigh 07", -1.0),  # wrong at a bound moves it
        ("< 15", "low 05\nhigh 07", -1.0),  # nothing learned
    ]
    for action, expected, reward in steps:
        assert env.step(action)[:4] == (expected, reward, False, False)
    text, reward, terminated, truncated, info = env.step("= 07")
    assert (text, reward, terminated, truncated) == ("found 07", 0.0, True, False)
    assert (info["score"], info["success"]) == (0.5, True)  # 1 - 5 / 10


def test_the_expert_is_optimal_and_the_optimum_is_three_and_a_half() -> None:
    assert optimum(16) == 3.5
    env = NumberSearch()
    assert np.mean([expert_return(env, task) for task in env.task_ids("train")]) == -3.5


def test_random_questions_cost_far_more() -> None:
    env = NumberSearch()
    rng = np.random.default_rng(0)
    total = 0.0
    for episode in range(200):
        _, info = env.reset(seed=episode)
        over = False
        while not over:
            action = info["actions"].choices[rng.integers(32)]
            _, reward, terminated, truncated, info = env.step(action)
            total, over = total + reward, terminated or truncated
    assert total / 200 < -8  # against -3.5


def test_nonsense_costs_a_question_and_the_last_question_truncates() -> None:
    env = NumberSearch(max_questions=2)
    env.reset(options={"task": "test/00"})
    text, reward, terminated, truncated, info = env.step("= 7")  # two digits are asked for
    assert (text, reward, terminated, truncated) == ("low 00\nhigh 15", -1.0, False, False)
    assert "'= 7'" in info["no_op"]
    _, reward, terminated, truncated, info = env.step("< 01")
    assert (reward, terminated, truncated) == (-1.0, False, True)
    assert (info["score"], info["success"]) == (0.0, False)


def test_every_split_holds_every_secret_under_ids_of_its_own() -> None:
    env = NumberSearch(size=101)
    secrets = [{task.rpartition("/")[2] for task in env.task_ids(split)} for split in env.splits]
    assert secrets[0] == secrets[1] == secrets[2]
    assert len(secrets[0]) == 101
    assert env.task_ids("train")[-1] == "train/100"


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="got 1 and 10"):
        NumberSearch(size=1)
