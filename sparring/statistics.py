"""Honest intervals for benchmarks: pure functions on numpy arrays, generators passed in.

Episodes of one task resemble one another, and so do tasks that share their material, such as goals of one product.
What is resampled is therefore the cluster: all tasks of one product, or a single task where tasks share nothing. Two
agents are compared on the tasks that both played, task by task: the intervals of two means may overlap widely while the
interval of their paired difference is clear of zero, so claims are made of `paired_difference` alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparring.errors import InvalidData

Array = NDArray[np.float64]

_NORMAL = NormalDist()
_CELLS_AT_ONCE = 1_000_000  # resampled indices held in memory together
_FEW_CLUSTERS = 5  # with the rarer outcome; below, the design effect is mostly noise and its interval covers too seldom


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
        wins, losses, ties: clusters on whose tasks the first agent's mean is above, below, equal; where tasks share
            nothing, they are tasks.
        p_value: exact two-sided sign test of wins against losses. With tasks that share nothing, one episode each and
            outcomes of 0 and 1 it is McNemar's exact test.
        tasks: how many tasks were compared.
    """

    difference: Interval
    wins: int
    losses: int
    ties: int
    p_value: float
    tasks: int

    @property
    def clusters(self) -> int:
        """How many clusters the tasks belong to."""
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


def rate_interval(outcomes: ArrayLike, clusters: Sequence[str], *, level: float = 0.95) -> Interval:
    """Wilson's interval of a success rate whose trials come in clusters, of equal size or not.

    With one trial a cluster it is plain Wilson. With more, the number of trials is divided by the design
    effect: the variance of the rate with clusters as the unit, over its variance were all trials independent
    (at least 1). Where fewer than five clusters saw the rarer outcome that ratio says little, and there are at most as
    many trials as clusters: a first success among many failures must not narrow the interval. Where clusters
    are so unequal that 40 weigh like 24, it covered .93 to .95 in simulations; where 25 weigh like 15, .86 to .96.

    Args:
        outcomes: 0 or 1, shape [N]. clusters: the cluster of each, N names.
    Raises:
        InvalidData: no outcomes, or one that is neither 0 nor 1.
    Source: E. L. Korn and B. I. Graubard, Survey Methodology 24 (1998), 193-201 (effective sample size).
    """
    values, sums_C, counts_C = _by_cluster(outcomes, clusters)
    if not np.isin(values, (0.0, 1.0)).all():
        raise InvalidData("a success rate needs outcomes of 0 and 1")
    trials, number = len(values), len(sums_C)
    rate = float(values.mean())
    if number == trials:
        return wilson(rate, trials, level=level)
    if rate in (0.0, 1.0) or number == 1:
        return wilson(rate, number, level=level)
    residuals_C = sums_C - rate * counts_C
    clustered = float((residuals_C**2).sum()) * number / (number - 1) / trials**2
    independent = rate * (1 - rate) / trials
    effective = trials / max(1.0, clustered / independent)
    saw_rarer_outcome = int((sums_C > 0).sum() if rate <= 0.5 else (sums_C < counts_C).sum())
    if saw_rarer_outcome < _FEW_CLUSTERS:
        effective = min(effective, number)
    return wilson(rate, effective, level=level)


def mean_interval(
    values: ArrayLike,
    clusters: Sequence[str],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 5_000,
) -> Interval:
    """Bootstrap interval of a mean whose values come in clusters: whole clusters are drawn with replacement.

    Bias-corrected and accelerated, because scores in [0, 1] are skewed. Where all clusters agree the interval is
    a point: a bootstrap can't show what it has never seen. It is too narrow for fewer than about twenty clusters, and
    where a few of them hold most of the values (see `effective_clusters`) or nearly all of them agree.

    Args:
        values: shape [N], finite. clusters: the cluster of each, N names. rng: draws the resamples.
    Raises:
        InvalidData: no values, or one that is not finite.
    Source: B. Efron, JASA 82 (1987), 171-185 (BCa).
    """
    _, sums_C, counts_C = _by_cluster(values, clusters)
    return _bootstrap(sums_C, counts_C, rng=rng, level=level, resamples=resamples)


