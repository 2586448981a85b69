"""Tasks that are seeds: `train/17`, in ranges that no two splits share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, overload
from zlib import crc32

import numpy as np

from sparring.errors import InvalidConfig, unknown

SPLITS = ("train", "dev", "test")

_MOST_TASKS = 1_000_000
# Of ten worlds one is kept for dev and one for test, by a checksum of what they look like.
_SPLIT_OF_TENTH = {0: "test", 1: "dev"}
# One draw in ten fits a small split, so that this many fail with probability 0.9 ** 400, about 5e-19.
_MOST_DRAWS = 400

World = TypeVar("World")


class SeededTasks(Sequence[str]):
    """The ids `split/0` … `split/count-1`, made when asked for.

    Args:
        split: one of `SPLITS`. count: how many, at least 1 and at most 1,000,000.
    Raises:
        InvalidConfig: another count.
    """

    def __init__(self, split: str, count: int) -> None:
        if not 1 <= count <= _MOST_TASKS:
            raise InvalidConfig(f'the split "{split}" must have 1 to {_MOST_TASKS:,} tasks, got {count}')
        self._split, self._count = split, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        numbers = range(self._count)[at]
        return f"{self._split}/{numbers}" if isinstance(numbers, int) else [f"{self._split}/{one}" for one in numbers]

    def __contains__(self, task: object) -> bool:
        if not isinstance(task, str):
            return False
        split, _, number = task.partition("/")
        # isascii and the round trip keep out other digits and other spellings, such as 007
        return (
            split == self._split
            and number.isascii()
            and number.isdigit()
            and len(number) <= 7
            and str(int(number)) == number
            and int(number) < self._count
        )


class SeededSplits:
    """The three splits of an environment whose tasks are seeds.

    Args:
        train, dev, test: how many tasks each has.
    """

    def __init__(self, train: int, dev: int, test: int) -> None:
        counts = zip(SPLITS, (train, dev, test), strict=True)
        self._tasks = {split: SeededTasks(split, count) for split, count in counts}

    def tasks(self, split: str) -> SeededTasks:
        """The ids of a split.

        Raises:
            UnknownName: no such split.
        """
        if split not in self._tasks:
            raise unknown("split", split, SPLITS)
        return self._tasks[split]


def seed_of(task: str) -> int:
    """The seed that a task id stands for: `train/17` is 17, `dev/17` is 1,000,017 and `test/17` is 2,000,017."""
    split, _, number = task.partition("/")
    return SPLITS.index(split) * _MOST_TASKS + int(number)


def draw_world(task: str, draw: Callable[[np.random.Generator], World], text: Callable[[World], str]) -> World:
    """Draw the world of a task, such that no world is found in two splits.

    A world belongs to the split that a checksum of its `text` says, so that equal worlds drawn from unequal seeds
    share their split. Draws go on until one belongs to the task's split.

    Raises:
        InvalidConfig: none of many does, since there are hardly any worlds.
    """
    rng = np.random.default_rng(seed_of(task))
    split = task.partition("/")[0]
    for _ in range(_MOST_DRAWS):
        world = draw(rng)
        if _SPLIT_OF_TENTH.get(crc32(text(world).encode()) % 10, "train") == split:
            return world
    raise InvalidConfig(
        f'of {_MOST_DRAWS} worlds drawn for the task "{task}" none belongs to the split "{split}": with these options '
        "there are too few worlds to divide. Make the world larger or more varied"
    )
