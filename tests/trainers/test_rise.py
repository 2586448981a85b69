"""RISE: where improvements are asked for, which are kept and what they count; and that the weights are what teaches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sparring
from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.agents.models.tiny import build_tiny
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import rise
from sparring.trainers.losses import effective_samples, reward_weights
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rise import Config, Improver, Record, places, selected
from sparring.trainers.rounds import Harvest, LearningConfig, lessons_of
from sparring.trainers.session import LoopConfig
from tests.trainers.attempts import TEXTS
from tests.trainers.hand_made import episode

AGENT = AgentConfig(max_action_tokens=8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "hinted"
    return build_tiny(list(TEXTS) * 3, folder, vocabulary=300, hidden=32, layers=2, heads=2, max_context=128)


@pytest.fixture
def hinted() -> EnvConfig:
    sparring.register("tests/Hinted-v1", "tests.trainers.attempts:Hinted", max_turns=5)
    return EnvConfig("tests/Hinted-v1")


def record(*rewards: float, source: int = 0) -> Record:
    return Record(episode(rewards, ["first", "red", "red"][: len(rewards)]), source)


# Where, which, and how much


def test_improvements_are_asked_for_up_to_the_first_right_attempt() -> None:
    seen = ["first", "red", "red", "red"]
    assert list(places(episode([0, 0, 1, 1], seen), beyond_right=False)) == [0, 1, 2]
    assert list(places(episode([0, 0, 1, 1], seen), beyond_right=True)) == [0, 1, 2, 3]
    assert list(places(episode([0, 0.5, 0, 0], seen), beyond_right=True)) == [0, 1, 2, 3]
    assert list(places(episode([1], seen[:1]), beyond_right=True)) == [0]


def test_what_is_kept() -> None:
    wrong, half, worse, right, right_again, spoilt = (
        record(0), record(0, 0.5), record(0.5, 0.2, source=1), record(0.5, 1, source=1), record(1, 1), record(1, 0),
    )  # fmt: skip
    everything = [wrong, half, worse, right, right_again, spoilt]
    assert selected(everything, "all", keep_right=False) == [wrong, half, worse, right]
    assert selected(everything, "better", keep_right=False) == [half, right]
    assert selected(everything, "best", keep_right=False) == [half, right]
    assert selected(everything, "success", keep_right=False) == [right]
    assert selected(everything, "success", keep_right=True) == [right, right_again]


def test_what_a_record_counts() -> None:
    weights_S = reward_weights(torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64), 0.4)
    torch.testing.assert_close(weights_S, torch.tensor([12.1825, 3.4903, 1.0], dtype=torch.float64), rtol=1e-4, atol=0)
    flat_S = reward_weights(torch.tensor([1.0, 0.5, 0.0]), 1e9)
    torch.testing.assert_close(flat_S, torch.ones(3))  # plain imitation


def test_how_many_records_the_weights_leave() -> None:
    assert effective_samples(torch.ones(5)) == pytest.approx(5)
    assert effective_samples(torch.tensor([1.0, 0.0, 0.0])) == pytest.approx(1)
    mixed = reward_weights(torch.tensor([1.0] + [0.0] * 9), 0.4)
    assert effective_samples(mixed) == pytest.approx((12.1825 + 9) ** 2 / (12.1825**2 + 9), rel=1e-4)
    assert effective_samples(torch.ones(0)) == 0


# Collecting


@pytest.fixture
def policy(model: Path) -> HFPolicy:
    return HFPolicy(*load_model(model), max_new_tokens=8)


@pytest.fixture
def pool(hinted: EnvConfig) -> Iterator[EnvPool]:
    with EnvPool(hinted.maker(), 16) as found:
        yield found


def harvest(config: Config, policy: HFPolicy, pool: EnvPool) -> Harvest:
    with Improver(config) as improver:
        return improver(policy, pool, 1)


def test_only_the_better_attempt_is_learned_from(policy: HFPolicy, pool: EnvPool, hinted: EnvConfig) -> None:
    found = harvest(Config(env=hinted, agent=AGENT, groups=16, samples=8, keep_right=True), policy, pool)
    lengths = {len(one.trajectory.turns) for one in found.flagged}
    assert lengths == {1, 2}
    for one in found.flagged:
        last = len(one.trajectory.turns) - 1
        assert one.trained == frozenset({last})
        assert one.trajectory.turns[last].reward == 1 and one.weight == pytest.approx(math.exp(1 / 0.4))
    assert found.metrics["effective_samples"] == pytest.approx(len(found.flagged))
    assert any(one.trajectory.turns[0].reward == 1 for one in found.flagged if len(one.trajectory.turns) == 2)
    for lesson in lessons_of(found.flagged, policy, AGENT):  # checks prompts against what was seen
        assert lesson.sample.turn_n is not None and len(set(lesson.sample.turn_n.tolist())) == 1


def test_a_teacher_improves(policy: HFPolicy, pool: EnvPool, hinted: EnvConfig) -> None:
    config = Config(env=hinted, agent=AGENT, groups=16, samples=1, keep="all", teacher="expert")
    found = harvest(config, policy, pool)
    assert found.metrics["right_records"] == 1
    second = [one for one in found.flagged if len(one.trajectory.turns) == 2]
    assert second and all(one.trajectory.turns[0].reward == 0 for one in second)
    assert all(one.trajectory.wrappers == () for one in found.flagged)
    assert len(lessons_of(found.flagged, policy, AGENT)) == len(found.flagged)


def test_the_best_of_several_samples_is_taken(policy: HFPolicy, pool: EnvPool, hinted: EnvConfig) -> None:
    rates = [
        harvest(Config(env=hinted, agent=AGENT, groups=64, samples=count), policy, pool).metrics["right_records"]
        for count in (1, 8)
    ]
    # One guess of four is right in one case of four, the best of eight in nine of ten.
    assert rates[0] < 0.45 and rates[1] > 0.8


# Learning


def config_of(run: Path, model: Path, env: EnvConfig) -> Config:
    return Config(
        run=run,
        model=str(model),
        env=env,
        agent=AGENT,
        optim=OptimConfig(lr=4e-3, warmup_steps=3),
        loop=LoopConfig(steps=3, eval_every=3, eval_episodes=128, checkpoint_every=3),
        learning=LearningConfig(updates=80, max_passes=5, aggregation="seq-mean-token-mean"),
        groups=256,
        samples=2,
        keep="all",
        tau=0.2,
    )


def second_accuracy(run: Path) -> float:
    return float(RunFolder(run).metrics()[-1]["eval_sampled_t2"])


def test_second_attempts_learn(tmp_path: Path, model: Path, hinted: EnvConfig) -> None:
    assert second_accuracy(rise.train(config_of(tmp_path / "run", model, hinted))) > 0.7


def test_all_records_alike_teach_little(
    tmp_path: Path, model: Path, hinted: EnvConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rise, "reward_weights", lambda rewards_S, tau: torch.ones(len(rewards_S)))
    config = replace(config_of(tmp_path / "run", model, hinted), samples=1)
    assert second_accuracy(rise.train(config)) < 0.5


@pytest.mark.parametrize(("wrong", "says"), [({"tau": 0.0}, "tau must be above 0"), ({"samples": 0}, "samples must")])
def test_settings_that_do_not_fit(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        Config(**wrong)