def effective_clusters(clusters: Sequence[str]) -> float:
    """How many clusters of equal size would weigh as evenly: (sum of sizes)² / sum of squared sizes.

    Args:
        clusters: the cluster of each value, N names.
    Raises:
        InvalidData: no names.
    Source: L. Kish, Survey Sampling (1965), section 11.7.
    """
    if not clusters:
        raise InvalidData("no clusters to count")
    sizes = np.array(list(Counter(clusters).values()), dtype=np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def paired_difference(
    first: Mapping[str, Sequence[float]],
    second: Mapping[str, Sequence[float]],
    *,
    rng: np.random.Generator,
    clusters: Mapping[str, str] | None = None,
    level: float = 0.95,
    resamples: int = 5_000,
) -> PairedDifference:
    """Compare two agents on the tasks that both played.

    Args:
        first, second: the values of each task's episodes, by task.
        clusters: the cluster of each task, by task; by default, and for a task that is not in it, the task itself.
    Raises:
        InvalidData: the two have no task in common.
    """
    common = sorted(task for task in first if first[task] and second.get(task))
    if not common:
        raise InvalidData("the two agents have no task in common, so they can't be compared in pairs")
    differences_T = np.array([np.mean(first[task]) - np.mean(second[task]) for task in common], dtype=np.float64)
    _, sums_C, counts_C = _by_cluster(differences_T, [(clusters or {}).get(task, task) for task in common])
    # Equal scores that were averaged over different numbers of episodes may differ in the last bits.
    sums_C[np.abs(sums_C) < 1e-12 * counts_C] = 0.0
    wins, losses = int((sums_C > 0).sum()), int((sums_C < 0).sum())
    interval = _bootstrap(sums_C, counts_C, rng=rng, level=level, resamples=resamples)
    ties = len(sums_C) - wins - losses
    return PairedDifference(interval, wins, losses, ties, sign_test(wins, losses), len(common))


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


def _by_cluster(values: ArrayLike, clusters: Sequence[str]) -> tuple[Array, Array, Array]:
    """The values, and for each cluster their sum and their number."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or array.size != len(clusters):
        raise InvalidData(f"expected one value a name and at least one, got {array.shape} for {len(clusters)} names")
    if not np.isfinite(array).all():
        raise InvalidData(f"values must be finite, got {array[~np.isfinite(array)][0]}")
    _, index = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    return array, np.bincount(index, weights=array).astype(np.float64), np.bincount(index).astype(np.float64)


def _bootstrap(sums_C: Array, counts_C: Array, *, rng: np.random.Generator, level: float, resamples: int) -> Interval:
    """The BCa interval of sum(sums) / sum(counts) over resampled clusters."""
    _check_level(level)
    number = len(sums_C)
    estimate = float(sums_C.sum() / counts_C.sum())
    means_C = sums_C / counts_C
    if number == 1 or float(np.ptp(means_C)) < 1e-12:
        return Interval(estimate, estimate, estimate)
    means_R = np.empty(resamples)
    rows = max(1, _CELLS_AT_ONCE // number)
    for begin in range(0, resamples, rows):
        picks = rng.integers(number, size=(min(rows, resamples - begin), number))
        means_R[begin : begin + rows] = sums_C[picks].sum(axis=1) / counts_C[picks].sum(axis=1)
    # Ties with the estimate count half, or discrete data would look biased.
    below = float((means_R < estimate).mean() + (means_R == estimate).mean() / 2)
    bias = _NORMAL.inv_cdf(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples))
    left_out_C = (sums_C.sum() - sums_C) / (counts_C.sum() - counts_C)
    deviations_C = left_out_C.mean() - left_out_C
    squares = float((deviations_C**2).sum())
    acceleration = float((deviations_C**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0

    def adjusted(tail: float) -> float:
        shifted = bias + _NORMAL.inv_cdf(tail)
        return _NORMAL.cdf(bias + shifted / (1 - acceleration * shifted))

    tail = (1 - level) / 2
    low, high = np.quantile(means_R, [adjusted(tail), adjusted(1 - tail)])
    return Interval(estimate, float(low), float(high))
