"""Half-open intervals [start, end) of whole numbers."""

Interval = tuple[int, int]


def merge(intervals: list[Interval]) -> list[Interval]:
    """The same points by as few intervals as possible, in order; empty ones vanish."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def length(intervals: list[Interval]) -> int:
    """How many points they cover."""
    return sum(end - start for start, end in merge(intervals))


def contains(intervals: list[Interval], point: int) -> bool:
    """Whether a point lies in any of them."""
    return any(start <= point < end for start, end in intervals)


def common(one: Interval, other: Interval) -> Interval | None:
    """What two intervals share, None where they share nothing."""
    start = max(one[0], other[0])
    end = min(one[1], other[1])
    if start < end:
        return (start, end)
    return None
