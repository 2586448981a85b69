"""Learning from what is not the policy's own: it holds up on stale samples, and not without what it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sparring import trajectories
from sparring.envs.pool import EnvPool
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import off_policy
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.collect import collect_groups, group_starts
from sparring.trainers.losses import Surrogate, copg_loss
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig

CHANCE = 1 / 8


@pytest.fixture
def played(tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> Path:
    """What the untrained model says in 1,024 episodes: right at a rate of one in eight."""
    learner = load_learner(str(copy_model), OptimConfig(), RunFolder(tmp_path / "none"))
    setting = off_policy.Config(env=copy_env, agent=copy_agent).setting
    with EnvPool(copy_env.maker(), 64) as pool:
        starts = group_starts(0, 1, groups=64, size=16, split="train")
        found = collect_groups(learner.policy(copy_agent), pool, starts, setting, 16)
    path = tmp_path / "played.jsonl.zst"
    trajectories.write(path, found.trajectories)
    return path


def learned(
    folder: Path, model: Path, env: EnvConfig, agent: AgentConfig, steps: int = 80, **changes: Any
) -> dict[str, float]:
    """The last row of a run of some steps, none of whose groups need be younger than the run itself."""
    run = off_policy.train(
        off_policy.Config(
            run=folder / "off_policy",
            model=str(model),
            env=env,
            agent=agent,
            optim=OptimConfig(lr=3e-3, warmup_steps=3),
            loop=LoopConfig(steps=steps, eval_every=steps, eval_episodes=32, checkpoint_every=steps),
            group_size=8,
            aggregation="seq-mean-token-sum",
            **changes,
        )
    )
    last: dict[str, float] = RunFolder(run).metrics()[-1]
    return last


# Of two words none, one or both are right: returns of 0, a half and 1 become -0.3, 0.2 and 0.7.
ALONE: dict[str, Any] = {"groups": 0, "learn_groups": 16, "baseline": "none", "offset": 0.3}


def test_topr_learns_from_the_start_s_samples_alone(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig, played: Path
) -> None:
    last = learned(tmp_path, copy_model, copy_env, copy_agent, data=played, **ALONE)
    assert last["eval_greedy_score"] > 0.7 and last["eval_sampled_score"] > 0.5
    assert last["env_turns"] == 0


def test_without_its_taper_topr_collapses(
    tmp_path: Path,
    copy_model: Path,
    copy_env: EnvConfig,
    copy_agent: AgentConfig,
    played: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plain REINFORCE on stale samples pushes down what is bad for ever, and no probability is left for the good."""

    def untapered(logprobs_N: Any, behaviour_N: Any, returns_N: Any, *_: Any) -> Surrogate:
        return Surrogate(-returns_N * logprobs_N, torch.zeros_like(logprobs_N, dtype=torch.bool))

    monkeypatch.setattr(off_policy, "topr_loss", untapered)
    last = learned(tmp_path, copy_model, copy_env, copy_agent, data=played, **ALONE)
    assert last["eval_greedy_score"] < 0.35 and last["eval_sampled_score"] < 0.35


def test_copg_learns_from_the_start_s_samples_alone(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig, played: Path
) -> None:
    last = learned(
        tmp_path,
        copy_model,
        copy_env,
        copy_agent,
        data=played,
        groups=0,
        learn_groups=8,
        objective="copg",
        beta=0.02,
    )
    assert last["eval_greedy_score"] > 0.6


def test_copg_learns_nothing_without_its_returns(
    tmp_path: Path,
    copy_model: Path,
    copy_env: EnvConfig,
    copy_agent: AgentConfig,
    played: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        off_policy,
        "copg_loss",
        lambda log_ratio_S, returns_S, group_S, beta: copg_loss(log_ratio_S, 0 * returns_S, group_S, beta),
    )
    last = learned(
        tmp_path, copy_model, copy_env, copy_agent, 40, data=played, groups=0, learn_groups=8, objective="copg"
    )
    assert last["eval_sampled_score"] == pytest.approx(CHANCE, abs=0.12)  # 64 words: standard error 0.04


def test_a_deep_buffer_of_its_own_groups(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    """Up to 24 steps old, each group is learned from about a dozen times: half the experience that grpo is given."""
    last = learned(tmp_path, copy_model, copy_env, copy_agent, 60, groups=8, max_age=24, learn_groups=32, minibatches=2)
    assert last["eval_greedy_score"] > 0.8 and last["eval_sampled_score"] > 0.7
