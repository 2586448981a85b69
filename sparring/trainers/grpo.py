"""Group policy gradient: play every task several times, and make likelier what did better than its siblings.

    python -m sparring.trainers.grpo --model runs/first --run runs/second --steps 100
    python -m sparring.trainers.grpo --model runs/first --run runs/third --advantage rloo --kl-coef 0.01
    python -m sparring.trainers.grpo --run runs/second --resume

GRPO (DeepSeekMath, arXiv:2402.03300), RLOO (arXiv:2402.14740) and Dr. GRPO (arXiv:2503.20783), for episodes of
many turns: an episode is one sequence (or one a turn, under a memory style whose prompts do not extend each
other), its return gives all its sampled tokens one advantage, and observations are masked out.

Departures from the papers:
1. A group shares task *and* environment seed, so that its members differ by the policy's draws alone.
2. The old policy's log-probabilities are those recorded while sampling; no pass recomputes them. Sampler and trainer
   share their weights, and `mismatch` in the metrics (mean difference before the first update) shows that they agree.
3. KL to a reference is off unless asked for, and is then a loss (k3), never part of the reward.
4. Losses are averaged over all tokens of the batch (DAPO); GRPO's own mean per sequence is
   `--aggregation seq-mean-token-mean`, Dr. GRPO's constant `seq-mean-token-sum-norm`.
5. Dropout is off while training: the ratio of new to old probabilities must be 1 before the first step.
6. Groups with fewer than two members left (failed environments) teach nothing and are left out. Episodes that overran
   the context count in their group's mean, and are left out of the loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import Tensor

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.batch import Sample, collate, micro_batches, samples_of, score_tokens, vocabulary_size
from sparring.trainers.checkpoint import Learner, load_learner, load_reference
from sparring.trainers.collect import Collection, action_tokens, collect_groups, group_starts, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.losses import (
    Advantage,
    Aggregation,
    KLEstimator,
    aggregate,
    clipped_surrogate,
    group_advantages,
    kl_estimate,
    token_weights,
)
from sparring.trainers.optim import OptimConfig, learning_rate, take_step
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads, entropy
from sparring.trainers.tally import Tally
from sparring.types import Stop, Trajectory


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a group policy gradient run."""

    run: Path = Path("runs/grpo")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint)."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LoopConfig)
    seed: int = 0
    """Of tasks, samples and minibatches."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    groups: int = 16
    """Tasks in a step."""
    group_size: int = 8
    """Episodes of each task."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    run_free: bool = False
    """Let each environment step in a thread of its own, and wait for no other: for environments slower than the model.
    Batches then depend on timing, so that a run can't be repeated bit by bit."""
    drop_zero_variance: bool = False
    """Leave out groups whose returns are all equal (DAPO, arXiv:2503.14476, section 3.2), so that they do not thin
    out the mean over tokens."""
    resample_attempts: int = 0
    """With drop_zero_variance: how often to play other tasks in the place of groups left out."""

    advantage: Advantage = "grpo"
    """How an episode is compared with its group (`losses.advantages`)."""
    aggregation: Aggregation = "token-mean"
    """How the losses of tokens become one number (`losses.aggregation`)."""
    max_episode_tokens: int = 512
    """The constant that seq-mean-token-sum-norm divides by."""
    epochs: int = 1
    """Passes over the episodes of a step."""
    minibatches: int = 1
    """Optimiser steps in a pass; a group is never split between them."""
    eps_low: float = 0.2
    """The ratio of new to old probability may fall by this much before its gradient stops (PPO: 0.2)."""
    eps_high: float = 0.28
    """And rise by this much; higher above than below as in DAPO, which keeps entropy up."""
    dual_clip: float | None = None
    """Bound on the loss of a token with negative advantage, as a multiple of it (3 in arXiv:1912.09729)."""
    kl_coef: float = 0.0
    """Weight of the KL loss to the model that training started from; 0 needs no reference. GRPO: 0.04."""
    kl_estimator: KLEstimator = "k3"
    """How the KL is estimated from sampled tokens (`losses.policy_gradient`)."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    token_cost: float = 0.0
    """Taken off an episode's return for each sampled token, so that length is not free."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""
    save_episodes_every: int = 50
    """Steps between files of training episodes in `trajectories/`; 0 for none."""

    def __post_init__(self) -> None:
        for name, low in (
            ("groups", 1), ("group_size", 2), ("epochs", 1), ("minibatches", 1), ("max_episode_tokens", 1),
            ("resample_attempts", 0), ("eps_low", 0), ("eps_high", 0), ("kl_coef", 0), ("entropy_coef", 0),
            ("token_cost", 0), ("lora_rank", 0), ("save_episodes_every", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.minibatches > self.groups:
            raise InvalidConfig(
                f"minibatches ({self.minibatches}) can't exceed groups ({self.groups}): a group is never split"
            )
        if self.dual_clip is not None and self.dual_clip <= 1:
            raise InvalidConfig(f"dual_clip must be above 1, got {self.dual_clip}")
        if self.resample_attempts and not self.drop_zero_variance:
            raise InvalidConfig("resample_attempts replaces dropped groups: it needs drop_zero_variance")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return Setting(self.env.full_id, self.env.wrappers, self.agent.memory, self.agent.system)

    @property
    def is_regularised(self) -> bool:
        """Whether the loss has terms that do not depend on advantages."""
        return self.kl_coef > 0 or self.entropy_coef > 0

    def learning_return(self, trajectory: Trajectory) -> float:
        """What an episode is worth to the trainer: its return less the cost of its tokens."""
        return trajectory.total_reward - self.token_cost * action_tokens(trajectory)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "grpo", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        reference = load_reference(learner, run) if config.kl_coef else None
        _train(config, run, learner, reference)
    return config.run


def _train(config: Config, run: RunFolder, learner: Learner, reference: Any | None) -> None:
    """The loop."""
    policy = learner.policy(config.agent)
    with (
        cpu_threads(learner.model, config.loop.threads),
        Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        EnvPool(config.env.maker(), config.groups * config.group_size) as pool,
        Session("grpo", run, config.loop) as session,
    ):
        split = config.split or training_split(pool)
        for step in session.steps():
            with session.timed("rollout"):
                collection, alike = play(config, policy, pool, step, split)
            with session.timed("update"):
                learned = update(config, learner, policy, reference, collection, step, session.progress)
            episodes = collection.trajectories
            session.count(
                episodes=len(episodes),
                env_turns=sum(len(one.turns) for one in episodes),
                action_tokens=sum(action_tokens(one) for one in episodes),
            )
            row = {**collection.summary(), "zero_variance": alike, **learned}
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            if config.save_episodes_every and step % config.save_episodes_every == 0:
                trajectories.write(run.trajectories_path(f"step-{step:06d}"), episodes)
            session.log(row, status=f"return {row['return_mean']:.3f}")
            session.save_if_due(learner.write)
        session.finish(learner.write)


def play(config: Config, policy: HFPolicy, pool: EnvPool, step: int, split: str) -> tuple[Collection, float]:
    """Play a step's groups; return those to learn from, and the share of all played whose returns were equal."""
    kept: list[tuple[Trajectory, ...]] = []
    failed = played = alike = 0
    for attempt in range(1 + config.resample_attempts):
        starts = group_starts(
            config.seed,
            step,
            groups=config.groups - len(kept),
            size=config.group_size,
            split=split,
            attempt=attempt,
        )
        found = collect_groups(policy, pool, starts, config.setting, config.group_size, run_free=config.run_free)
        failed += found.failed
        played += len(found.groups)
        for group in found.groups:
            equal = len({config.learning_return(one) for one in group}) <= 1
            alike += equal
            if len(group) >= 2 and not (equal and config.drop_zero_variance):
                kept.append(group)
        if len(kept) == config.groups:
            break
    return Collection(tuple(kept), failed), alike / played


@dataclass(frozen=True, slots=True)
class Lesson:
    """One sequence to learn from.

    Attributes:
        sample: its tokens. group: number of the group that its episode belongs to. advantage: of its episode.
    """

    sample: Sample
    group: int
    advantage: float


def lessons_of(config: Config, policy: HFPolicy, collection: Collection) -> list[Lesson]:
    """Compare the episodes within their groups, and lay out their tokens."""
    episodes = [(number, one) for number, group in enumerate(collection.groups) for one in group]
    advantages_S = group_advantages(
        torch.tensor([config.learning_return(one) for _, one in episodes], dtype=torch.float64),
        torch.tensor([number for number, _ in episodes], dtype=torch.int64),
        config.advantage,
    )
    grammar = policy.grammar if config.agent.constrained else None
    return [
        Lesson(sample, number, advantage)
        for (number, one), advantage in zip(episodes, advantages_S.tolist(), strict=True)
        if one.stop is not Stop.CONTEXT_FULL
        for sample in samples_of(one, policy.chat, grammar, system=config.agent.system)
    ]


def update(
    config: Config,
    learner: Learner,
    policy: HFPolicy,
    reference: Any | None,
    collection: Collection,
    step: int,
    progress: float,
) -> dict[str, float]:
    """Take the optimiser steps on one step's episodes; return what to log about them.

    Args:
        reference: the frozen model that the KL loss holds on to, or None.
        step, progress: for the learning rate (`optim.learning_rate`).
    """
    lessons = lessons_of(config, policy, collection)
    lr = learning_rate(config.optim, step, progress)
    tally, tokens = Tally(), 0
    losses: list[float] = []
    norms: list[float] = []
    began = time.monotonic()
    for part, weights_B in minibatches(config, lessons, step):
        losses.append(add_gradients(config, learner.model, reference, part, weights_B, tally, is_fresh=not losses))
        norms.append(take_step(learner.optimizer, config.optim, lr))
        tokens += sum(len(lesson.sample.ids_T) for lesson in part)
    policy.weights_changed()
    return {
        "loss": float(np.mean(losses)) if losses else math.nan,
        "grad_norm": float(np.mean(norms)) if norms else math.nan,
        "lr": lr,
        **tally.means(),
        "tokens_per_second": tokens / (time.monotonic() - began),
    }


def minibatches(config: Config, lessons: Sequence[Lesson], step: int) -> Iterator[tuple[list[Lesson], Tensor]]:
    """Cut a step's lessons into minibatches of whole groups, in a new order each epoch.

    Lessons with advantage 0 count in the mean over tokens but have no gradient of their own, unless KL or entropy
    is part of the loss: otherwise they are weighed and left out, and a minibatch of nothing else is not yielded.

    Yields:
        The lessons of one optimiser step, B of them, and what a token of each counts in its loss, shape [B].
    """
    rng = np.random.default_rng(entropy(config.seed, step, "shuffle"))
    groups = sorted({lesson.group for lesson in lessons})
    for _ in range(config.epochs):
        for numbers in np.array_split(rng.permutation(groups), config.minibatches):
            part = [lesson for lesson in lessons if lesson.group in set(numbers.tolist())]
            lengths_B = torch.tensor([len(lesson.sample.sampled_n) for lesson in part])
            weights_B = token_weights(lengths_B, config.aggregation, max_tokens=config.max_episode_tokens)
            rows = [row for row, lesson in enumerate(part) if lesson.advantage != 0 or config.is_regularised]
            if rows:
                yield [part[row] for row in rows], weights_B[rows]


def add_gradients(
    config: Config,
    model: Any,
    reference: Any | None,
    lessons: Sequence[Lesson],
    weights_B: Tensor,
    tally: Tally,
    *,
    is_fresh: bool,
) -> float:
    """Add the gradient of the loss on some lessons to the model's, micro-batch by micro-batch; return the loss.

    Args:
        weights_B: what a token of each of the B lessons counts, shape [B].
        is_fresh: whether the weights are still those that sampled the lessons.
    """
    samples = [lesson.sample for lesson in lessons]
    advantages_B = torch.tensor([lesson.advantage for lesson in lessons])
    total = 0.0
    for rows in micro_batches(samples, config.optim.micro_batch_tokens):
        batch = collate(
            [samples[row] for row in rows],
            vocabulary_size(model),
            weights_B=weights_B[rows],
            advantages_B=advantages_B[rows],
        ).to(model.device)
        scores = score_tokens(model, batch, config.agent.temperature)
        surrogate = clipped_surrogate(
            scores.logprobs_N,
            batch.old_logprobs_N,
            batch.advantages_N,
            eps_low=config.eps_low,
            eps_high=config.eps_high,
            dual_clip=config.dual_clip,
        )
        loss_N = surrogate.loss_N - config.entropy_coef * scores.entropy_N
        if reference is not None:
            with torch.no_grad():
                reference_N = score_tokens(reference, batch, config.agent.temperature).logprobs_N
            reference_kl_N = kl_estimate(scores.logprobs_N, reference_N, config.kl_estimator)
            loss_N = loss_N + config.kl_coef * reference_kl_N
            tally.add(reference_kl=reference_kl_N)
        loss = aggregate(loss_N, batch.weights_N)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
        tally.add(
            entropy=scores.entropy_N,
            kl=kl_estimate(scores.logprobs_N, batch.old_logprobs_N, "k3"),
            clip_fraction=surrogate.clipped_N,
        )
        if is_fresh:
            tally.add(mismatch=(scores.logprobs_N - batch.old_logprobs_N).abs())
    return total


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train grpo`, given its arguments."""
    run_command(Config, "grpo", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
