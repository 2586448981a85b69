"""Figures about lists of numbers."""

from itertools import pairwise


def mean(values: list[float]) -> float:
    """The mean, 0 for no values."""
    if not values:
        return 0.0
    return sum(values) / len(values)


def median(values: list[float]) -> float:
    """The middle value, or the mean of the two middle ones; 0 for no values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2 == 1:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2


def moving_sums(values: list[float], width: int) -> list[float]:
    """The sum of every `width` neighbouring values."""
    return [sum(values[start : start + width]) for start in range(len(values) - width + 1)]


def longest_rise(values: list[float]) -> int:
    """The length of the longest run of growing neighbours."""
    longest = run = min(len(values), 1)
    for before, after in pairwise(values):
        run = run + 1 if after > before else 1
        longest = max(longest, run)
    return longest
