"""Trainers with a critic learn from a short imitation on, and not once the critic or its verdict is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sparring
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import ppo, sft
from sparring.trainers.demos import DemosConfig
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig

AGENT = AgentConfig(max_action_tokens=8)
OPTIM = OptimConfig(lr=3e-3, warmup_steps=3)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, copy_model: Path) -> Iterator[Path]:
    """A model that has imitated, for seconds, somebody who is right at a rate of 0.3 + 0.7/8 = 0.39."""
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=5)
    yield sft.train(
        sft.Config(
            run=tmp_path_factory.mktemp("runs") / "started",
            model=str(copy_model),
            env=EnvConfig("tests/Copy-v1"),
            agent=AGENT,
            demos=DemosConfig("expert:0.7", episodes=300),
            optim=OptimConfig(lr=4e-3),
            loop=LoopConfig(steps=100, eval_every=0, checkpoint_every=100),
        )
    )


def train_ppo(folder: Path, model: Path, env: EnvConfig, **changes: Any) -> list[float]:
    """Mean training scores of 40 steps: 64 episodes of two words in each."""
    config = ppo.Config(
        run=folder / "ppo",
        model=str(model),
        env=env,
        agent=AGENT,
        optim=OPTIM,
        critic=OPTIM,
        loop=LoopConfig(steps=40, eval_every=0, checkpoint_every=40),
    )
    return [row["score"] for row in RunFolder(ppo.train(replace(config, **changes))).metrics()]


def test_ppo_learns(tmp_path: Path, started: Path, copy_env: EnvConfig) -> None:
    found = train_ppo(tmp_path, started, copy_env)
    assert np.mean(found[:2]) < 0.35
    assert np.mean(found[-5:]) > 0.8


def test_ppo_learns_nothing_from_advantages_of_zero(
    tmp_path: Path, started: Path, copy_env: EnvConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ppo, "whiten", torch.zeros_like)
    found = train_ppo(tmp_path, started, copy_env)
    assert np.mean(found[-5:]) == pytest.approx(np.mean(found[:5]), abs=0.06)


# A word is one token, and the reward stands on the end of its turn, which is forced. With lambda 0 a word is credited
# with nothing but the difference that it made to the critic's mind: who learns then has learned from the critic.
JUDGED: dict[str, Any] = {"lam": 0.0, "critic_warmup": 10, "value_clip": None}


def test_ppo_learns_from_its_critic_alone(tmp_path: Path, started: Path, copy_env: EnvConfig) -> None:
    found = train_ppo(tmp_path, started, copy_env, critic_epochs=6, **JUDGED)
    assert np.mean(found[-5:]) > np.mean(found[:10]) + 0.15


def test_and_not_from_a_critic_that_is_never_trained(tmp_path: Path, started: Path, copy_env: EnvConfig) -> None:
    found = train_ppo(tmp_path, started, copy_env, critic_epochs=0, **JUDGED)
    assert np.mean(found[-5:]) < np.mean(found[:10]) + 0.07
