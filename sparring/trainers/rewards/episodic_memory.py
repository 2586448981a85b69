"""Episodic memory: be near what worked on tasks like this one, and away from what did not.

Source: Memory-R+, arXiv:2504.02273. Two memories hold vectors of tasks and of what was said to them: successes, whose
neighbours' mean is to be come near, and failures, which are not to be said again. Both rewards are brought to [0, 1] by
the least and the greatest of the last hundred.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
WINDOW = 100


def cosines(one_D: Floats, many_MD: Floats) -> Floats:
    """Cosine of a vector with each of M, shape [M]; 0 with a vector of zeros."""
    norms_M = np.linalg.norm(many_MD, axis=-1) * np.linalg.norm(one_D)
    products_M = many_MD @ one_D
    found_M: Floats = np.divide(products_M, norms_M, out=np.zeros_like(products_M), where=norms_M > 0)
    return found_M


def neighbours(task_D: Floats, tasks_MD: Floats, count: int, threshold: float) -> npt.NDArray[np.int64]:
    """Which of M tasks are nearest by cosine, the nearest first: at most `count`, none below `threshold`."""
    similar_M = cosines(task_D, tasks_MD)
    order = np.argsort(-similar_M, kind="stable")[:count]
    return order[similar_M[order] >= threshold]


def exploit_reward(answer_D: Floats, good_KD: Floats) -> float:
    """-|answer - mean of what worked|: 0 at its best."""
    return -float(np.linalg.norm(answer_D - good_KD.mean(axis=0)))


def explore_reward(answer_D: Floats, bad_KD: Floats) -> float:
    """1 - the largest cosine with what did not work: 0 for having said it again."""
    return 1.0 - float(cosines(answer_D, bad_KD).max())


@dataclass(slots=True)
class RunningRange:
    """Brings values to [0, 1] by the least and the greatest of the last `WINDOW`, themselves included."""

    seen: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def __call__(self, value: float) -> float:
        """The value in that range; 0 as long as all were equal."""
        self.seen.append(value)
        low, high = min(self.seen), max(self.seen)
        return (value - low) / (high - low) if high > low else 0.0


@dataclass(slots=True)
class Vectors:
    """Pairs of a task's vector and an answer's, the newest `capacity` of them."""

    capacity: int
    tasks: list[Floats] = field(default_factory=list)
    answers: list[Floats] = field(default_factory=list)

    def add(self, task_D: Floats, answer_D: Floats) -> None:
        """Remember a pair, and forget the oldest where there are too many."""
        self.tasks.append(task_D)
        self.answers.append(answer_D)
        del self.tasks[: -self.capacity], self.answers[: -self.capacity]

    def near(self, task_D: Floats, count: int, threshold: float) -> Floats | None:
        """The answers to the nearest tasks, shape [K, D]; None where no task is near enough."""
        if not self.tasks:
            return None
        found = neighbours(task_D, np.stack(self.tasks), count, threshold)
        return np.stack([self.answers[index] for index in found]) if len(found) else None


class EpisodicMemory:
    """What worked and what did not, so far.

    Args:
        capacity: pairs that each memory holds. count: neighbours that are looked at (the paper: 1).
        threshold: least cosine of a neighbour's task.
        exploit: weight of being near what worked, from 0 to 1; being away from what did not has the rest.
    """

    def __init__(self, *, capacity: int, count: int, threshold: float, exploit: float) -> None:
        self.count, self.threshold, self.exploit = count, threshold, exploit
        self.successes, self.failures = Vectors(capacity), Vectors(capacity)
        self.ranges = {"exploit": RunningRange(), "explore": RunningRange()}

    def reward(self, task_D: Floats, answer_D: Floats) -> float:
        """The intrinsic reward of an answer, in [0, 1]; a memory without neighbours gives none."""
        good_KD = self.successes.near(task_D, self.count, self.threshold)
        bad_KD = self.failures.near(task_D, self.count, self.threshold)
        found = 0.0
        if good_KD is not None:
            found += self.exploit * self.ranges["exploit"](exploit_reward(answer_D, good_KD))
        if bad_KD is not None:
            found += (1 - self.exploit) * self.ranges["explore"](explore_reward(answer_D, bad_KD))
        return found

    def remember(self, task_D: Floats, answer_D: Floats, *, is_success: bool) -> None:
        """Add an answer to the memory that it belongs to."""
        (self.successes if is_success else self.failures).add(task_D, answer_D)

    def arrays(self) -> dict[str, Any]:
        """All that it holds, as arrays by name, for a file."""
        found: dict[str, Any] = {name: np.array(one.seen, dtype=np.float64) for name, one in self.ranges.items()}
        for name, vectors in (("successes", self.successes), ("failures", self.failures)):
            if vectors.tasks:
                found |= {f"{name}_tasks": np.stack(vectors.tasks), f"{name}_answers": np.stack(vectors.answers)}
        return found

    def load(self, arrays: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Take over what `arrays` gave."""
        for name, one in self.ranges.items():
            one.seen.extend(float(value) for value in arrays[name])
        for name, vectors in (("successes", self.successes), ("failures", self.failures)):
            if f"{name}_tasks" in arrays:
                vectors.tasks = list(arrays[f"{name}_tasks"])
                vectors.answers = list(arrays[f"{name}_answers"])
