"""Proximal policy optimisation: a critic says what every token was worth, and the policy follows within a clip.

    python -m sparring.trainers.ppo --model runs/first --run runs/second --steps 200
    python -m sparring.trainers.ppo --model runs/first --run runs/turns --credit turn
    python -m sparring.trainers.ppo --run runs/second --resume

PPO (arXiv:1707.06347) with generalised advantages (arXiv:1506.02438) over the sampled tokens of whole episodes.
Started from an imitation run it is ReFT (arXiv:2401.08967): `sparring train sft`, then this.

Departures from the papers and from common code:
1. Advantages run through an episode's sampled tokens as if observations were not there: a turn's reward stands on its
   last token, and the value after it is that of the next turn's first token. Packed episodes and one prompt a turn
   give the same advantages.
2. An episode cut short by a limit is bootstrapped with the value of what it saw last; `--no-bootstrap` takes it as an
   end. Episodes that overran the context are left out.
3. The critic is a decoder of its own, which begins as a copy of the policy's, with a head that begins at 0. It is
   fitted before the policy moves, and alone for the first `critic_warmup` steps.
4. The old policy's log-probabilities are those recorded while sampling (see `grpo`, departure 2).
5. `--credit turn` estimates advantages over turns, and within a turn without discount (bi-level, with explicit turns).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from torch import Tensor

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.agents.models.critic import TokenCritic, trunk_of
from sparring.agents.prompts import build
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.batch import Floats, Ints, Sample, micro_batches, pad, samples_of
from sparring.trainers.checkpoint import Learner, load_learner, load_reference
from sparring.trainers.collect import collect_groups, group_starts, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.critic import CriticLearner, load_critic
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.losses import (
    bilevel_advantages,
    generalized_advantages,
    value_loss,
    whiten,
)
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import Lesson, ObjectiveConfig, update_policy
from sparring.trainers.rewards import Rewards, RewardsConfig
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads, entropy
from sparring.types import Stop, Trajectory


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a PPO run."""

    run: Path = Path("runs/ppo")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint)."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    critic: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LoopConfig)
    objective: Annotated[ObjectiveConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: ObjectiveConfig(eps_high=0.2, epochs=2, minibatches=2)
    )
    rewards: Annotated[RewardsConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=RewardsConfig)
    seed: int = 0
    """Of tasks, samples, minibatches and the critic's head."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    episodes: int = 64
    """Episodes in a step."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    run_free: bool = False
    """Let each environment step in a thread of its own, and wait for no other (`grpo`)."""
    gamma: float = 1.0
    """Discount from token to token; with `--credit turn` from turn to turn."""
    lam: float = 0.95
    """How far advantages trust rewards over the critic: 1 sums rewards, 0 looks one step ahead."""
    credit: Literal["token", "turn"] = "token"
    """What advantages run over."""
    bootstrap: bool = True
    """Value what follows an episode that was cut short."""
    whiten: bool = True
    """Give the advantages of a step mean 0 and standard deviation 1."""
    value_clip: float | None = None
    """How far a value may move in a step before its gradient stops (0.2 is common where returns lie within 0 and 1);
    by default there is no bound."""
    critic_epochs: int = 2
    """Passes of the critic over a step's episodes."""
    critic_minibatches: int = 2
    """Its optimiser steps in a pass."""
    critic_warmup: int = 0
    """First steps in which the critic alone learns."""
    token_cost: float = 0.0
    """Taken off the reward for each sampled token, so that length is not free."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""
    save_episodes_every: int = 50
    """Steps between files of training episodes in `trajectories/`; 0 for none."""

    def __post_init__(self) -> None:
        for name, low in (
            ("episodes", 1), ("critic_epochs", 0), ("critic_minibatches", 1), ("critic_warmup", 0),
            ("token_cost", 0), ("lora_rank", 0), ("save_episodes_every", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidConfig(f"{name} must lie within 0 and 1, got {getattr(self, name)}")
        if self.objective.minibatches > self.episodes:
            raise InvalidConfig(f"minibatches ({self.objective.minibatches}) can't exceed episodes ({self.episodes})")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "ppo", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        reference = load_reference(learner, run) if config.objective.kl_coef else None
        critic = load_critic(
            lambda: TokenCritic(trunk_of(learner.model)).to(learner.model.device), config.critic, run, seed=config.seed
        )
        _train(config, run, learner, critic, reference)
    return config.run


def _train(
    config: Config, run: RunFolder, learner: Learner, critic: CriticLearner[TokenCritic], reference: Any | None
) -> None:
    """The loop."""
    policy = learner.policy(config.agent)
    with (
        cpu_threads(learner.model, config.loop.threads),
        Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        EnvPool(config.env.maker(), config.episodes) as pool,
        Session("ppo", run, config.loop) as session,
    ):
        split = config.split or training_split(pool)
        rewards = Rewards(
            config.rewards, run, seed=config.seed, setting=config.setting, agent=config.agent, split=split
        )

        def write(folder: Path) -> None:
            learner.write(folder)
            critic.write(folder)
            rewards.write(folder)

        for step in session.steps():
            with session.timed("rollout"):
                starts = group_starts(config.seed, step, groups=config.episodes, size=1, split=split)
                collection = collect_groups(policy, pool, starts, config.setting, 1, run_free=config.run_free)
                groups, shaping, probed = rewards(policy, pool, collection.groups, step)
            episodes = collection.trajectories
            with session.timed("critic"):
                scored = score_episodes(config, policy, critic, [one for group in groups for one in group])
                row = fit_critic(config, critic, scored, step, session.progress)
            if step > config.critic_warmup:
                with session.timed("update"):
                    row |= update_policy(
                        config.objective,
                        config.optim,
                        learner,
                        [
                            Lesson(sample, number, advantages_n)
                            for number, one in enumerate(scored)
                            for sample, advantages_n in zip(one.samples, one.spread(one.advantages_n), strict=True)
                        ],
                        reference=reference,
                        temperature=config.agent.temperature,
                        seed=config.seed,
                        step=step,
                        progress=session.progress,
                    )
                    policy.weights_changed()
            session.count(**collection.counts())
            session.count(**probed)
            row = {**collection.summary(), **shaping, **row}
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            if config.save_episodes_every and step % config.save_episodes_every == 0:
                trajectories.write(run.trajectories_path(f"step-{step:06d}"), episodes)
            session.log(row, status=f"return {row['return_mean']:.3f}")
            session.save_if_due(write)
        session.finish(write)


@dataclass(frozen=True, slots=True)
class Scored:
    """An episode with what the critic made of it; the n sampled tokens of all its sequences stand in order.

    Attributes:
        samples: its sequences. values_n, advantages_n, returns_n: float32, shape [n].
    """

    samples: tuple[Sample, ...]
    values_n: Floats
    advantages_n: Floats
    returns_n: Floats

    def spread(self, values_n: Floats) -> list[Floats]:
        """Cut values of all tokens into those of each sequence."""
        ends = np.cumsum([len(sample.sampled_n) for sample in self.samples])
        return np.split(values_n, ends[:-1])


def score_episodes(
    config: Config, policy: HFPolicy, critic: CriticLearner[TokenCritic], episodes: Sequence[Trajectory]
) -> list[Scored]:
    """Value every sampled token of the episodes, and estimate advantages and returns.

    A critic that has learned nothing yet begins with the episodes' mean return.
    """
    grammar = policy.grammar if config.agent.constrained else None
    if critic.steps == 0 and episodes:
        critic.module.start_at(float(np.mean([one.total_reward for one in episodes])))
    used: list[tuple[Trajectory, tuple[Sample, ...]]] = []
    for one in episodes:
        if one.turns and one.stop is not Stop.CONTEXT_FULL:
            used.append((one, tuple(samples_of(one, policy.chat, grammar, system=config.agent.system))))
    if not used:
        return []
    values = _values(
        critic.module, [sample for _, samples in used for sample in samples], config.critic.micro_batch_tokens
    )
    last = _last_values(config, policy, critic.module, [one for one, _ in used])
    place = 0
    rows: list[tuple[Floats, Floats, Ints]] = []
    for one, samples in used:
        values_n = np.concatenate(values[place : place + len(samples)])
        place += len(samples)
        turn_n = np.concatenate([sample.turn_n for sample in samples if sample.turn_n is not None])
        rows.append((values_n, _rewards(config, one, turn_n), turn_n))
    advantages, returns = _advantages(config, rows, last)
    if config.whiten:
        flat = whiten(torch.from_numpy(np.concatenate(advantages))).numpy()
        advantages = np.split(flat, np.cumsum([len(part) for part in advantages])[:-1])
    return [
        Scored(samples, values_n, advantages_n, returns_n)
        for (_, samples), (values_n, _, _), advantages_n, returns_n in zip(used, rows, advantages, returns, strict=True)
    ]


def _rewards(config: Config, episode: Trajectory, turn_n: Ints) -> Floats:
    """Each turn's reward on its last token, and the cost of tokens on all."""
    rewards_n = np.full(len(turn_n), -config.token_cost, dtype=np.float32)
    is_last_n = np.append(turn_n[1:] != turn_n[:-1], True)
    rewards_n[is_last_n] += [episode.turns[turn].reward for turn in turn_n[is_last_n]]
    return rewards_n


