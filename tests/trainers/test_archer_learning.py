"""ArCHer learns two words that are paid for together at the end, by what its critic makes of each; not without it.

Whether the first word was right is told a turn later and in a sum, so that its credit has to come through the critic's
value of the second turn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sparring
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import archer
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig
from sparring.trainers.turn_critic import TurnCriticConfig

CHANCE = 1 / 8


def learned(folder: Path, model: Path, agent: AgentConfig, critic_steps: int = 8, **changes: Any) -> float:
    """The mean score of the last five of thirty steps: 160 words."""
    sparring.register("tests/Password-v1", "tests.worlds:Password", max_turns=5)
    config = archer.Config(
        run=folder / "archer",
        model=str(model),
        env=EnvConfig("tests/Password-v1"),
        agent=agent,
        optim=OptimConfig(lr=1e-3, warmup_steps=3),
        critic=OptimConfig(lr=3e-3, warmup_steps=3),
        values=TurnCriticConfig(critic_steps=critic_steps, critic_batch=32),
        loop=LoopConfig(steps=30, eval_every=0, checkpoint_every=30),
        episodes=16,
        warmup_steps=4,
        actor_states=32,
        **changes,
    )
    return float(np.mean([row["score"] for row in RunFolder(archer.train(config)).metrics()[-5:]]))


def test_archer_learns(tmp_path: Path, copy_model: Path, copy_agent: AgentConfig) -> None:
    assert learned(tmp_path, copy_model, copy_agent) > 0.6


def test_the_critic_alone_teaches(tmp_path: Path, copy_model: Path, copy_agent: AgentConfig) -> None:
    assert learned(tmp_path, copy_model, copy_agent, on_policy=0) > 0.35


def test_a_critic_that_is_never_trained_teaches_nothing(
    tmp_path: Path, copy_model: Path, copy_agent: AgentConfig
) -> None:
    score = learned(tmp_path, copy_model, copy_agent, critic_steps=0, on_policy=0)
    assert score == pytest.approx(CHANCE, abs=0.12)


def test_advantages_of_zero_teach_nothing(
    tmp_path: Path, copy_model: Path, copy_agent: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archer, "advantages_of", lambda config, critic, chosen, actions: torch.zeros(len(actions)))
    score = learned(tmp_path, copy_model, copy_agent, critic_steps=1, on_policy=0)
    assert score == pytest.approx(CHANCE, abs=0.12)
