"""What a programming task is, and where tasks come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sparring.types import Form

Check = Literal["values", "script"]


@dataclass(frozen=True, slots=True)
class FunctionTask:
    """A function to be written.

    Attributes:
        id: its id, unique over all splits.
        instruction: the task in words.
        functions: names of the functions that tests call.
        visible, hidden: tests as Python source; one passes that raises nothing. Agents may run the visible ones; the
            hidden ones decide.
        solution: a right program for the expert, empty where none is known.
        check: "values": tests call the functions from another process, so that plain values alone cross, and no
            program can read or forge them. "script": each test shares a process with the program, which tests of
            classes need, and which a program that sets out to cheat can fool.
        depth: a measure of difficulty, 0 where there is none.
    """

    id: str
    instruction: str
    functions: tuple[str, ...]
    visible: tuple[str, ...]
    hidden: tuple[str, ...]
    solution: str = ""
    check: Check = "values"
    depth: int = 0


OPEN = (Form("write\n", ""), Form("write ", ""))
"""The forms of a program where any may be written."""


class FunctionTasks(Protocol):
    """A set of tasks in splits, each of which has at least one."""

    @property
    def splits(self) -> tuple[str, ...]: ...

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms of actions that write a program."""
        ...

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split, in a stable order."""
        ...

    def task(self, id: str) -> FunctionTask:
        """A task by its id, which is one of `task_ids`."""
        ...

    def write(self, task: FunctionTask) -> str:
        """The expert's action that writes the task's solution."""
        ...
