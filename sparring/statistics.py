"""Honest intervals for benchmarks: pure functions on numpy arrays, generators passed in.

Episodes of one task resemble one another, so tasks and not episodes are what is resampled. Two agents are
compared on the tasks that both played, task by task: the intervals of two means may overlap widely while the
interval of their paired difference is clear of zero, so claims are made of `paired_difference` alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparring.errors import InvalidData

Array = NDArray[np.float64]

_NORMAL = NormalDist()
_CELLS_AT_ONCE = 1_000_000  # resampled indices held in memory together
_FEW_TASKS = 5  # of the rarer outcome; below, the design effect is mostly noise and its interval covers too seldom


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the ends of its confidence interval."""

    estimate: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside the interval."""
        return value < self.low or value > self.high


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The first agent minus the second, over the tasks that both played.

    Attributes:
        difference: mean over tasks of the difference of the two agents' means on that task.
        wins, losses, ties: tasks on which the first agent's mean is above, below, equal.
        p_value: exact two-sided sign test of wins against losses. With one episode a task and outcomes of 0
            and 1 it is McNemar's exact test.
    """

    difference: Interval
    wins: int
    losses: int
    ties: int
    p_value: float

    @property
    def tasks(self) -> int:
        """How many tasks were compared."""
        return self.wins + self.losses + self.ties


@dataclass(frozen=True, slots=True)
class Spread:
    """How much a figure varies over seeds: its mean, sample standard deviation, minimum and maximum."""

    mean: float
    deviation: float
    low: float
    high: float
    seeds: int


