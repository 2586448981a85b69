"""Scores of players."""

from .statistic import median


def ranks(scores: dict[str, int]) -> dict[str, int]:
    """The rank of each player, from 1; equal scores share a rank, and the next one is left out."""
    found = {}
    for name, score in scores.items():
        better = [other for other in scores.values() if other > score]
        found[name] = len(better) + 1
    return found


def podium(scores: dict[str, int], places: int) -> list[str]:
    """The best players, ties in alphabetical order."""
    ordered = sorted(scores, key=lambda name: (-scores[name], name))
    return ordered[:places]


def above_median(scores: dict[str, int]) -> list[str]:
    """Who is better than the median, in alphabetical order."""
    middle = median([float(score) for score in scores.values()])
    return sorted(name for name, score in scores.items() if score > middle)


def merged(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Scores of two games added up."""
    total = dict(one)
    for name, score in other.items():
        total[name] = total.get(name, 0) + score
    return total
