"""Learning from what others played: slopes against closed forms, the buffer, and what must not be learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, InvalidData
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import off_policy
from sparring.trainers.batch import collate, score_tokens, vocabulary_size
from sparring.trainers.checkpoint import Learner, load_learner, load_reference
from sparring.trainers.collect import collect_groups, demonstrate, group_starts
from sparring.trainers.losses import copg_loss, group_advantages, topr_loss
from sparring.trainers.off_policy import Episode
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig
from sparring.trainers.tally import Tally
from sparring.types import Trajectory


@pytest.fixture
def config(tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> off_policy.Config:
    return off_policy.Config(
        run=tmp_path / "run",
        model=str(copy_model),
        env=copy_env,
        agent=copy_agent,
        optim=OptimConfig(lr=1e-3, warmup_steps=0, micro_batch_tokens=100),
        loop=LoopConfig(steps=2, eval_every=0),
        groups=3,
        group_size=4,
        aggregation="seq-mean-token-sum",
    )


@pytest.fixture
def learner(config: off_policy.Config) -> Learner:
    return load_learner(config.model, config.optim, RunFolder(config.run))


def play(config: off_policy.Config, policy: HFPolicy, groups: int = 3, size: int = 4) -> list[Trajectory]:
    with EnvPool(config.env.maker(), 16) as pool:
        starts = group_starts(0, 1, groups=groups, size=size, split="train")
        return collect_groups(policy, pool, starts, config.setting, size).trajectories


def with_returns(episodes: Sequence[Trajectory], returns: Sequence[float]) -> list[Trajectory]:
    return [
        replace(one, turns=tuple(replace(turn, reward=value / len(one.turns)) for turn in one.turns))
        for one, value in zip(episodes, returns, strict=True)
    ]


RETURNS = [1, 0, 0, 0.5, 0, 0, 1, 1, 0.25, 0.5, 0.75, 1]


def perturbed(learner: Learner) -> None:
    """Move the weights, so that the policy is no longer the one that played."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in learner.model.parameters():
            one += 0.05 * torch.randn(one.shape, generator=generator).to(one.device)


def gradient_of(learner: Learner) -> torch.Tensor:
    found = torch.cat([one.grad.flatten() for one in learner.model.parameters() if one.grad is not None]).clone()
    learner.optimizer.zero_grad()
    return found


@pytest.mark.parametrize("memory", ["full_history", "last_observation"])
@pytest.mark.parametrize("change", [{"objective": "copg"}, *({"ratio": one} for one in ("sequence", "token"))])
def test_micro_batches_carry_the_gradient_of_the_whole_loss(
    config: off_policy.Config, learner: Learner, memory: str, change: dict[str, Any]
) -> None:
    """Against the published loss, differentiated in one piece: on stale samples, cut small, under either memory."""
    config = replace(config, agent=replace(config.agent, memory=memory), **change)
    policy = learner.policy(config.agent)
    reference = load_reference(learner, RunFolder(config.run)) if config.objective == "copg" else None
    played = with_returns(play(config, policy), RETURNS)
    perturbed(learner)
    groups = off_policy.lay_out(config, policy, reference, played)
    loss = off_policy.add_gradients(config, learner.model, groups, Tally())
    found = gradient_of(learner)

    samples = [sample for group in groups for one in group for sample in one.samples]
    assert len(samples) == 12 * (1 if memory == "full_history" else 2)
    batch = collate(samples, vocabulary_size(learner.model))
    there = batch.to(learner.model.device)
    logprobs_N = score_tokens(learner.model, there).logprobs_N.cpu()
    episode_N = batch.row_N // (len(samples) // 12)
    returns_S, group_S = torch.tensor(RETURNS), torch.arange(12) // 4
    if reference is not None:
        with torch.no_grad():
            start_N = score_tokens(reference, there).logprobs_N.cpu()
        log_ratio_S = torch.zeros(12).index_add(0, episode_N, logprobs_N - start_N)
        # Divided by 2 beta and by the four members of a group (departure 3).
        whole = copg_loss(log_ratio_S, returns_S, group_S, config.beta) / (2 * config.beta * 4)
    else:
        centred_S = group_advantages(returns_S, group_S, "dr_grpo")
        whole = (
            topr_loss(logprobs_N, batch.old_logprobs_N, centred_S[episode_N], episode_N, config.ratio).loss_N.sum() / 12
        )
    whole.backward()  # type: ignore[no-untyped-call]
    expected = gradient_of(learner)
    assert loss == pytest.approx(whole.item(), abs=1e-5)
    assert float(expected.norm()) > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def hand_made(config: off_policy.Config, learner: Learner) -> list[list[Episode]]:
    policy = learner.policy(config.agent)
    reference = load_reference(learner, RunFolder(config.run))
    return off_policy.lay_out(config, policy, reference, with_returns(play(config, policy), RETURNS))


def slopes(config: off_policy.Config, groups: list[list[Episode]], shift: float) -> list[torch.Tensor]:
    """What each token's log-probability is pushed by, each lying `shift` above what was recorded."""
    behaviour = [torch.from_numpy(one.samples[0].logprobs_n) for group in groups for one in group]
    logprobs_N = (torch.cat(behaviour) + shift).requires_grad_()
    (slope_N,) = torch.autograd.grad(off_policy.objective(config, logprobs_N, groups, Tally()), logprobs_N)
    return list(torch.split(slope_N, [len(one) for one in behaviour]))