def wilson(rate: float, trials: float, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a rate: it keeps its coverage near 0 and 1, and never leaves [0, 1].

    Args:
        rate: successes / trials, in [0, 1].
        trials: how many independent trials; a fraction where trials are worth less than their number.
    Raises:
        InvalidData: no trials, or a rate outside [0, 1].
    Source: E. B. Wilson, JASA 22 (1927), 209-212.
    """
    _check_level(level)
    if not trials > 0 or not 0 <= rate <= 1:
        raise InvalidData(f"a rate needs trials and a value within 0 and 1, got {rate} of {trials} trials")
    z = _NORMAL.inv_cdf((1 + level) / 2)
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # At the ends the exact bound is 0 or 1; rounding would leave it a little inside or outside.
    return Interval(rate, 0.0 if rate == 0 else max(0.0, centre - half), 1.0 if rate == 1 else min(1.0, centre + half))


def rate_interval(outcomes: ArrayLike, tasks: Sequence[str], *, level: float = 0.95) -> Interval:
    """Wilson's interval of a success rate whose trials are grouped by task.

    With one episode a task it is plain Wilson. With more, the number of trials is divided by the design
    effect: the variance of the rate with tasks as the unit, over its variance were all trials independent
    (at least 1). Where fewer than five tasks saw the rarer outcome that ratio says little, and there are at most as
    many trials as tasks: a first success among many failures must not narrow the interval.

    Args:
        outcomes: 0 or 1, shape [N]. tasks: the task of each, N names.
    Raises:
        InvalidData: no outcomes, or one that is neither 0 nor 1.
    Source: E. L. Korn and B. I. Graubard, Survey Methodology 24 (1998), 193-201 (effective sample size).
    """
    values, sums_T, counts_T = _by_task(outcomes, tasks)
    if not np.isin(values, (0.0, 1.0)).all():
        raise InvalidData("a success rate needs outcomes of 0 and 1")
    trials, number_of_tasks = len(values), len(sums_T)
    rate = float(values.mean())
    if number_of_tasks == trials:
        return wilson(rate, trials, level=level)
    if rate in (0.0, 1.0) or number_of_tasks == 1:
        return wilson(rate, number_of_tasks, level=level)
    residuals_T = sums_T - rate * counts_T
    clustered = float((residuals_T**2).sum()) * number_of_tasks / (number_of_tasks - 1) / trials**2
    independent = rate * (1 - rate) / trials
    effective = trials / max(1.0, clustered / independent)
    saw_rarer_outcome = int((sums_T > 0).sum() if rate <= 0.5 else (sums_T < counts_T).sum())
    if saw_rarer_outcome < _FEW_TASKS:
        effective = min(effective, number_of_tasks)
    return wilson(rate, effective, level=level)


def mean_interval(
    values: ArrayLike,
    tasks: Sequence[str],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 5_000,
) -> Interval:
    """Bootstrap interval of a mean, clustered by task: whole tasks are drawn with replacement.

    Bias-corrected and accelerated, because scores in [0, 1] are skewed. Where all tasks agree the interval is
    a point: a bootstrap can't show what it has never seen. It is too narrow for fewer than about twenty tasks, and
    where a few tasks hold most of the episodes or nearly all tasks agree.

    Args:
        values: shape [N], finite. tasks: the task of each, N names. rng: draws the resamples.
    Raises:
        InvalidData: no values, or one that is not finite.
    Source: B. Efron, JASA 82 (1987), 171-185 (BCa).
    """
    _, sums_T, counts_T = _by_task(values, tasks)
    return _bootstrap(sums_T, counts_T, rng=rng, level=level, resamples=resamples)


def paired_difference(
    first: Mapping[str, Sequence[float]],
    second: Mapping[str, Sequence[float]],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 5_000,
) -> PairedDifference:
    """Compare two agents on the tasks that both played.

    Args:
        first, second: the values of each task's episodes, by task.
    Raises:
        InvalidData: the two have no task in common.
    """
    common = sorted(task for task in first if first[task] and second.get(task))
    if not common:
        raise InvalidData("the two agents have no task in common, so they can't be compared in pairs")
    differences_T = np.array([np.mean(first[task]) - np.mean(second[task]) for task in common], dtype=np.float64)
    # Equal scores that were averaged over different numbers of episodes may differ in the last bits.
    differences_T[np.abs(differences_T) < 1e-12] = 0.0
    wins, losses = int((differences_T > 0).sum()), int((differences_T < 0).sum())
    interval = _bootstrap(differences_T, np.ones_like(differences_T), rng=rng, level=level, resamples=resamples)
    return PairedDifference(interval, wins, losses, len(common) - wins - losses, sign_test(wins, losses))


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p-value of `wins` against `losses` when each is as likely as the other; ties are left out.

    Raises:
        InvalidData: a negative count.
    Source: Q. McNemar, Psychometrika 12 (1947), 153-157, in its exact binomial form.
    """
    if wins < 0 or losses < 0:
        raise InvalidData(f"counts can't be negative, got {wins} and {losses}")
    trials = wins + losses
    tail = sum(math.comb(trials, k) for k in range(min(wins, losses) + 1))
    return min(1.0, float(2 * tail / 2**trials))


def spread(values: ArrayLike) -> Spread:
    """Describe one figure over seeds. The deviation of a single seed is not a number.

    Raises:
        InvalidData: no values.
    """
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        raise InvalidData("a spread needs at least one value")
    deviation = float(array.std(ddof=1)) if array.size > 1 else math.nan
    return Spread(float(array.mean()), deviation, float(array.min()), float(array.max()), array.size)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InvalidData(f"a confidence level is within 0 and 1, got {level}")


def _by_task(values: ArrayLike, tasks: Sequence[str]) -> tuple[Array, Array, Array]:
    """The values, and for each task their sum and their number."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or array.size != len(tasks):
        raise InvalidData(f"expected one value a task name and at least one, got {array.shape} for {len(tasks)} names")
    if not np.isfinite(array).all():
        raise InvalidData(f"values must be finite, got {array[~np.isfinite(array)][0]}")
    _, index = np.unique(np.asarray(tasks, dtype=object).astype(str), return_inverse=True)
    return array, np.bincount(index, weights=array).astype(np.float64), np.bincount(index).astype(np.float64)


def _bootstrap(sums_T: Array, counts_T: Array, *, rng: np.random.Generator, level: float, resamples: int) -> Interval:
    """The BCa interval of sum(sums) / sum(counts) over resampled tasks."""
    _check_level(level)
    tasks = len(sums_T)
    estimate = float(sums_T.sum() / counts_T.sum())
    means_T = sums_T / counts_T
    if tasks == 1 or float(np.ptp(means_T)) < 1e-12:
        return Interval(estimate, estimate, estimate)
    means_R = np.empty(resamples)
    rows = max(1, _CELLS_AT_ONCE // tasks)
    for begin in range(0, resamples, rows):
        picks = rng.integers(tasks, size=(min(rows, resamples - begin), tasks))
        means_R[begin : begin + rows] = sums_T[picks].sum(axis=1) / counts_T[picks].sum(axis=1)
    # Ties with the estimate count half, or discrete data would look biased.
    below = float((means_R < estimate).mean() + (means_R == estimate).mean() / 2)
    bias = _NORMAL.inv_cdf(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples))
    left_out_T = (sums_T.sum() - sums_T) / (counts_T.sum() - counts_T)
    deviations_T = left_out_T.mean() - left_out_T
    squares = float((deviations_T**2).sum())
    acceleration = float((deviations_T**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0

    def adjusted(tail: float) -> float:
        shifted = bias + _NORMAL.inv_cdf(tail)
        return _NORMAL.cdf(bias + shifted / (1 - acceleration * shifted))

    tail = (1 - level) / 2
    low, high = np.quantile(means_R, [adjusted(tail), adjusted(1 - tail)])
    return Interval(estimate, float(low), float(high))
