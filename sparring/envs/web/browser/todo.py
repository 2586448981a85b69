"""A to-do list: the page that `sparring/Browser-v1` plays when it is given none, and an example of tasks for one's own.

Tasks are to add, to tick off or to remove a chore, to count those that are open (an answer), or to tick off one that is
not on the list (which is infeasible). Ids are `train/17`; no list of chores with its task is in two splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, draw_world
from sparring.envs.web.browser.tasks import PageTask, Visited
from sparring.envs.web.browser.view import Look

PAGE = Path(__file__).with_name("todo.html")
_VERBS = ("buy", "call", "clean", "find", "fix", "paint", "sell", "wash")
_THINGS = ("the bike", "the car", "the dog", "the door", "the kettle", "the lamp", "the plumber", "the window")
_KINDS = ("add", "tick", "remove", "count", "missing")


@dataclass(frozen=True, slots=True)
class _World:
    kind: str
    chores: tuple[tuple[str, bool], ...]
    target: str

    def __str__(self) -> str:
        return f"{self.kind} {self.target} {self.chores}"


def _draw(rng: np.random.Generator) -> _World:
    kind = _KINDS[int(rng.integers(len(_KINDS)))]
    names = [f"{verb} {thing}" for verb in _VERBS for thing in _THINGS]
    *listed, other = [names[at] for at in rng.choice(len(names), size=int(rng.integers(3, 7)), replace=False)]
    chores = tuple((name, bool(rng.random() < 0.4)) for name in listed)
    still_open = [name for name, done in chores if not done]
    if kind == "tick" and not still_open:
        kind = "remove"
    among = still_open if kind == "tick" else listed
    return _World(kind, chores, other if kind in ("add", "missing") else among[int(rng.integers(len(among)))])


class TodoTasks:
    """The tasks of the to-do list.

    Args:
        train, dev, test: how many each split has.
    """

    splits = SPLITS

    def __init__(self, train: int = 1_000, dev: int = 100, test: int = 100) -> None:
        self._splits = SeededSplits(train, dev, test)

    def ids(self, split: str) -> Sequence[str]:
        """`train/0` and so on."""
        return self._splits.tasks(split)

    def task(self, id: str) -> PageTask:
        """The task of this id."""
        world = draw_world(id, _draw, str)
        state = {"draft": "", "writing": False, "tasks": [{"text": text, "done": done} for text, done in world.chores]}
        wanted = list(world.chores)
        answer = None
        if world.kind == "add":
            instruction, wanted = f'Add "{world.target}".', [*wanted, (world.target, False)]
        elif world.kind == "remove":
            instruction = f'Remove "{world.target}".'
            wanted = [one for one in wanted if one[0] != world.target]
        elif world.kind == "count":
            instruction = "How many tasks are still open? Answer with a number."
            answer = str(sum(not done for _, done in world.chores))
        else:
            instruction = f'Mark "{world.target}" as done.'
            wanted = [(text, done or text == world.target) for text, done in wanted]
        split = id.partition("/")[0]
        return PageTask(id, instruction, "", _Holds(tuple(wanted)), answer, world.kind == "missing", state, split)

    def expert_action(self, task: PageTask, look: Look) -> str:
        """What someone does who understands the instruction and reads the page."""
        if task.answer is not None:
            return f"answer[{task.answer}]"
        name = task.instruction.partition('"')[2].partition('"')[0]
        if task.instruction.startswith("Add"):
            field, add = look.find("textbox", "New task"), look.find("button", "Add")
            if field is None or add is None:
                return "wait"
            return f"click[{add.number}]" if field.value == name else f"fill[{field.number}] {name}"
        removes = task.instruction.startswith("Remove")
        node = look.find("button", f"Remove {name}") if removes else look.find("checkbox", name)
        return f"infeasible[{name} is not on the list]" if node is None else f"click[{node.number}]"


@dataclass(frozen=True, slots=True)
class _Holds:
    """Whether the list is what it should be, in order."""

    wanted: tuple[tuple[str, bool], ...]

    def __call__(self, visited: Visited) -> float:
        state = visited.state if isinstance(visited.state, dict) else {}
        listed = [(one.get("text"), one.get("done")) for one in state.get("tasks", ()) if isinstance(one, dict)]
        return float(listed == list(self.wanted))
