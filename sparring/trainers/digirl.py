"""DigiRL: imitate the turns that made progress, in the episodes that went better than expected.

    python -m sparring.trainers.digirl --model runs/first --run runs/digirl --steps 200
    python -m sparring.trainers.digirl --run runs/digirl --resume

Advantage-weighted regression with hard filters (arXiv:2406.11896). Two critics learn to predict success by cross
entropy, one from how an episode begins, V_I, and one from any turn's prompt, V (two heads, the lower counts). An
episode is kept if R - V_I is among the highest tenth of the buffer; of its turns those count, all alike, for which

    V(h') - V(h) - step_cost + r + mc > 0,     mc = gamma^(turns left) R.

R is 1 for an episode that succeeded and 0 for another, and r is R on an episode's last turn and else 0.

Departures from the released code:
1. Text in place of screenshots: the critics are decoders that begin as copies of the policy's, and train in full.
2. V_I reads the first prompt: the instruction together with what the episode begins with.
3. A state is a target of V once, as what a turn saw; behind an episode's last turn the value is 0.
4. The critics take fixed numbers of steps, without a split for validation; two classes are one logit.
5. The online stage only: an offline one is `sft --min-score` or `filtered_bc` on its data.
6. Gradients are averaged over a batch, turns that the filter leaves out counted, and clipped at `--optim.grad-clip`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.agents.models.critic import CausalReader, OutcomeCritic, trunk_of
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.batch import Ints, cut_by_length
from sparring.trainers.checkpoint import Learner, load_learner
from sparring.trainers.collect import collect_groups, group_starts, past_episodes, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.critic import CriticLearner, load_critic, success_rates
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.losses import outcome_loss, progress_weights, top_fraction
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import Lesson, ObjectiveConfig, update_policy
from sparring.trainers.replay import Transition, as_sample, transitions_of
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads, entropy
from sparring.types import Trajectory


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a DigiRL run."""

    run: Path = Path("runs/digirl")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint)."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    critic: OptimConfig = field(default_factory=OptimConfig)
    """Of both critics."""
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LoopConfig)
    objective: Annotated[ObjectiveConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: ObjectiveConfig(surrogate="likelihood", aggregation="seq-mean-token-sum", minibatches=4)
    )
    seed: int = 0
    """Of tasks, samples, batches and the critics' heads."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    episodes: int = 16
    """Episodes in a step."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    run_free: bool = False
    """Let each environment step in a thread of its own, and wait for no other (`grpo`)."""
    capacity: int = 2000
    """Episodes in the buffer; the oldest give way. The critics value whoever played them, so old ones mislead."""
    min_score: float | None = None
    """What counts as success is a score of at least this, instead of the environment's own word."""
    gamma: float = 0.5
    """How much of an episode's success is left a turn earlier."""
    instruction_fraction: float = 0.1
    """The share of episodes that is kept; 1 keeps all."""
    step_cost: float = 0.05
    """What a turn must gain to count as progress."""
    critic_steps: int = 20
    """Optimiser steps of the critic of turns in a step."""
    instruction_steps: int = 5
    """Those of the critic of beginnings."""
    critic_batch: int = 64
    """Turns, or beginnings, in each."""
    actor_turns: int = 128
    """Turns of kept episodes that are filtered and imitated in a step."""
    warmup_steps: int = 0
    """First steps in which the critics alone learn."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (
            ("episodes", 1), ("capacity", 1), ("step_cost", 0), ("critic_steps", 0), ("instruction_steps", 0),
            ("critic_batch", 1), ("actor_turns", 1), ("warmup_steps", 0), ("lora_rank", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 <= self.gamma <= 1:
            raise InvalidConfig(f"gamma must lie within 0 and 1, got {self.gamma}")
        if not 0 < self.instruction_fraction <= 1:
            raise InvalidConfig(f"instruction_fraction must be above 0 and at most 1, got {self.instruction_fraction}")
        if self.objective.surrogate != "likelihood" or self.objective.kl_coef:
            raise InvalidConfig("digirl imitates: its surrogate must be likelihood and kl_coef 0")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


@dataclass(frozen=True, slots=True)
class Played:
    """An episode in the buffer.

    Attributes:
        turns: at least one, up to the model's context. length: turns of the whole episode.
        outcome: R, 1 for a success and 0 for a failure.
    """

    turns: tuple[Transition, ...]
    length: int
    outcome: float


@dataclass(frozen=True, slots=True)
class Critics:
    """Attributes: beginnings: V_I. turns: V, with two heads."""

    beginnings: CriticLearner[OutcomeCritic]
    turns: CriticLearner[OutcomeCritic]


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "digirl", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)

        def load(heads: int, file: str) -> CriticLearner[OutcomeCritic]:
            return load_critic(
                lambda: OutcomeCritic(CausalReader(trunk_of(learner.model)), heads).to(learner.model.device),
                config.critic,
                run,
                seed=config.seed,
                file=file,
            )

        _train(config, run, learner, Critics(load(1, "instruction_critic.pt"), load(2, "step_critic.pt")))
    return config.run


def _train(config: Config, run: RunFolder, learner: Learner, critics: Critics) -> None:
    """The loop."""
    policy = learner.policy(config.agent)

    def write(folder: Path) -> None:
        learner.write(folder)
        critics.beginnings.write(folder)
        critics.turns.write(folder)

    with (
        cpu_threads(learner.model, config.loop.threads),
        Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        EnvPool(config.env.maker(), config.episodes) as pool,
        Session("digirl", run, config.loop) as session,
    ):
        split = config.split or training_split(pool)
        buffer = refill(config, run, policy, session.step)
        for step in session.steps():
            with session.timed("rollout"):
                starts = group_starts(config.seed, step, groups=config.episodes, size=1, split=split)
                collection = collect_groups(policy, pool, starts, config.setting, 1, run_free=config.run_free)
            episodes = collection.trajectories
            # Kept as files, from which a resumed run fills its buffer again.
            trajectories.write(run.trajectories_path(f"step-{step:06d}"), episodes)
            buffer.extend(as_played(config, episodes, policy))
            session.count(**collection.counts())
            row = dict(collection.summary())
            if buffer:
                with session.timed("critic"):
                    row |= fit_critics(config, critics, buffer, step, session.progress)
            if buffer and step > config.warmup_steps:
                with session.timed("update"):
                    row |= improve(config, learner, policy, critics, buffer, step, session.progress)
                    policy.weights_changed()
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            session.log(row, status=f"success {row['success']:.3f}")
            session.save_if_due(write)
        session.finish(write)


def refill(config: Config, run: RunFolder, policy: HFPolicy, last_step: int) -> deque[Played]:
    """The buffer as it stood after `last_step`, from the run's files of episodes."""
    return deque(as_played(config, past_episodes(run, last_step), policy), maxlen=config.capacity)