def _advantages(
    config: Config, rows: Sequence[tuple[Floats, Floats, Ints]], last: Floats
) -> tuple[list[Floats], list[Floats]]:
    """Advantages and returns of each episode's tokens, given values, rewards and turns, and the value after the end."""
    counts = [len(values_n) for values_n, _, _ in rows]
    values_N = torch.from_numpy(np.concatenate([row[0] for row in rows]))
    ends_N = torch.zeros(len(values_N), dtype=torch.bool)
    ends_N[torch.tensor(counts).cumsum(0) - 1] = True
    rewards_N = torch.from_numpy(np.concatenate([row[1] for row in rows]))
    if config.credit == "token":
        bootstrap_N = torch.zeros(len(values_N))
        bootstrap_N[ends_N] = torch.from_numpy(last)
        advantages_N, returns_N = generalized_advantages(
            rewards_N, values_N, ends_N, bootstrap_N, gamma=config.gamma, lam=config.lam
        )
    else:
        turns = [np.unique(row[2], return_inverse=True)[1] for row in rows]
        sizes = [int(one[-1]) + 1 for one in turns]
        offsets = np.cumsum([0, *sizes[:-1]])
        turn_N = torch.from_numpy(np.concatenate([one + at for one, at in zip(turns, offsets, strict=True)]))
        rewards_K = torch.zeros(sum(sizes)).index_add_(0, turn_N, rewards_N)
        ends_K = torch.zeros(sum(sizes), dtype=torch.bool)
        ends_K[torch.tensor(sizes).cumsum(0) - 1] = True
        bootstrap_K = torch.zeros(sum(sizes))
        bootstrap_K[ends_K] = torch.from_numpy(last)
        advantages_N, returns_N = bilevel_advantages(
            rewards_K, values_N, turn_N, ends_K, bootstrap_K, gamma=config.gamma, lam=config.lam
        )
    return (
        [part.float().numpy() for part in torch.split(advantages_N, counts)],
        [part.float().numpy() for part in torch.split(returns_N, counts)],
    )


