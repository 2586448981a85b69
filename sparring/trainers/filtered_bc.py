"""Filtered behaviour cloning: play, keep what went well by a rule, imitate that, and play again.

    python -m sparring.trainers.filtered_bc --model runs/first --run runs/filtered --steps 200
    python -m sparring.trainers.filtered_bc --model runs/first --run runs/raft --rule best --groups 8 --group-size 8
    python -m sparring.trainers.filtered_bc --model runs/first --run runs/rft --rule success --restart-from-base \\
        --data runs/first/trajectories --learn-episodes 0 --groups 200 --steps 5 --minibatches 50
    python -m sparring.trainers.filtered_bc --run runs/filtered --resume

| `--rule` | learned from in a step | known as |
|---|---|---|
| `percentile` | of all episodes so far, the best tenth by return | filtered BC, a baseline of arXiv:2402.19446 |
| `best` | the best by return of each group just played | RAFT, arXiv:2304.06767 |
| `success` | all successes so far, each only once | rejection fine-tuning (RFT), arXiv:2308.01825 |

With `--restart-from-base` a step is a round of RFT: the model goes back to what the run began with, and learns from
demonstrations and successes together. `--rule best --surrogate ppo` is RAFT++ (arXiv:2504.11343): ratio and clip of
PPO on the episodes that were kept.

Departures:
1. "All episodes so far" are the newest `--capacity`.
2. Two successes are the same if the agent saw and said the same, whatever the name of the task.
3. Ties: `percentile` keeps all episodes that reach the quantile, `best` the first of the best.
4. A step takes a fixed number of optimiser steps on `--learn-episodes` of those that were kept, drawn anew each step,
   so that steps do not grow longer with the buffer; 0 takes all, as rounds of RFT do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.batch import samples_of
from sparring.trainers.checkpoint import Learner, load_learner, load_reference
from sparring.trainers.collect import (
    collect_groups,
    group_starts,
    is_usable,
    past_episodes,
    shared_setting,
    training_split,
    what_happened,
)
from sparring.trainers.command import run_command, run_module
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.losses import top_fraction
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import Lesson, ObjectiveConfig, update_policy
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads, entropy
from sparring.types import Trajectory


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a run of filtered behaviour cloning."""

    run: Path = Path("runs/filtered_bc")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint)."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(warmup_steps=0))
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LoopConfig)
    objective: Annotated[ObjectiveConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: ObjectiveConfig(surrogate="likelihood", minibatches=4)
    )
    seed: int = 0
    """Of tasks, samples and what is drawn to learn from."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    rule: Literal["percentile", "best", "success"] = "percentile"
    """What is kept (see the table above)."""
    groups: int = 32
    """Tasks played in a step."""
    group_size: int = 1
    """Episodes of each."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    run_free: bool = False
    """Let each environment step in a thread of its own, and wait for no other (`grpo`)."""
    capacity: int = 10_000
    """Episodes that are remembered; the oldest give way."""
    top_fraction: float = 0.1
    """percentile: the share that is kept."""
    min_score: float | None = None
    """success: what counts as one is a score of at least this, instead of the environment's own word."""
    learn_episodes: int = 64
    """Episodes that a step learns from; 0 for all that were kept."""
    restart_from_base: bool = False
    """Begin each step's learning from the weights and the optimiser that the run began with."""
    data: Path | None = None
    """Demonstrations that are always among what is kept: a .jsonl.zst file or a folder of them."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (
            ("groups", 1), ("group_size", 1), ("capacity", 1), ("learn_episodes", 0), ("lora_rank", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 < self.top_fraction <= 1:
            raise InvalidConfig(f"top_fraction must be above 0 and at most 1, got {self.top_fraction}")
        if self.min_score is not None and self.rule != "success":
            raise InvalidConfig(f'min_score says what a success is, which the rule "{self.rule}" does not ask')
        if self.rule == "best":
            if self.group_size < 2:
                raise InvalidConfig("the rule best compares episodes of one task: it needs group_size of at least 2")
            if self.restart_from_base:
                raise InvalidConfig("the rule best keeps the newest episodes alone, too few to restart from base")
        if self.objective.surrogate != "likelihood" and (self.rule != "best" or self.data is not None):
            raise InvalidConfig(
                f"the surrogate {self.objective.surrogate} needs fresh samples, which the rule {self.rule}"
                f"{' with data' if self.data else ''} does not keep: take likelihood, or the rule best without data"
            )
        if self.objective.kl_coef:
            raise InvalidConfig("filtered_bc holds on to no reference: kl_coef must be 0")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        InvalidData: `data` holds no trajectories.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "filtered_bc", replace(config, resume=False), resume=config.resume) as run:
        demonstrated = list(trajectories.read(config.data)) if config.data is not None else []
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        base = load_reference(learner, run) if config.restart_from_base else None
        _train(config, run, learner, base, demonstrated)
    return config.run


def _train(
    config: Config, run: RunFolder, learner: Learner, base: Any | None, demonstrated: Sequence[Trajectory]
) -> None:
    """The loop."""
    policy = learner.policy(config.agent)
    with (
        cpu_threads(learner.model, config.loop.threads),
        Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        EnvPool(config.env.maker(), config.groups * config.group_size) as pool,
        Session("filtered_bc", run, config.loop) as session,
    ):
        split = config.split or training_split(pool)
        remembered = refill(config, run, session.step)
        for step in session.steps():
            with session.timed("rollout"):
                starts = group_starts(config.seed, step, groups=config.groups, size=config.group_size, split=split)
                collection = collect_groups(
                    policy, pool, starts, config.setting, config.group_size, run_free=config.run_free
                )
            episodes = collection.trajectories
            # Kept as files, from which a resumed run remembers them.
            trajectories.write(run.trajectories_path(f"step-{step:06d}"), episodes)
            remembered.extend(usable(episodes))
            session.count(**collection.counts())
            with session.timed("update"):
                kept = select(config, remembered, collection.groups)
                row = {
                    **collection.summary(),
                    "kept": float(len(kept)),
                    "kept_return_mean": float(np.mean([one.total_reward for one in kept])) if kept else float("nan"),
                }
                if base is not None:
                    learner.restart(base)
                row |= update_policy(
                    config.objective,
                    config.optim,
                    learner,
                    lessons_of(config, policy, chosen(config, [*demonstrated, *kept], step)),
                    temperature=config.agent.temperature,
                    seed=config.seed,
                    step=step,
                    progress=session.progress,
                )
                policy.weights_changed()
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            session.log(row, status=f"return {row['return_mean']:.3f}")
            session.save_if_due(learner.write)
        session.finish(learner.write)


def refill(config: Config, run: RunFolder, last_step: int) -> deque[Trajectory]:
    """What was remembered after `last_step`, from the run's files of episodes."""
    return deque(usable(past_episodes(run, last_step)), maxlen=config.capacity)