def as_played(config: Config, episodes: Iterable[Trajectory], policy: HFPolicy) -> list[Played]:
    """The episodes for the buffer, without those of which no turn fits the model's context."""
    found = []
    for one in episodes:
        turns = transitions_of(one, policy, system=config.agent.system)
        if turns:
            is_success = one.success if config.min_score is None else one.score >= config.min_score
            found.append(Played(tuple(turns), len(one.turns), float(is_success)))
    return found


def fit_critics(
    config: Config, critics: Critics, buffer: Sequence[Played], step: int, progress: float
) -> dict[str, float]:
    """Take the optimiser steps of both critics; return what to log about them.

    Raises:
        Diverged: a gradient was not finite.
    """
    turns = [(turn.state_T, one.outcome) for one in buffer for turn in one.turns]
    beginnings = [(one.turns[0].state_T, one.outcome) for one in buffer]
    return {
        "critic_loss": _fit(config, critics.turns, turns, config.critic_steps, step, "turns", progress),
        "instruction_loss": _fit(
            config, critics.beginnings, beginnings, config.instruction_steps, step, "begin", progress
        ),
        "buffer_episodes": float(len(buffer)),
        "buffer_success": float(np.mean([one.outcome for one in buffer])),
    }


def _fit(
    config: Config,
    critic: CriticLearner[OutcomeCritic],
    examples: Sequence[tuple[Ints, float]],
    steps: int,
    step: int,
    purpose: str,
    progress: float,
) -> float:
    """Teach a critic the outcomes of some states; return the mean loss."""
    rng = np.random.default_rng(entropy(config.seed, step, purpose))
    losses = []
    for indices in rng.integers(len(examples), size=(steps, config.critic_batch)):
        part = [examples[int(index)] for index in indices]
        total = 0.0
        for rows in cut_by_length([len(state_T) for state_T, _ in part], config.critic.micro_batch_tokens):
            logits_HB = critic.module([part[row][0] for row in rows])
            outcomes_B = torch.tensor([part[row][1] for row in rows], device=logits_HB.device)
            loss = outcome_loss(logits_HB, outcomes_B.expand_as(logits_HB)).sum() / (len(logits_HB) * len(part))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        losses.append(total)
        critic.take_step(progress)
    return float(np.mean(losses)) if losses else math.nan


