"""The trainers learn: far above chance and above their start, and not at all once their signal is taken away."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import grpo, sft
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig

CHANCE = 1 / 8


def mean_score(run: Path, first: int, last: int) -> float:
    """Mean training score over some steps: 64 episodes of two words in each."""
    scores = [row["score"] for row in RunFolder(run).metrics() if first <= row["step"] <= last]
    return float(sum(scores) / len(scores))


def train_grpo(folder: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> Path:
    return grpo.train(
        grpo.Config(
            run=folder / "grpo",
            model=str(model),
            env=env,
            agent=agent,
            optim=OptimConfig(lr=3e-3, warmup_steps=3),
            loop=LoopConfig(steps=120, eval_every=120, eval_episodes=32, checkpoint_every=120),
            advantage="rloo",
            groups=8,
            group_size=8,
        )
    )


def test_grpo_learns(tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> None:
    run = train_grpo(tmp_path, copy_model, copy_env, copy_agent)
    start, end = mean_score(run, 1, 10), mean_score(run, 111, 120)
    # 10 steps are 1,280 words: the standard error of the start is 0.01.
    assert start == pytest.approx(CHANCE, abs=0.05)
    assert end > 0.6
    assert RunFolder(run).metrics()[-1]["eval_greedy_score"] > 0.7


def test_grpo_learns_nothing_from_advantages_of_zero(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpo, "group_advantages", lambda returns_S, *_: torch.zeros(len(returns_S)))
    run = train_grpo(tmp_path, copy_model, copy_env, copy_agent)
    assert mean_score(run, 111, 120) == pytest.approx(CHANCE, abs=0.05)


def train_sft(folder: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> dict[str, float]:
    run = sft.train(
        sft.Config(
            run=folder / "sft",
            model=str(model),
            env=env,
            agent=agent,
            demos=sft.DemosConfig("expert:0.3", episodes=400),
            optim=OptimConfig(lr=4e-3),
            loop=LoopConfig(steps=300, eval_every=300, eval_episodes=64, checkpoint_every=300),
        )
    )
    last: dict[str, float] = RunFolder(run).metrics()[-1]
    return last


def test_sft_learns(tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> None:
    last = train_sft(tmp_path, copy_model, copy_env, copy_agent)
    # The demonstrator says a random word at a rate of 0.3: it is right at a rate of 0.7 + 0.3/8 = 0.74. Its likeliest
    # word is always the right one, so that greedy decoding of a good imitation beats it.
    assert last["eval_greedy_score"] > 0.9
    assert 0.55 < last["eval_sampled_score"] < 0.9


def test_sft_learns_nothing_without_its_loss(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft, "token_weights", lambda lengths_B, *_, **__: torch.zeros(len(lengths_B)))
    last = train_sft(tmp_path, copy_model, copy_env, copy_agent)
    assert last["eval_sampled_score"] == pytest.approx(CHANCE, abs=0.12)  # 128 words: standard error 0.03
