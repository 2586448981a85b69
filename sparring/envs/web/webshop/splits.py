"""Which goals are for training and which are held out (docs/webshop.md, section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from sparring.envs.web.webshop.catalogue import SPLITS
from sparring.envs.web.webshop.goals import GoalBook
from sparring.errors import InvalidConfig

Division = Literal["product", "original"]

# The convention of the original's baseline models for its 12,087 human goals.
_ORIGINAL_TEST, _ORIGINAL_DEV = 500, 1500


class TaskIds(Sequence[str]):
    """The ids of a split's goals, made when asked for: `synthetic-17` is goal 17 of the synthetic ones."""

    def __init__(self, kind: str, goals: npt.NDArray[np.int32]) -> None:
        self._prefix = f"{kind}-"
        self._goals = goals

    def __len__(self) -> int:
        return len(self._goals)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [f"{self._prefix}{goal}" for goal in self._goals[at].tolist()]
        return f"{self._prefix}{self._goals[at]}"

    def goal(self, task: object) -> int | None:
        """The goal that an id names, None if it is not of this split."""
        if not isinstance(task, str) or not task.startswith(self._prefix):
            return None
        digits = task[len(self._prefix) :]
        if not (digits.isascii() and digits.isdigit()) or str(int(digits)) != digits or len(digits) > 10:
            return None
        at = int(np.searchsorted(self._goals, int(digits)))
        return int(digits) if at < len(self._goals) and int(self._goals[at]) == int(digits) else None

    def __contains__(self, task: object) -> bool:
        return self.goal(task) is not None


@dataclass(frozen=True)
class Split:
    """The goals of one split: their indexes in ascending order, and how to draw one by weight."""

    book: GoalBook
    goals: npt.NDArray[np.int32]

    @cached_property
    def task_ids(self) -> TaskIds:
        """Their ids."""
        return TaskIds(self.book.kind, self.goals)

    @cached_property
    def _weight_sums(self) -> npt.NDArray[np.float64]:
        return np.cumsum(self.book.weights(self.goals))

    def draw(self, generator: np.random.Generator) -> int:
        """A goal, with probability in proportion to its weight (without the original's off-by-one)."""
        point = generator.random() * float(self._weight_sums[-1])
        return int(self.goals[min(int(np.searchsorted(self._weight_sums, point, side="right")), len(self.goals) - 1)])


def default_division(book: GoalBook) -> Division:
    """The original's split for its human goals, else by product, so that held-out products are never trained on."""
    return "original" if book.kind == "human" and len(book) > _ORIGINAL_DEV else "product"


def split_goals(book: GoalBook, division: Division) -> dict[str, Split]:
    """Divide the goals into train, dev and test.

    Args:
        division: "product": by a stable hash of the product's ASIN, about 80/10/10. "original": goals 0–499 are
            test, 500–1499 dev, the rest train; with no more than 1,500 goals each split is all of them, as in the
            original.
    Raises:
        InvalidConfig: another division.
    """
    every = np.arange(len(book), dtype=np.int32)
    parts: list[Any]
    if division == "product":
        where = book.catalogue.product_splits[book.goal_rows]
        parts = [np.flatnonzero(where == number).astype(np.int32) for number in range(len(SPLITS))]
    elif division == "original":
        if len(book) > _ORIGINAL_DEV:
            parts = [every[_ORIGINAL_DEV:], every[_ORIGINAL_TEST:_ORIGINAL_DEV], every[:_ORIGINAL_TEST]]
        else:
            parts = [every, every, every]
    else:
        raise InvalidConfig(f'splits must be "product" or "original", got {division!r}')
    return {name: Split(book, part) for name, part in zip(SPLITS, parts, strict=True)}
