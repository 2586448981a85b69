"""Pairs of trajectories of which one is preferred: checked, kept in files, made by outcome, and spelled for a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.errors import InvalidData
from sparring.settings import AgentConfig
from sparring.trainers.batch import Floats, Sample, samples_of
from sparring.trainers.collect import is_usable
from sparring.types import Stop, Trajectory, Turn


@dataclass(frozen=True, slots=True)
class Pair:
    """Two trajectories of one task, the first preferred to the second.

    Attributes:
        chosen, rejected: the sides. Both have been shown the same up to and with turn `first`, and have acted alike
            before it. A pair of single steps is two trajectories that end with turn `first`; a pair of suffixes, two
            that go on.
        first: the turn from which on they are compared: earlier ones are shared context, and out of the loss.
        margin: by how much the chosen side is the better, where that is known (difference of returns, or of values).

    Raises:
        InvalidData: the sides do not share what they must, or nothing is left to compare.
    """

    chosen: Trajectory
    rejected: Trajectory
    first: int = 0
    margin: float = 0.0

    def __post_init__(self) -> None:
        for name in ("env_id", "task_id", "instruction", "memory"):
            sides = getattr(self.chosen, name), getattr(self.rejected, name)
            if sides[0] != sides[1]:
                raise InvalidData(
                    f"the sides of a pair must share their {name}, got {_short(sides[0])} and {_short(sides[1])}: pair "
                    "episodes of one task that were prompted in one way"
                )
        turns = min(len(self.chosen.turns), len(self.rejected.turns))
        if not 0 <= self.first < turns:
            raise InvalidData(
                f"a pair is compared from turn {self.first} on, but its sides have {len(self.chosen.turns)} and "
                f"{len(self.rejected.turns)} turns: first must be at least 0, and both must have acted in that turn"
            )
        for at in range(self.first + 1):
            ours, theirs = self.chosen.turns[at], self.rejected.turns[at]
            if ours.observation.text != theirs.observation.text:
                raise InvalidData(
                    f"the sides of a pair must be shown the same up to turn {self.first} (first), but turn {at} shows "
                    f"{_short(ours.observation.text)} and {_short(theirs.observation.text)}: set first to the turn in "
                    "which they part"
                )
            if at < self.first and (ours.action.text, ours.action.token_ids) != (
                theirs.action.text,
                theirs.action.token_ids,
            ):
                raise InvalidData(
                    f"the sides of a pair must act alike before turn {self.first} (first), but in turn {at} they said "
                    f"{_short(ours.action.text)} and {_short(theirs.action.text)} (or spelled it in other tokens): set "
                    "first to the turn in which they part"
                )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…" + text[-1]


@dataclass(frozen=True, slots=True)
class _Line:
    """A pair as its line in a file says it is, before it is checked."""

    chosen: Trajectory
    rejected: Trajectory
    first: int = 0
    margin: float = 0.0


def write(path: Path, pairs: Iterable[Pair]) -> int:
    """Write a `.jsonl.zst` file of pairs atomically, and return how many it holds."""
    return trajectories.write_lines(path, map(trajectories.to_json, pairs))


def read(path: Path) -> Iterator[Pair]:
    """Read the pairs of a `.jsonl.zst` file, or of all those of a folder in the order of their names.

    Raises:
        InvalidData: nothing is there, or a line is no pair; the message names file, line and field.
    """
    return trajectories.read_lines(path, _from_json, "pairs")


def _from_json(line: str) -> Pair:
    found = trajectories.parse(line, _Line, "pair")
    return Pair(found.chosen, found.rejected, found.first, found.margin)


# Pairs by outcome


def grouped(played: Iterable[Trajectory]) -> list[list[Trajectory]]:
    """Sort episodes into groups of one environment, task and seed, in the order of their first members."""
    groups: dict[tuple[str, str, int], list[Trajectory]] = {}
    for one in played:
        groups.setdefault((one.env_id, one.task_id, one.seed), []).append(one)
    return list(groups.values())


def total_reward(trajectory: Trajectory) -> float:
    """The undiscounted return."""
    return trajectory.total_reward


def outcome_pairs(
    groups: Iterable[Sequence[Trajectory]],
    min_gap: float = 0.0,
    *,
    which: Literal["extremes", "all"] = "extremes",
    worth: Callable[[Trajectory], float] = total_reward,
) -> list[Pair]:
    """Pair whole episodes of one task by how they ended. Ties, failed episodes and overrun contexts make no pair.

    Args:
        groups: episodes of one task and seed each.
        min_gap: a pair's sides must be worth more than this apart.
        which: extremes pairs the best of a group with its worst (the first of each, where there are several); all
            makes every pair that the gap admits.
        worth: what an episode is worth; its return by default.
    Returns:
        The pairs, with the difference of worth for their margin.
    Raises:
        InvalidData: members of a group were not shown the same at their start.
    """
    pairs = []
    for group in groups:
        rated = [(worth(one), one) for one in group if is_usable(one)]
        if which == "extremes":
            # The first of the best and the first of the worst: max and min keep the first of equals.
            ends = [max(rated, key=_value), min(rated, key=_value)] if rated else []
            sides = [(ends[0], ends[1])] if ends else []
        else:
            sides = [(better, worse) for better in rated for worse in rated]
        pairs += [
            Pair(better, worse, margin=high - low) for (high, better), (low, worse) in sides if high - low > min_gap
        ]
    return pairs


def _value(rated: tuple[float, Trajectory]) -> float:
    return rated[0]


def up_to(trajectory: Trajectory, turn: int) -> Trajectory:
    """The trajectory as it stood after a turn: a side for a pair of single steps.

    Its stop is kept only where nothing was cut off; a shortened one counts as cut short by the collector.
    """
    turns: tuple[Turn, ...] = trajectory.turns[: turn + 1]
    if len(turns) == len(trajectory.turns):
        return trajectory
    following = trajectory.turns[turn + 1].observation
    return replace(trajectory, turns=turns, stop=Stop.MAX_TURNS, final=following, info={})


# Spelled for a model


@dataclass(frozen=True, slots=True)
class PairSamples:
    """A pair as a model reads it: for each side its sequences, whose sampled tokens all count.

    Attributes:
        chosen, rejected: one sequence where prompts extend each other, else one for each turn that counts.
        reference: log-probabilities of the sampled tokens under the reference, chosen side first, float32 [n]; nan
            where nothing recorded them.
        margin: that of the pair.
    """

    chosen: tuple[Sample, ...]
    rejected: tuple[Sample, ...]
    reference: Floats
    margin: float = 0.0

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The sequences of both sides, chosen first."""
        return (*self.chosen, *self.rejected)


