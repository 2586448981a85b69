"""Iterated imitation: collect with the current policy, select, train, and again; one loop for many methods.

    def collect(policy, pool, round):      # a collector: whatever plays, searches, replays or edits episodes
        ...
        return Harvest(flagged=(Flagged(episode, trained=frozenset({2, 3})),))

    iterate("mine", config, run, learner, collect, demonstrated)

What differs between RFT, EEF, ETO, IPR and their like is the collector, and two settings of `LearningConfig`: whether a
round begins from the weights that the run began with, and whether it learns from all that was found so far. A collector
says turn by turn what may be learned from (`Flagged`), and which of two sides is the better (`Pair`); a round takes
up to `updates` optimiser steps on the sum of imitation and of one DPO loss for each kind of pair.

A round is a step of the run. What it was given to learn from is kept in the run's `rounds/`, from which a resumed run
remembers it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, InvalidData
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import pair_update, policy_update, preferences
from sparring.trainers.batch import Sample, samples_of
from sparring.trainers.checkpoint import Learner, load_reference
from sparring.trainers.collect import what_happened
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.losses import Aggregation, token_weights
from sparring.trainers.optim import OptimConfig, learning_rate, take_step
from sparring.trainers.pair_update import PreferenceConfig
from sparring.trainers.policy_update import Lesson, ObjectiveConfig
from sparring.trainers.preferences import Pair, PairSamples
from sparring.trainers.session import LoopConfig, Session, cpu_threads, entropy
from sparring.trainers.tally import Tally
from sparring.types import Trajectory


@dataclass(frozen=True, slots=True)
class Flagged:
    """An episode, and which of its turns are learned from; the others are context.

    Attributes:
        trajectory: the episode. trained: the numbers of the turns whose tokens are in the loss; None for all.
        weight: what a trained token counts, against 1 of others; at least 0.

    Raises:
        InvalidData: a turn that the episode does not have, or a weight below 0 or not finite.
    """

    trajectory: Trajectory
    trained: frozenset[int] | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        beyond = sorted((self.trained or frozenset()) - set(range(len(self.trajectory.turns))))
        if beyond:
            raise InvalidData(
                f"trained turns must be among the {len(self.trajectory.turns)} of the episode of task "
                f'"{self.trajectory.task_id}", counted from 0; got {beyond}'
            )
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InvalidData(f"a weight must be a finite number of at least 0, got {self.weight}")


@dataclass(frozen=True, slots=True)
class Harvest:
    """What a collector brings home from one round.

    Attributes:
        flagged: what to imitate. pairs: what to prefer to what, by kind; each kind is a loss of its own.
        counts: what the run counts over all its rounds, `env_turns` and `action_tokens` among it.
        metrics: what to log about the round.
    """

    flagged: tuple[Flagged, ...] = ()
    pairs: Mapping[str, Sequence[Pair]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


class Collector(Protocol):
    """Finds something to learn from. All its randomness follows from the number of the round."""

    def __call__(self, policy: HFPolicy, pool: EnvPool, round: int, /) -> Harvest:
        """Collect.

        Args:
            policy: samples with the weights as they are now. pool: environments to play in.
            round: from 1.
        """
        ...


@dataclass(frozen=True, slots=True)
class LearningConfig:
    """How a round learns from what was collected."""

    updates: int = 100
    """Optimiser steps of a round; warm-up and decay of the learning rate are those of a round, too."""
    max_passes: int = 10
    """A round ends earlier where it would go through all that it learns from more often than this: a few pairs learned
    by heart undo what was learned before. ETO and IPR take 3 in the papers."""
    batch_episodes: int = 16
    """Episodes in an optimiser step."""
    batch_pairs: int = 16
    """Pairs of each kind in an optimiser step."""
    aggregation: Aggregation = "token-mean"
    """How the losses of tokens become one number (`losses.aggregation`)."""
    max_episode_tokens: int = 512
    """The constant that seq-mean-token-sum-norm divides by."""
    beta: float = 0.1
    """Pairs: strength of the hold on the policy as it was at the start of the round."""
    restart: bool | None = None
    """Begin each round from the weights and the optimiser that the run began with; by default as the method does."""
    remember: bool | None = None
    """Learn from the demonstrations and all earlier rounds, too; by default as the method does."""

    def __post_init__(self) -> None:
        for name in ("updates", "max_passes", "batch_episodes", "batch_pairs", "max_episode_tokens"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"learning.{name} must be at least 1, got {getattr(self, name)}")
        if self.beta <= 0:
            raise InvalidConfig(f"learning.beta must be above 0, got {self.beta}")

    @property
    def preference(self) -> PreferenceConfig:
        """DPO against a model, for the losses of pairs."""
        return PreferenceConfig(beta=self.beta, reference="model")


class RoundsConfig(Protocol):
    """What `iterate` reads of a trainer's settings."""

    @property
    def env(self) -> EnvConfig: ...
    @property
    def agent(self) -> AgentConfig: ...
    @property
    def optim(self) -> OptimConfig: ...
    @property
    def loop(self) -> LoopConfig: ...
    @property
    def learning(self) -> LearningConfig: ...
    @property
    def seed(self) -> int: ...
    @property
    def setting(self) -> Setting: ...


