"""Tasks on a page: how they begin, and how an episode of theirs is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sparring.envs.web.browser.view import Look
from sparring.errors import InvalidConfig, unknown


@dataclass(frozen=True, slots=True)
class Visited:
    """What a task's check can look at.

    Attributes:
        look: the page as the agent sees it. state: what the page exposes, None where it exposes nothing.
        answer: what the agent answered, None before it did. infeasible: whether it said that the task can't be done.
        evaluate: evaluates an expression of yours in the page, which might lie if it is hostile.
    """

    look: Look
    state: Any
    answer: str | None
    infeasible: bool
    evaluate: Callable[[str], Any]

    @property
    def url(self) -> str:
        """The current tab's address."""
        return self.look.url

    @property
    def title(self) -> str:
        """The current tab's title."""
        return self.look.title


@dataclass(frozen=True, slots=True)
class PageTask:
    """One task on a page.

    Attributes:
        id: its name. instruction: what the agent is told.
        start: the address at which it begins, or a path in the served folder.
        check: called after each action; gives a score in [0, 1], or a bool. The episode ends when it reaches 1.
        answer: the expected answer; case and spaces around don't matter. Where it is given, only an answer ends the
            task.
        infeasible: whether the right end is to say that it can't be done.
        state: what the page's exposed state is set to at the beginning.
        split: `train` or another; the environment's splits are those of its tasks.
    """

    id: str
    instruction: str
    start: str = ""
    check: Callable[[Visited], float] | None = None
    answer: str | None = None
    infeasible: bool = False
    state: Any = None
    split: str = "train"

    def score(self, visited: Visited) -> float:
        """How well it stands, in [0, 1]."""
        if self.infeasible:
            return float(visited.infeasible)
        if visited.infeasible or (self.answer is not None and visited.answer is None):
            return 0.0
        if self.answer is not None and _plain(visited.answer or "") != _plain(self.answer):
            return 0.0
        score = 1.0 if self.check is None else float(self.check(visited))
        if not 0 <= score <= 1:
            raise InvalidConfig(f'the check of the task "{self.id}" gave {score}, which is not within 0 and 1')
        return score


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


class Tasks(Protocol):
    """Where tasks come from."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, the training split first."""
        ...

    def ids(self, split: str) -> Sequence[str]:
        """The ids of a split's tasks, in a stable order."""
        ...

    def task(self, id: str) -> PageTask:
        """The task of this id."""
        ...


@dataclass(frozen=True)
class Listed:
    """Tasks given one by one.

    Raises:
        InvalidConfig: none, or two of the same id, or one that nothing could end well.
    """

    tasks: Sequence[PageTask]
    _by_id: dict[str, PageTask] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {one.id: one for one in self.tasks})
        if not self.tasks or len(self._by_id) != len(self.tasks):
            raise InvalidConfig("a page needs at least one task, and each an id of its own")
        for one in self.tasks:
            if one.check is None and one.answer is None and not one.infeasible:
                raise InvalidConfig(f'the task "{one.id}" has neither a check nor an expected answer')

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of the tasks, in the order in which they first occur."""
        return tuple(dict.fromkeys(one.split for one in self.tasks))

    def ids(self, split: str) -> list[str]:
        """The ids of a split's tasks."""
        if split not in self.splits:
            raise unknown("split", split, self.splits)
        return [one.id for one in self.tasks if one.split == split]

    def task(self, id: str) -> PageTask:
        """The task of this id."""
        return self._by_id[id]