def test_copg_is_rloo_on_the_regularised_return(config: off_policy.Config, learner: Learner) -> None:
    """Each token is pushed by -A / 12, A being the RLOO advantage of R - beta (log-ratio to the start).

    Each of an episode's n tokens is likelier by 0.1 than at the start: the log-ratio is n / 10.
    """
    config = replace(config, objective="copg", beta=0.5)
    groups = hand_made(config, learner)
    found = slopes(config, groups, 0.1)
    returns_S = torch.tensor(RETURNS) - 0.5 * 0.1 * torch.tensor([len(one) for one in found])
    advantages_S = group_advantages(returns_S, torch.arange(12) // 4, "rloo")
    for slope, advantage in zip(found, advantages_S.tolist(), strict=True):
        assert slope.tolist() == pytest.approx([-advantage / 12] * len(slope), abs=1e-5)


@pytest.mark.parametrize("shift", [-0.2, 0.0, 0.2])
@pytest.mark.parametrize("ratio", ["token", "sequence", "sequence-mean"])
def test_topr_tapers_what_is_bad_alone(config: off_policy.Config, learner: Learner, shift: float, ratio: Any) -> None:
    """Good episodes count 1; bad ones min(r, 1), r = exp(shift) for a token and exp(n shift) for an episode of n."""
    config = replace(config, ratio=ratio, baseline="none", offset=0.5)
    for slope, worth in zip(
        slopes(config, hand_made(config, learner), shift), (np.array(RETURNS) - 0.5).tolist(), strict=True
    ):
        log_ratio = shift * (len(slope) if ratio == "sequence" else 1)
        weight = min(float(np.exp(log_ratio)), 1.0) if worth < 0 else 1.0
        assert slope.tolist() == pytest.approx([-weight * worth / 12] * len(slope), abs=1e-5)


def test_groups_come_from_tasks_and_seeds(config: off_policy.Config, learner: Learner) -> None:
    """Whatever the order in a file; and one alone is no group, unless nothing is compared."""
    policy = learner.policy(config.agent)
    played = with_returns(play(config, policy), RETURNS)
    mixed = [*played[:9:2], *played[1:9:2]]
    groups = off_policy.lay_out(config, policy, None, mixed)
    # Of the third group there is one episode. The means are 3/8 and 1/2.
    assert sorted(one.worth for one in groups[0]) == [-0.375, -0.375, 0.125, 0.625]
    assert sorted(one.worth for one in groups[1]) == [-0.5, -0.5, 0.5, 0.5]
    assert len(groups) == 2
    alone = off_policy.lay_out(replace(config, baseline="none"), policy, None, mixed)
    assert [len(group) for group in alone] == [4, 4, 1]


def test_equal_returns_teach_topr_nothing(config: off_policy.Config, learner: Learner) -> None:
    policy = learner.policy(config.agent)
    # A tenth three times is no round number: the mean of equals must be exactly theirs.
    groups = off_policy.lay_out(config, policy, None, with_returns(play(config, policy), [0.3] * 12))
    assert {one.worth for group in groups for one in group} == {0.0}
    off_policy.add_gradients(config, learner.model, groups, Tally())
    assert all(one.grad is None for one in learner.model.parameters())


def test_groups_grow_old(config: off_policy.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three groups a step, kept for two steps; `learn_groups` draws among them."""
    seen: list[int] = []
    real = off_policy.update

    def watch(config: Any, learner: Any, groups: Any, step: int, progress: float) -> dict[str, float]:
        seen.append(len(groups))
        return real(config, learner, groups, step, progress)

    monkeypatch.setattr(off_policy, "update", watch)
    four = replace(config, loop=replace(config.loop, steps=4), max_age=2, learn_groups=4)
    rows = RunFolder(off_policy.train(four)).metrics()
    assert seen == [3, 6, 6, 6]
    assert [row["groups_learned"] for row in rows] == [3, 4, 4, 4]
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6) and rows[-1]["kl"] > 0  # the first step's are its own


def test_demonstrations_lack_what_topr_needs(config: off_policy.Config, tmp_path: Path) -> None:
    played = demonstrate(config.env, "expert:0.5", config.setting, episodes=20, split=None, seed=0, pool_size=4)
    path = tmp_path / "demos.jsonl.zst"
    trajectories.write(path, played)
    alone = replace(config, groups=0, data=path, baseline="none", offset=0.75, loop=LoopConfig(steps=1, eval_every=0))
    with pytest.raises(InvalidData, match=r"no log-probabilities.*copg"):
        off_policy.train(alone)
    off_policy.train(replace(alone, offset=0.0))  # nothing is bad: imitation, weighted by return
    twice = [*played, *played]  # groups of two, and equal
    trajectories.write(path, twice)
    (row,) = RunFolder(off_policy.train(replace(alone, run=tmp_path / "copg", objective="copg"))).metrics()
    assert row["groups_learned"] == 20 and row["env_turns"] == 0 and row["log_ratio"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"groups": 0}, "plays nothing"),
        ({"group_size": 1}, "at least 2 where episodes are compared"),
        ({"group_size": 1, "objective": "copg", "baseline": "none"}, "at least 2 where episodes are compared"),
        ({"beta": 0.0}, "beta must be above 0"),
        ({"max_age": 0}, "max_age must be at least 1"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        off_policy.Config(**change)
