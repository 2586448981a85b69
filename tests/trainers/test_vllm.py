"""A trainer whose policy acts by vLLM: what it recomputes is what was sampled, before and after an update."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sparring.agents.models.tiny import build_tiny
from sparring.agents.vllm import VLLMPolicy
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import grpo
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig
from tests.worlds import WORDS

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed: make test-vllm"),
]


@pytest.fixture
def config(tmp_path: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> grpo.Config:
    # vLLM has no kernels for heads narrower than 32 on a CPU.
    model = build_tiny(
        ["Say the word.", *WORDS] * 3,
        tmp_path / "model",
        vocabulary=300,
        hidden=64,
        layers=2,
        heads=2,
        max_context=128,
    )
    return grpo.Config(
        run=tmp_path / "run",
        model=str(model),
        env=copy_env,
        agent=replace(copy_agent, engine="vllm", engine_cache_gib=0.05, engine_dtype="float32"),
        optim=OptimConfig(lr=3e-3, warmup_steps=0),
        loop=LoopConfig(steps=3, eval_every=3, eval_episodes=4, eval_split="test"),
        groups=4,
        group_size=4,
    )


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_steps_of_a_trainer(config: grpo.Config, lora_rank: int) -> None:
    if lora_rank and torch.cuda.is_available():
        config = replace(config, agent=replace(config.agent, engine_dtype="bfloat16"))
    run = RunFolder(grpo.train(replace(config, lora_rank=lora_rank)))
    rows = run.metrics()
    assert len(rows) == 3
    # The mean difference between sampled log-probabilities and the trainer's own, before a step's first update: the
    # second and third step would show an engine that had been left at older weights.
    assert all(row["mismatch"] < (3e-2 if torch.cuda.is_available() else 1e-5) for row in rows)
    assert all(math.isfinite(row["loss"]) and row["grad_norm"] > 0 for row in rows)
    assert "eval_greedy_score" in rows[-1]


def test_a_resumed_run_reaches_the_same_weights(config: grpo.Config) -> None:
    config = replace(config, loop=replace(config.loop, eval_every=0))
    whole = grpo.train(replace(config, run=config.run.with_name("whole")))
    grpo.train(replace(config, loop=replace(config.loop, steps=1)))
    grpo.train(replace(config, resume=True))
    weights = [load_file(run / "checkpoints/step-3/model.safetensors") for run in (whole, config.run)]
    for name, value in weights[0].items():  # bit by bit where the kernels allow that
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-3 if torch.cuda.is_available() else 0)


def test_the_policies_of_a_learner_share_an_engine(config: grpo.Config) -> None:
    learner = load_learner(config.model, config.optim, RunFolder(config.run))
    one, other = learner.policy(config.agent), learner.policy(config.agent, greedy=True)
    assert isinstance(one, VLLMPolicy)
    assert one.engine is other.engine