def improve(
    config: Config,
    learner: Learner,
    policy: HFPolicy,
    critics: Critics,
    buffer: Sequence[Played],
    step: int,
    progress: float,
) -> dict[str, float]:
    """Imitate what passes both filters.

    Raises:
        Diverged: a gradient was not finite.
    """
    kept = kept_episodes(config, critics.beginnings.module, buffer)
    turns = [(one, turn) for one in kept for turn in one.turns]
    rng = np.random.default_rng(entropy(config.seed, step, "actor"))
    part = [turns[int(index)] for index in rng.permutation(len(turns))[: config.actor_turns]]
    weights = turn_weights(config, critics.turns.module, part)
    samples = [as_sample(policy, turn.state_T, turn, turn.action) for _, turn in part]
    lessons = [
        Lesson(sample, number, np.full(len(sample.sampled_n), weight, dtype=np.float32))
        for number, (sample, weight) in enumerate(zip(samples, weights, strict=True))
    ]
    return {
        "kept_episodes": float(len(kept)),
        "kept_success": float(np.mean([one.outcome for one in kept])),
        "kept_turns": float(np.mean(weights)),
    } | update_policy(
        config.objective,
        config.optim,
        learner,
        lessons,
        temperature=config.agent.temperature,
        seed=config.seed,
        step=step,
        progress=progress,
    )


def kept_episodes(config: Config, critic: OutcomeCritic, buffer: Sequence[Played]) -> list[Played]:
    """The episodes that went better than their beginning promised."""
    expected_S = success_rates(critic, [one.turns[0].state_T for one in buffer], config.critic.micro_batch_tokens)
    surprise_S = torch.tensor([one.outcome for one in buffer]) - expected_S.cpu()
    marks = top_fraction(surprise_S, config.instruction_fraction).tolist()
    return [one for one, is_kept in zip(buffer, marks, strict=True) if is_kept]


def turn_weights(config: Config, critic: OutcomeCritic, part: Sequence[tuple[Played, Transition]]) -> list[float]:
    """1 for each turn that made progress, 0 for the others."""
    budget = config.critic.micro_batch_tokens
    values_K = success_rates(critic, [turn.state_T for _, turn in part], budget).cpu()
    next_K = success_rates(critic, [turn.next_T for _, turn in part], budget).cpu()
    left_K = torch.tensor([one.length - 1 - turn.prompt.turn for one, turn in part])
    outcome_K = torch.tensor([one.outcome for one, _ in part])
    is_last_K = (left_K == 0).float()
    found: list[float] = progress_weights(
        values_K,
        next_K * (1 - is_last_K),
        outcome_K * is_last_K,
        outcome_K * config.gamma**left_K,
        config.step_cost,
    ).tolist()
    return found


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train digirl`, given its arguments."""
    run_command(Config, "digirl", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