def iterate(
    trainer: str,
    config: RoundsConfig,
    run: RunFolder,
    learner: Learner,
    collect: Collector,
    demonstrated: Sequence[Flagged],
    *,
    base: Any | None = None,
    environments: int = 64,
    after: Callable[[int], Mapping[str, float]] | None = None,
    write: Callable[[Path], None] | None = None,
) -> None:
    """Collect and learn, round after round, until the budget ends.

    Args:
        trainer: its name. learner: starts from its weights.
        demonstrated: what is learned from in every round that remembers.
        base: the frozen model that the run began with, where the caller has it loaded.
        environments: how many to play in at once.
        after: told each round's number when the policy has learned, lets learn what learns beside it (a value model),
            and returns what to log. write: fills a checkpoint's folder, by default with the learner alone.
    Raises:
        Diverged: a gradient was not finite.
    """
    if base is None and config.learning.restart:
        base = load_reference(learner, run)
    policy = learner.policy(config.agent)
    with (
        cpu_threads(learner.model, config.loop.threads),
        Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        EnvPool(config.env.maker(), environments) as pool,
        Session(trainer, run, config.loop) as session,
    ):
        found = past_rounds(run, session.step) if config.learning.remember else []
        for round in session.steps():
            with session.timed("rollout"):
                harvest = collect(policy, pool, round)
            write_flagged(round_path(run, round), harvest.flagged)
            for kind, pairs in harvest.pairs.items():
                preferences.write(run.path / "pairs" / f"{kind}-{round:06d}.jsonl.zst", pairs)
            session.count(**harvest.counts)
            with session.timed("update"):
                found = [*found, *harvest.flagged] if config.learning.remember else list(harvest.flagged)
                if config.learning.restart:
                    learner.restart(base)
                flagged = once_each([*demonstrated, *found] if config.learning.remember else found)
                row = {**harvest.metrics, "found": float(len(harvest.flagged))}
                row |= learn(config, learner, policy, flagged, harvest.pairs, round)
                policy.weights_changed()
                if after is not None:
                    row |= after(round)
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            session.log(row, status=f"loss {row['loss']:.3f}")
            session.save_if_due(write or learner.write)
        session.finish(write or learner.write)


# Learning


def learn(
    config: RoundsConfig,
    learner: Learner,
    policy: HFPolicy,
    flagged: Sequence[Flagged],
    pairs: Mapping[str, Sequence[Pair]],
    round: int,
) -> dict[str, float]:
    """Take a round's optimiser steps, and return what to log about them; none where there is nothing to learn.

    Each is on the sum of imitation of some flagged episodes and, for each kind of pair, of DPO on some of that kind.
    The reference of DPO is the learner as it is at the first of them.

    Raises:
        Diverged: a gradient was not finite.
    """
    settings, budget, heat = config.learning, config.optim.micro_batch_tokens, config.agent.temperature
    objective = ObjectiveConfig(surrogate="likelihood", aggregation=settings.aggregation)
    lessons = lessons_of(flagged, policy, config.agent)
    laid_out: dict[str, list[PairSamples]] = {}
    for kind, found in sorted(pairs.items()):
        spelled = preferences.pair_samples(found, policy, config.agent)
        if spelled:
            laid_out[kind] = pair_update.with_reference(spelled, learner.model, budget, heat)
    row = {"lessons": float(len(lessons)), **{f"{kind}_pairs": float(len(found)) for kind, found in pairs.items()}}
    if not lessons and not laid_out:
        return {"loss": math.nan, "updates": 0.0, **row}
    began, tokens, losses, norms = time.monotonic(), 0, [], []
    tally, tallies = Tally(), {kind: Tally() for kind in laid_out}
    rng = np.random.default_rng(entropy(config.seed, round, "learn"))
    lesson_batches = batches(len(lessons), settings.batch_episodes, rng)
    pair_batches = {kind: batches(len(some), settings.batch_pairs, rng) for kind, some in laid_out.items()}
    longest = max(
        math.ceil(len(lessons) / settings.batch_episodes),
        *(math.ceil(len(some) / settings.batch_pairs) for some in laid_out.values()),
        1,
    )
    updates = min(settings.updates, settings.max_passes * longest)
    for update in range(1, updates + 1):
        loss = 0.0
        if lessons:
            part = [lessons[index] for index in next(lesson_batches)]
            weights_B = token_weights(
                torch.tensor([len(lesson.sample.sampled_n) for lesson in part]),
                settings.aggregation,
                max_tokens=settings.max_episode_tokens,
            )
            loss += policy_update.add_gradients(
                objective, config.optim, learner.model, None, part, weights_B, tally, heat, is_fresh=False
            )
            tokens += sum(len(lesson.sample.ids_T) for lesson in part)
        for kind, some in laid_out.items():
            chosen = [some[index] for index in next(pair_batches[kind])]
            loss += pair_update.add_gradients(
                settings.preference, config.optim, learner.model, chosen, heat, tallies[kind]
            )
            tokens += sum(len(sample.ids_T) for pair in chosen for sample in pair.samples)
        rate = learning_rate(config.optim, update, (update - 1) / updates)
        losses.append(loss)
        norms.append(take_step(learner.optimizer, config.optim, rate))
    return {
        "loss": float(np.mean(losses)),
        "updates": float(updates),
        "grad_norm": float(np.mean(norms)),
        **tally.means(),
        **{f"{kind}_{name}": value for kind, one in tallies.items() for name, value in one.means().items()},
        **row,
        "tokens_per_second": tokens / (time.monotonic() - began),
    }