def _last_values(config: Config, policy: HFPolicy, critic: TokenCritic, episodes: Sequence[Trajectory]) -> Floats:
    """The value of what each episode saw last, 0 where that was an end; float32, one an episode."""
    found = np.zeros(len(episodes), dtype=np.float32)
    rows, prompts = [], []
    for row, one in enumerate(episodes):
        if not config.bootstrap or one.stop is Stop.TERMINATED or one.final is None:
            continue
        messages = build(
            one.turns, one.final, memory=one.memory, instruction=one.instruction, system=config.agent.system
        )
        ids = policy.chat.render(messages)
        if len(ids) < policy.max_context:
            rows.append(row)
            # The value is read off the last id of the prompt: one more behind it stands for the token to come.
            prompts.append(Sample(np.array([*ids, 0]), np.array([len(ids)]), np.zeros(1, np.float32), (None,)))
    if rows:
        found[rows] = np.concatenate(_values(critic, prompts, config.critic.micro_batch_tokens))
    return found


def _values(critic: TokenCritic, samples: Sequence[Sample], token_budget: int) -> list[Floats]:
    """The value before each sampled token of each sample."""
    found: list[Floats] = [np.zeros(0, np.float32)] * len(samples)
    for rows in micro_batches(samples, token_budget):
        tokens_BT, reads_BT = _reads([samples[row] for row in rows])
        device = next(critic.parameters()).device
        with torch.no_grad():
            values_N = critic(tokens_BT.to(device), reads_BT.to(device)).cpu()
        counts = [len(samples[row].sampled_n) for row in rows]
        for row, part in zip(rows, values_N.split(counts), strict=True):
            found[row] = part.numpy()
    return found


def _reads(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Padded ids [B, T], and marks on the positions right before sampled tokens, bool [B, T]."""
    tokens_BT, mask_BT = pad(samples)
    reads_BT = torch.zeros_like(mask_BT)
    reads_BT[:, :-1] = mask_BT[:, 1:]
    return tokens_BT, reads_BT


def fit_critic(
    config: Config, critic: CriticLearner[TokenCritic], scored: Sequence[Scored], step: int, progress: float
) -> dict[str, float]:
    """Bring the critic's values nearer to the returns; return what to log about them.

    Raises:
        Diverged: a gradient was not finite.
    """
    if not scored:
        return {"value_loss": math.nan, "explained_variance": math.nan}
    rng = np.random.default_rng(entropy(config.seed, step, "critic"))
    losses: list[float] = []
    for _ in range(config.critic_epochs):
        for numbers in np.array_split(rng.permutation(len(scored)), min(config.critic_minibatches, len(scored))):
            part = [scored[number] for number in numbers]
            samples = [sample for one in part for sample in one.samples]
            old = [values for one in part for values in one.spread(one.values_n)]
            returns = [values for one in part for values in one.spread(one.returns_n)]
            count = sum(len(sample.sampled_n) for sample in samples)
            total = 0.0
            for rows in micro_batches(samples, config.critic.micro_batch_tokens):
                tokens_BT, reads_BT = _reads([samples[row] for row in rows])
                device = next(critic.module.parameters()).device
                values_N = critic.module(tokens_BT.to(device), reads_BT.to(device))
                old_N = torch.from_numpy(np.concatenate([old[row] for row in rows])).to(device)
                returns_N = torch.from_numpy(np.concatenate([returns[row] for row in rows])).to(device)
                loss = value_loss(values_N, old_N, returns_N, config.value_clip).sum() / count
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.item()
            losses.append(total)
            critic.take_step(progress)
    values_n = np.concatenate([one.values_n for one in scored])
    returns_n = np.concatenate([one.returns_n for one in scored])
    spread = float(returns_n.var())
    return {
        "value_loss": float(np.mean(losses)) if losses else math.nan,
        "value_mean": float(values_n.mean()),
        "explained_variance": 1 - float((returns_n - values_n).var()) / spread if spread else math.nan,
    }


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train ppo`, given its arguments."""
    run_command(Config, "ppo", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