def usable(episodes: Iterable[Trajectory]) -> list[Trajectory]:
    """The episodes that a model can learn from."""
    return [one for one in episodes if is_usable(one)]


def select(
    config: Config, remembered: Sequence[Trajectory], groups: Sequence[Sequence[Trajectory]]
) -> list[Trajectory]:
    """The episodes that the rule keeps.

    Args:
        remembered: all episodes, oldest first. groups: those just played.
    """
    if config.rule == "percentile":
        returns_S = torch.tensor([one.total_reward for one in remembered], dtype=torch.float64)
        marks = top_fraction(returns_S, config.top_fraction).tolist()
        return [one for one, is_kept in zip(remembered, marks, strict=True) if is_kept]
    if config.rule == "best":
        played = [usable(group) for group in groups]
        return [max(group, key=lambda one: one.total_reward) for group in played if group]
    successes = [
        one for one in remembered if (one.success if config.min_score is None else one.score >= config.min_score)
    ]
    return list({what_happened(one): one for one in successes}.values())


def chosen(config: Config, kept: Sequence[Trajectory], step: int) -> list[Trajectory]:
    """Those of the kept episodes that a step learns from."""
    rng = np.random.default_rng(entropy(config.seed, step, "kept"))
    return [kept[int(index)] for index in rng.permutation(len(kept))[: config.learn_episodes or None]]


def lessons_of(config: Config, policy: HFPolicy, episodes: Sequence[Trajectory]) -> list[Lesson]:
    """Every sampled token of the episodes, all of one weight."""
    grammar = policy.grammar if config.agent.constrained else None
    return [
        Lesson(sample, number, np.ones(len(sample.sampled_n), dtype=np.float32))
        for number, one in enumerate(episodes)
        for sample in samples_of(one, policy.chat, grammar, system=config.agent.system)
        if len(sample.ids_T) <= policy.max_context
    ]


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train filtered_bc`, given its arguments."""
    run_command(Config, "filtered_bc", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