def lessons_of(flagged: Iterable[Flagged], policy: HFPolicy, agent: AgentConfig) -> list[Lesson]:
    """What there is to imitate: the trained turns' tokens under their weights.

    Sequences without any are left out, and so are those that overrun the policy's context.

    Args:
        policy: has the chat format, the grammar and the longest context. agent: how its episodes were prompted.
    Raises:
        InvalidData: a rebuilt prompt is not the one that the policy saw.
    """
    grammar = policy.grammar if agent.constrained else None
    return [
        Lesson(part, number, np.full(len(part.sampled_n), one.weight, dtype=np.float32))
        for number, one in enumerate(flagged)
        for sample in samples_of(one.trajectory, policy.chat, grammar, system=agent.system)
        if len(sample.ids_T) <= policy.max_context
        for part in [of_turns(sample, one.trained)]
        if len(part.sampled_n)
    ]


def once_each(flagged: Iterable[Flagged]) -> list[Flagged]:
    """The flagged episodes without those that teach nothing which an earlier one does not."""
    found: dict[Any, Flagged] = {}
    for one in flagged:
        found.setdefault((what_happened(one.trajectory), one.trained), one)
    return list(found.values())


def of_turns(sample: Sample, trained: frozenset[int] | None) -> Sample:
    """The same sequence, of whose sampled tokens only those of some turns count; None leaves them all."""
    if trained is None:
        return sample
    assert sample.turn_n is not None
    return sample.keeping(np.isin(sample.turn_n, sorted(trained)))


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield batches of indices without end: each pass goes through all `count` of them in an order of its own.

    A batch holds no index twice: it is smaller than `size` at the end of a pass.
    """
    while count:
        order = rng.permutation(count).tolist()
        for first in range(0, count, size):
            yield order[first : first + size]


# What a resumed run remembers


@dataclass(frozen=True, slots=True)
class _Line:
    """A flagged episode as its line in a file says it is."""

    trajectory: Trajectory
    trained: tuple[int, ...] | None = None
    weight: float = 1.0


def round_path(run: RunFolder, round: int) -> Path:
    """The file of what a round found."""
    return run.path / "rounds" / f"step-{round:06d}.jsonl.zst"


def write_flagged(path: Path, flagged: Iterable[Flagged]) -> int:
    """Write a `.jsonl.zst` file of flagged episodes atomically, and return how many it holds."""
    lines = (
        _Line(one.trajectory, None if one.trained is None else tuple(sorted(one.trained)), one.weight)
        for one in flagged
    )
    return trajectories.write_lines(path, map(trajectories.to_json, lines))


def read_flagged(path: Path) -> Iterator[Flagged]:
    """Read the flagged episodes of a file, or of all those of a folder in the order of their names.

    Raises:
        InvalidData: nothing is there, or a line is no flagged episode; the message names file, line and field.
    """
    return trajectories.read_lines(path, _from_json, "flagged episodes")


def _from_json(line: str) -> Flagged:
    found = trajectories.parse(line, _Line, "flagged")
    return Flagged(found.trajectory, None if found.trained is None else frozenset(found.trained), found.weight)


def past_rounds(run: RunFolder, last_round: int) -> list[Flagged]:
    """What the rounds up to `last_round` found, in order, from the run's files."""
    return [one for round in range(1, last_round + 1) for one in read_flagged(round_path(run, round))]


def settled(learning: LearningConfig, *, restart: bool, remember: bool) -> LearningConfig:
    """The settings with a method's own choices where none were made."""
    return replace(
        learning,
        restart=restart if learning.restart is None else learning.restart,
        remember=remember if learning.remember is None else learning.remember,
    )
