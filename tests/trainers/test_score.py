"""SCoRe: each attempt's tokens learn from its own reward alone, the first is held where it was, the second learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sparring
from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.agents.models.tiny import build_tiny
from sparring.correction import correction_metrics
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import score
from sparring.trainers.collect import Collection
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import ObjectiveConfig
from sparring.trainers.score import Config, Played
from sparring.trainers.session import LoopConfig
from sparring.types import Trajectory
from tests.trainers.attempts import TEXTS
from tests.trainers.hand_made import episode

FOUR = ((0, 1), (1, 1), (1, 0), (0, 0))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "hinted"
    return build_tiny(list(TEXTS) * 3, folder, vocabulary=300, hidden=32, layers=2, heads=2, max_context=128)


@pytest.fixture
def hinted() -> EnvConfig:
    sparring.register("tests/Hinted-v1", "tests.trainers.attempts:Hinted", max_turns=5)
    return EnvConfig("tests/Hinted-v1")


@pytest.fixture
def policy(model: Path) -> HFPolicy:
    return HFPolicy(*load_model(model), max_new_tokens=8)


def attempted(*rewards: float, said: tuple[str, ...] = ()) -> Trajectory:
    return episode(rewards, ["first", "red"][: len(rewards)], said=said or ["green", "red"][: len(rewards)])


def advantages(config: Config, pairs: Any, *, first_stage: bool) -> list[list[float]]:
    found = score.turn_advantages(config, [(0, attempted(*pair)) for pair in pairs], first_stage=first_stage)
    return [one.tolist() for one in found]


# Credit


def test_shaped_rewards_of_the_paper() -> None:
    found = advantages(Config(baseline="none", alpha=10), FOUR, first_stage=False)
    assert found == [[0, 11], [1, 1], [1, -10], [0, 0]]


def test_the_first_stage_rewards_second_attempts_alone() -> None:
    assert advantages(Config(baseline="none"), FOUR, first_stage=True) == [[0, 1], [0, 1], [0, 0], [0, 0]]


def test_without_a_bonus_it_is_reinforce_at_each_attempt() -> None:
    found = advantages(Config(baseline="none", alpha=0), FOUR, first_stage=False)
    assert found == [list(pair) for pair in FOUR]


def test_each_attempt_is_compared_with_the_others_at_the_same_attempt() -> None:
    found = advantages(Config(alpha=10), FOUR, first_stage=False)
    # First attempts 0, 1, 1, 0: each less the mean of the other three. Second ones 11, 1, -10, 0.
    third = 1 / 3
    wanted = [[-2 * third, 11 + 9 / 3], [2 * third, 1 - third], [2 * third, -10 - 4], [-2 * third, 0 - 2 * third]]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    means = np.array(advantages(Config(alpha=10, baseline="mean"), FOUR, first_stage=False))
    np.testing.assert_allclose(means, np.array(wanted) * 3 / 4, rtol=1e-6)


def test_an_attempt_that_nobody_else_made_is_compared_with_nothing() -> None:
    assert advantages(Config(alpha=10), [(1,), (0, 1)], first_stage=False) == [[1.0], [-1.0, 0.0]]


def gradient(config: Config, policy: HFPolicy, pairs: Any, *, first_stage: bool) -> torch.Tensor:
    """The gradient of the first attempts' part of the loss, by the model's weights."""
    played = Played(Collection((tuple(attempted(*pair) for pair in pairs),), 0))
    lessons = score.lessons_of(config, policy, played, first_stage=first_stage)
    kept = []
    for lesson in lessons:
        assert lesson.sample.turn_n is not None
        first_n = lesson.sample.turn_n == 0
        kept.append(replace(lesson, sample=lesson.sample.keeping(first_n), advantages_n=lesson.advantages_n[first_n]))
    return torch.tensor(np.concatenate([one.advantages_n for one in kept]))


@pytest.mark.parametrize("baseline", ["leave-one-out", "mean", "none"])
def test_what_first_attempts_learn_does_not_depend_on_second_rewards(policy: HFPolicy, baseline: Any) -> None:
    config = Config(baseline=baseline, alpha=10)
    plain = gradient(config, policy, [(0, 0), (1, 0), (1, 1)], first_stage=False)
    other = gradient(config, policy, [(0, 1), (1, 1), (1, 0)], first_stage=False)
    torch.testing.assert_close(plain, other, rtol=0, atol=0)
    assert plain.any()
    assert not gradient(config, policy, [(0, 1), (1, 0), (1, 1)], first_stage=True).any()


def test_the_bug_that_fakes_a_gain_is_seen_by_the_metrics() -> None:
    """A first attempt that is wrong on purpose has the largest gain and the worst first accuracy."""
    honest, sly = ([named(pair) for pair in pairs] for pairs in ([(1, 1), (1, 1), (0, 1)], [(0, 1)] * 3))
    one, other = correction_metrics(honest), correction_metrics(sly)
    assert other["delta"] > one["delta"] and other["t2"] == one["t2"] and other["t1"] == 0 < one["t1"]
    assert one["delta"] == pytest.approx(one["wrong_to_right"] - one["right_to_wrong"])


def named(pair: tuple[int, int]) -> Trajectory:
    found = attempted(*pair)
    return replace(found, turns=tuple(replace(turn, info={"correct": bool(turn.reward)}) for turn in found.turns))


# Held to the start


def test_the_first_stage_holds_first_attempts_more_tightly(policy: HFPolicy) -> None:
    config = Config(beta_1=0.5, beta_2=2.0)
    played = Played(Collection(((attempted(0, 1), attempted(1, 1)),), 0))
    for first_stage, first in ((True, 2.0), (False, 0.5)):
        for lesson in score.lessons_of(config, policy, played, first_stage=first_stage):
            assert lesson.kl_n is not None and lesson.sample.turn_n is not None
            assert lesson.kl_n.tolist() == [first if turn == 0 else 0.5 for turn in lesson.sample.turn_n.tolist()]


def test_first_attempts_of_the_start_are_no_lesson(policy: HFPolicy) -> None:
    played = Played(
        Collection(((attempted(0, 1), attempted(0, 0)), (attempted(0, 1), attempted(1, 0))), 0), frozenset({1})
    )
    turns = [
        set(lesson.sample.turn_n.tolist())
        for lesson in score.lessons_of(Config(), policy, played, first_stage=False)
        if lesson.sample.turn_n is not None
    ]
    assert turns == [{0, 1}, {0, 1}, {1}, {1}]
    assert played.own.groups == played.whole.groups[:1]


def test_a_group_goes_on_from_one_first_attempt(policy: HFPolicy, model: Path, hinted: EnvConfig) -> None:
    config = Config(
        env=hinted, mix=0.5, groups=4, group_size=3, stage_1_steps=1, agent=AgentConfig(max_action_tokens=8)
    )
    with EnvPool(hinted.maker(), 12) as pool:
        before = score.play(config, policy, policy, pool, 1, "train")
        played = score.play(config, policy, policy, pool, 2, "train")
    assert not before.mixed and played.mixed == {0, 1}
    for number, group in enumerate(played.whole.groups):
        firsts = {one.turns[0].action for one in group}
        assert len(group) == 3 and (len(firsts) == 1) == (number in played.mixed)
    lessons = score.lessons_of(config, policy, played, first_stage=False)  # checks each prompt against what was seen
    assert len(lessons) == 12


# Learning


def config_of(run: Path, model: Path, env: EnvConfig) -> Config:
    return Config(
        run=run,
        model=str(model),
        env=env,
        agent=AgentConfig(max_action_tokens=8),
        optim=OptimConfig(lr=4e-3, warmup_steps=3),
        loop=LoopConfig(steps=60, eval_every=60, eval_episodes=128, checkpoint_every=60),
        stage_1_steps=40,
        groups=8,
        group_size=8,
        beta_2=0.5,
    )


def evaluated(run: Path) -> tuple[float, float]:
    last = RunFolder(run).metrics()[-1]
    return last["eval_sampled_t1"], last["eval_sampled_t2"]


def test_second_attempts_learn_and_first_ones_stay(tmp_path: Path, model: Path, hinted: EnvConfig) -> None:
    run = score.train(config_of(tmp_path / "run", model, hinted))
    first, second = evaluated(run)
    assert first == pytest.approx(1 / 4, abs=0.12)  # 128 episodes: a standard error of 0.04
    assert second > 0.7
    rows = RunFolder(run).metrics()
    assert [row["stage"] for row in rows] == [1.0] * 40 + [2.0] * 20
    assert rows[-1]["delta"] == pytest.approx(rows[-1]["wrong_to_right"] - rows[-1]["right_to_wrong"])


@pytest.mark.parametrize("without", ["second rewards", "the hint"])
def test_nothing_is_learned_without(
    without: str, tmp_path: Path, model: Path, hinted: EnvConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path / "run", model, hinted)
    if without == "the hint":
        config = replace(config, env=replace(hinted, options={"shown": "false"}))
    else:
        monkeypatch.setattr(
            score, "attempt_advantages", lambda rewards_K, sequence_K, attempt_K, *_: torch.zeros(len(rewards_K))
        )
    _, second = evaluated(score.train(config))
    assert second < 0.45


# Settings


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mix": 1.5}, "share of the groups"),
        ({"attempts": 1}, "stage I rewards second attempts alone"),
        ({"group_size": 1}, "leave-one-out compares"),
        ({"objective": ObjectiveConfig(kl_coef=0.1)}, "beta_1 and beta_2"),
        ({"alpha": -1.0}, "alpha must be at least 0"),
    ],
)
def test_settings_that_do_not_fit(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        Config(**wrong)
