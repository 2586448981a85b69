"""Who gets what: grpo's advantages of episodes and turns against hand calculations, packed and one prompt a turn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparring.agents.hf import HFPolicy
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import grpo
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.collect import Collection
from sparring.trainers.optim import OptimConfig
from sparring.types import Trajectory
from tests.trainers.hand_made import episode

MEMORIES = ["full_history", "last_observation", "window(2)"]


@pytest.fixture
def config(tmp_path: Path, copy_model: Path, copy_env: EnvConfig) -> grpo.Config:
    agent = AgentConfig(constrained=False)
    return grpo.Config(run=tmp_path / "run", model=str(copy_model), env=copy_env, agent=agent, gamma=0.5)


@pytest.fixture
def policy(config: grpo.Config) -> HFPolicy:
    return load_learner(config.model, OptimConfig(), RunFolder(config.run)).policy(config.agent)


def groups(memory: str, tag: Mapping[int, str] = {}) -> Collection:
    """Two groups; with a discount of 0.5 a turn the returns-to-go stand on the right."""

    def made(number: int, rewards: list[float], seen: list[str]) -> Trajectory:
        return episode(rewards, [f"{text}{tag.get(number, '')}" for text in seen], memory=memory)

    first = (
        made(0, [0, 1], ["a", "b"]),  # R = 1: 0.5, 1
        made(1, [0, 1, 2], ["a", "c", "a"]),  # R = 3: 1, 2, 2
        made(2, [0], ["b"]),  # R = 0: 0
    )
    second = (
        made(3, [4], ["a"]),  # R = 4: 4
        made(4, [0, 0], ["a", "b"]),  # R = 0: 0, 0
    )
    return Collection((first, second), failed=0)


def by_turn(config: grpo.Config, policy: HFPolicy, collection: Collection) -> list[list[float]]:
    """The advantage of each turn of each episode, having checked that all tokens of a turn share it."""
    lessons = grpo.lessons_of(config, policy, collection)
    found: list[list[float]] = []
    remaining = iter(lessons)
    for one in collection.trajectories:
        tokens: dict[int, list[float]] = {turn: [] for turn in range(len(one.turns))}
        while sum(map(len, tokens.values())) < sum(len(policy.chat.encode_action(turn.action)) for turn in one.turns):
            lesson = next(remaining)
            assert lesson.sample.turn_n is not None and len(lesson.sample.turn_n) == len(lesson.advantages_n)
            for turn, value in zip(lesson.sample.turn_n.tolist(), lesson.advantages_n.tolist(), strict=True):
                tokens[turn].append(value)
        for turn, values in tokens.items():
            assert len(values) == len(policy.chat.encode_action(one.turns[turn].action)) > 1
            assert len(set(values)) == 1
        found.append([values[0] for values in tokens.values()])
    assert next(remaining, None) is None
    return found


# reinforce++: the mean of (1, 3, 0, 4, 0) is 1.6, and the squared distances from it add up to 13.2.
ALL = math.sqrt(13.2 / 4)
# reinforce++-baseline: group means 4/3 and 2 leave (-1/3, 5/3, -4/3, 2, -2), whose squares add up to 42/9 + 8.
CENTRED = math.sqrt((42 / 9 + 8) / 4)
# gigpo's normalised episodes: the deviations of (1, 3, 0) have squares that add up to 42/9; those of (4, 0) to 8.
FIRST, SECOND = math.sqrt(42 / 9 / 2), math.sqrt(8)
# And its anchors: "a" in the first group has returns-to-go (0.5, 1, 2), mean 7/6, squares 42/36; pairs have 1/2 and 8.
A, B, C = math.sqrt(42 / 36 / 2), math.sqrt(1 / 2), math.sqrt(8)

CASES: list[tuple[dict[str, Any], list[list[float]]]] = [
    ({"advantage": "reinforce++"}, [[-0.6 / ALL] * 2, [1.4 / ALL] * 3, [-1.6 / ALL], [2.4 / ALL], [-1.6 / ALL] * 2]),
    (
        {"advantage": "reinforce++-baseline"},
        [[-1 / 3 / CENTRED] * 2, [5 / 3 / CENTRED] * 3, [-4 / 3 / CENTRED], [2 / CENTRED], [-2 / CENTRED] * 2],
    ),
    # Of a turn: its episode's distance from the group's mean, and its own from the mean of those who saw the same.
    (
        {"advantage": "gigpo"},
        [
            [-1 / 3 - 2 / 3, -1 / 3 + 1 / 2],
            [5 / 3 - 1 / 6, 5 / 3, 5 / 3 + 5 / 6],
            [-4 / 3 - 1 / 2],
            [2 + 2],
            [-2 - 2, -2],
        ],
    ),
    (
        {"advantage": "gigpo", "step_weight": 2.0, "normalise": True},
        [
            [-1 / 3 / FIRST - 2 * 2 / 3 / A, -1 / 3 / FIRST + 2 * 1 / 2 / B],
            [5 / 3 / FIRST - 2 * 1 / 6 / A, 5 / 3 / FIRST, 5 / 3 / FIRST + 2 * 5 / 6 / A],
            [-4 / 3 / FIRST - 2 * 1 / 2 / B],
            [2 / SECOND + 2 * 2 / C],
            [-2 / SECOND - 2 * 2 / C, -2 / SECOND],
        ],
    ),
    # First turns return (0.5, 1, 0) and (4, 0), second ones (1, 2) and a single 0; the third turn is alone.
    ({"advantage": "turn"}, [[0, -0.5], [0.5, 0.5, 0], [-0.5], [2], [-2, 0]]),
]


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize(("change", "expected"), CASES)
def test_credit_by_hand(
    config: grpo.Config, policy: HFPolicy, memory: str, change: dict[str, Any], expected: list[list[float]]
) -> None:
    found = by_turn(replace(config, **change), policy, groups(memory))
    for turns, wanted in zip(found, expected, strict=True):
        assert turns == pytest.approx(wanted, abs=1e-5)


def test_anchors_leave_out_what_means_nothing(config: grpo.Config, policy: HFPolicy) -> None:
    """A counter that differs between episodes hides that they stood in the same place, unless it is ignored."""
    config = replace(config, advantage="gigpo")
    counted = groups("full_history", {number: f" (step #{number})" for number in range(5)})
    ignoring = by_turn(replace(config, anchor_ignores=r"\(step #\d+\)"), policy, counted)
    for turns, wanted in zip(ignoring, CASES[2][1], strict=True):
        assert turns == pytest.approx(wanted, abs=1e-5)
    # Then only the second episode comes back to a place, its first and third turns (1 and 2): -0.5 and 0.5.
    alone: list[list[float]] = [[-1 / 3] * 2, [5 / 3 - 0.5, 5 / 3, 5 / 3 + 0.5], [-4 / 3], [2], [-2] * 2]
    for turns, wanted in zip(by_turn(config, policy, counted), alone, strict=True):
        assert turns == pytest.approx(wanted, abs=1e-5)


def test_what_is_taken_off_a_return_is_paid_at_the_end(config: grpo.Config, policy: HFPolicy) -> None:
    """Two episodes of two turns, equal but for three more tokens in the second's first turn, at 0.1 each.

    Paid with the last turn, and halved on the way to the first: the difference is 0.3 there and 0.15 here.
    """
    short, long = (
        episode([0, 1], ["a", "b"], said=["red", "blue"]),
        episode([0, 1], ["a", "b"], said=["red red red red", "blue"]),
    )
    spelled = [
        replace(one, turns=tuple(
            replace(turn, action=replace(turn.action, token_ids=policy.chat.encode_action(turn.action)))
            for turn in one.turns
        ))
        for one in (short, long)
    ]  # fmt: skip
    extra = len(spelled[1].turns[0].action.token_ids) - len(spelled[0].turns[0].action.token_ids)
    cost = 0.3 / extra
    found = by_turn(replace(config, advantage="turn", token_cost=cost), policy, Collection((tuple(spelled),), 0))
    assert found[0] == pytest.approx([0.075, 0.15], abs=1e-6)
    assert found[1] == pytest.approx([-0.075, -0.15], abs=1e-6)


@pytest.mark.parametrize(("tokens", "penalty"), [(5, 0.0), (6, 0.0), (8, -0.5), (10, -1.0), (15, -1.0)])
def test_overlong_episodes_lose_return(config: grpo.Config, tokens: int, penalty: float) -> None:
    """Limit 10, slope 4: free up to 6, then a quarter a token."""
    soft = replace(config, overlong_tokens=4, objective=replace(config.objective, max_episode_tokens=10))
    one = episode([0.0, 2.0], ["a", "b"])
    first, last = one.turns
    ids = tuple(range(tokens))
    played = replace(
        one,
        turns=(
            replace(first, action=replace(first.action, token_ids=ids[:2])),
            replace(last, action=replace(last.action, token_ids=ids[2:])),
        ),
    )
    assert soft.learning_return(played) == pytest.approx(2 + penalty)


@st.composite
def random_groups(draw: st.DrawFn) -> list[list[tuple[list[float], list[str]]]]:
    reward = st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0])
    return [
        [
            (
                draw(st.lists(reward, min_size=(count := draw(st.integers(1, 4))), max_size=count)),
                draw(st.lists(st.sampled_from(["red", "green", "blue"]), min_size=count, max_size=count)),
            )
            for _ in range(draw(st.integers(2, 3)))
        ]
        for _ in range(draw(st.integers(1, 2)))
    ]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    random_groups(),
    st.sampled_from(["grpo", "rloo", "dr_grpo", "reinforce++", "reinforce++-baseline", "gigpo", "turn"]),
    st.sampled_from(MEMORIES),
    st.integers(1, 30),
)
def test_longer_observations_change_no_advantage(
    config: grpo.Config, policy: HFPolicy, drawn: Any, advantage: Any, memory: str, longer: int
) -> None:
    """Every observation gets more tokens, equal ones the same: places, credit and order of tokens stay."""
    found = []
    for tail in ("", " gold" * longer):
        made = tuple(
            tuple(episode(rewards, [text + tail for text in seen], memory=memory) for rewards, seen in group)
            for group in drawn
        )
        found.append(grpo.lessons_of(replace(config, advantage=advantage), policy, Collection(made, 0)))
    for before, after in zip(*found, strict=True):
        assert len(after.sample.ids_T) > len(before.sample.ids_T)
        assert np.array_equal(before.advantages_n, after.advantages_n)
        assert np.array_equal(before.sample.ids_T[before.sample.sampled_n], after.sample.ids_T[after.sample.sampled_n])