def pair_samples(pairs: Sequence[Pair], policy: HFPolicy, agent: AgentConfig) -> list[PairSamples]:
    """Spell pairs as the policy reads them, with the recorded (behaviour) log-probabilities for a reference.

    Pairs of which a side does not fit the policy's context are left out. A trajectory that stands in several pairs is
    spelled once, and they share its samples.

    Args:
        policy: has the chat format, the grammar and the longest context. agent: how its episodes were prompted.
    Raises:
        InvalidData: a rebuilt prompt is not the one that the policy saw.
    """
    grammar = policy.grammar if agent.constrained else None
    spelled: dict[tuple[int, int], tuple[Sample, ...]] = {}

    def side(trajectory: Trajectory, first: int) -> tuple[Sample, ...]:
        key = id(trajectory), first  # all of them are held by the pairs, so that no number is given twice
        if key not in spelled:
            samples = samples_of(trajectory, policy.chat, grammar, system=agent.system)
            kept = (from_turn(sample, first) for sample in samples)
            spelled[key] = tuple(sample for sample in kept if len(sample.sampled_n))
        return spelled[key]

    found = []
    for pair in pairs:
        chosen, rejected = side(pair.chosen, pair.first), side(pair.rejected, pair.first)
        both = (*chosen, *rejected)
        if all(len(sample.ids_T) <= policy.max_context for sample in both):
            found.append(PairSamples(chosen, rejected, np.concatenate([one.logprobs_n for one in both]), pair.margin))
    return found


def from_turn(sample: Sample, first: int) -> Sample:
    """The same sequence, of whose sampled tokens only those of turn `first` or later count."""
    assert sample.turn_n is not None
    return sample.keeping(sample.turn_n >= first)
