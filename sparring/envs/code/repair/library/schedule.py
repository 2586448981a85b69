"""Meetings in a day, in minutes after midnight."""

from .intervals import Interval, common, merge


def free(busy: list[Interval], start: int, end: int) -> list[Interval]:
    """The free times between `start` and `end`."""
    slots = []
    at = start
    for begin, until in merge(busy):
        if begin > at and at < end:
            slots.append((at, min(begin, end)))
        at = max(at, until)
    if at < end:
        slots.append((at, end))
    return slots


def first_slot(busy: list[Interval], start: int, end: int, minutes: int) -> int | None:
    """When a meeting of so many minutes can begin first, None where it can't."""
    for begin, until in free(busy, start, end):
        if until - begin >= minutes:
            return begin
    return None


def conflicts(meetings: list[Interval]) -> int:
    """How many pairs of meetings overlap."""
    found = 0
    for number, one in enumerate(meetings):
        for other in meetings[number + 1 :]:
            if common(one, other) is not None:
                found += 1
    return found


def clock(minutes: int) -> str:
    """A time of day: 545 is "09:05"."""
    hours, rest = divmod(minutes % 1440, 60)
    return f"{hours:02d}:{rest:02d}"
