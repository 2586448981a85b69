"""What self-correction is measured by: accuracy at each attempt, and how answers change between attempts.

An attempt is a turn whose info says whether its answer was `correct`, as the environments of
`sparring.envs.text.reasoning` report it. For trainers' rows:

    correction_metrics(trajectories)  # {"t1": 0.57, "t2": 0.39, "delta": -0.18, "wrong_to_right": 0.02, …}

and `measure` gives the same figures with intervals, for reports. The first attempt is compared with the last. An
episode that made fewer attempts than others, because it stopped at the first right answer or its context was full,
keeps its last answer: nobody changed it.

No figure means much alone. A policy that answers badly first on purpose has a large delta; one that copies its first
answer has none, and no harm done either. Read them together.

Source: Kumar et al., SCoRe, arXiv:2409.12917, section 3 (accuracies, delta, the two rates, edit distance).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sparring.errors import InvalidData
from sparring.statistics import Interval, mean_interval, rate_interval
from sparring.types import Stop, Trajectory, Turn

_LONGEST = 2_000


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is measured of one episode's attempts.

    Attributes:
        correct: whether each attempt was right, at least one.
        edits: edit distance from each attempt to the next, in [0, 1]; 0 for a copy. One fewer than `correct`.
    """

    correct: tuple[bool, ...]
    edits: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.correct or len(self.edits) != len(self.correct) - 1:
            raise InvalidData(
                f"attempts need at least one outcome and one edit distance between any two, got {len(self.correct)} "
                f"outcomes and {len(self.edits)} distances"
            )

    @classmethod
    def of(cls, trajectory: Trajectory) -> Attempts | None:
        """Read an episode's attempts; None where it made none, or its environment failed."""
        turns = attempts(trajectory)
        if not turns or trajectory.stop is Stop.ENV_ERROR:
            return None
        answers = [answer(turn) for turn in turns]
        return cls(
            tuple(bool(turn.info["correct"]) for turn in turns),
            tuple(edit_distance(one, following) for one, following in pairwise(answers)),
        )

    def correct_at(self, attempt: int) -> bool:
        """Whether the answer that stood after so many attempts (from 1) was right."""
        return self.correct[min(attempt, len(self.correct)) - 1]

    @property
    def was_mended(self) -> bool:
        """Whether the first attempt was wrong and the last one right."""
        return not self.correct[0] and self.correct[-1]

    @property
    def was_spoilt(self) -> bool:
        """Whether the first attempt was right and the last one wrong."""
        return self.correct[0] and not self.correct[-1]


@dataclass(frozen=True, slots=True)
class Correction:
    """How well an agent corrects itself, with 95 % intervals.

    Attributes:
        accuracy: rate of right answers after each attempt.
        delta: last accuracy minus the first: `wrong_to_right` - `right_to_wrong` exactly.
        wrong_to_right, right_to_wrong: rates among all episodes, from the first attempt to the last.
        copied: rate of attempts after the first that repeat the one before; None where no second one was made.
        edit_distance: mean from each attempt to the next, in [0, 1]; None likewise.
    """

    accuracy: tuple[Interval, ...]
    delta: Interval
    wrong_to_right: Interval
    right_to_wrong: Interval
    copied: Interval | None
    edit_distance: Interval | None


def attempts(trajectory: Trajectory) -> tuple[Turn, ...]:
    """The turns that were attempts."""
    return tuple(turn for turn in trajectory.turns if "correct" in turn.info)


def answer(turn: Turn) -> str:
    """The answer of an attempt as its environment read it, else as it was said."""
    return str(turn.info.get("answer", turn.action.text))


def correction_metrics(trajectories: Iterable[Trajectory]) -> dict[str, float]:
    """The figures of a training row: `t1`, `t2` …, `delta`, and the two rates; without attempts, none.

    `copied` and `edit_distance` are there where any episode made a second attempt.
    """
    return rates([found for found in map(Attempts.of, trajectories) if found is not None])


def rates(episodes: Sequence[Attempts]) -> dict[str, float]:
    """`correction_metrics` of what was read already."""
    if not episodes:
        return {}
    found = {f"t{at}": _mean(one.correct_at(at) for one in episodes) for at in range(1, _most(episodes) + 1)}
    found["delta"] = _mean(one.correct[-1] - one.correct[0] for one in episodes)
    found["wrong_to_right"] = _mean(one.was_mended for one in episodes)
    found["right_to_wrong"] = _mean(one.was_spoilt for one in episodes)
    edits = [edit for one in episodes for edit in one.edits]
    if edits:
        found["copied"] = _mean(edit == 0 for edit in edits)
        found["edit_distance"] = _mean(edits)
    return found


def measure(episodes: Sequence[Attempts], clusters: Sequence[str], *, rng: np.random.Generator) -> Correction:
    """The same figures with intervals: Wilson's for rates, bootstrap for means, over clusters.

    Args:
        episodes: at least one. clusters: what each one's task shares with others, else the task; N names.
        rng: draws the bootstrap.
    Raises:
        InvalidData: no episodes, or another number of clusters.
    """
    if not episodes or len(episodes) != len(clusters):
        raise InvalidData(f"expected one cluster an episode and at least one, got {len(episodes)} and {len(clusters)}")

    def rate(outcome: Callable[[Attempts], bool]) -> Interval:
        return rate_interval([float(outcome(one)) for one in episodes], clusters)

    edits = [(edit, cluster) for one, cluster in zip(episodes, clusters, strict=True) for edit in one.edits]
    between = [cluster for _, cluster in edits]
    return Correction(
        accuracy=tuple(rate(lambda one, at=at: one.correct_at(at)) for at in range(1, _most(episodes) + 1)),  # type: ignore[misc]
        delta=mean_interval([float(one.correct[-1] - one.correct[0]) for one in episodes], clusters, rng=rng),
        wrong_to_right=rate(lambda one: one.was_mended),
        right_to_wrong=rate(lambda one: one.was_spoilt),
        copied=rate_interval([float(edit == 0) for edit, _ in edits], between) if edits else None,
        edit_distance=mean_interval([edit for edit, _ in edits], between, rng=rng) if edits else None,
    )


def edit_distance(first: str, second: str) -> float:
    """Levenshtein's distance in characters over the length of the longer text: 0 for equal texts only, at most 1.

    Of texts longer than 2,000 characters, whose distance would take seconds, the first 2,000 are compared.

    Source: V. I. Levenshtein, Soviet Physics Doklady 10 (1966), 707-710.
    """
    if first == second:
        return 0.0
    first, second = first[:_LONGEST], second[:_LONGEST]
    columns = np.arange(len(second) + 1)
    letters = np.array([ord(letter) for letter in second], dtype=np.int64)
    row = columns.copy()
    for at, letter in enumerate(first, 1):
        below = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        # An insertion continues the best entry to the left, at a cost of one a column.
        row = np.minimum.accumulate(np.concatenate(([at], below)) - columns) + columns
    return max(float(row[-1]), 1.0) / max(len(first), len(second))


def _most(episodes: Sequence[Attempts]) -> int:
    return max(len(one.correct) for one in episodes)


def _mean(values: Iterable[float]) -> float:
    whole = list(values)
    return sum(whole) / len(whole)
