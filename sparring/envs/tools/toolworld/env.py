"""Worlds of a few tools, generated for tiny models (`sparring/ToolWorld-v1`).

    env = sparring.make("ToolWorld-v1")
    text, info = env.reset(options={"task": "test/3"})
    print(info["instruction"])            # the tools, and what is asked for
    env.step("search(topic='tax')")       # {"file": "f4"}
    env.step("move(file='f4', folder='old')")
    env.step("finish()")                  # the reward is 1 where the world is exactly as asked for

Ids must be looked up, an error must be read and what it says be cleared, and nothing else may be changed: the score
compares the whole world with the one wanted. `info["actions"]` lists every call that schemas admit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Literal, get_args

import numpy as np

from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, draw_world
from sparring.envs.tools.base import Docs, ToolEnv
from sparring.envs.tools.calls import Call, Style, parse_calls, write_calls
from sparring.envs.tools.schema import Tool, every_call, parameters
from sparring.envs.tools.toolworld.domains import DISTRACTORS, DOMAINS
from sparring.envs.tools.toolworld.problem import Problem, World, next_call
from sparring.errors import InvalidConfig
from sparring.types import ActionSet

Kind = Literal["all", "files", "accounts", "calendar", "warehouse"]

_KEPT_PROBLEMS = 64
_FINISH = Tool("finish", "Say that all is done.", parameters(), lambda world: "done")


class ToolWorld(ToolEnv):
    """A world of files, accounts, events or goods, and one to three goals in it.

    Args:
        kind: which worlds there are, one or all. goals: how many each task has.
        distractors: how many tools there are beside those of the world, drawn with each task.
        style, docs: how calls are written, and how tools are described (`ToolEnv`).
        train, dev, test: how many tasks each split has; no world is found in two of them.
    Raises:
        InvalidConfig: a setting outside what is allowed.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    finish: ClassVar[str | None] = "finish"

    def __init__(
        self,
        kind: Kind = "all",
        goals: int = 1,
        distractors: int = 1,
        style: Style = "python",
        docs: Docs = "signatures",
        train: int = 10_000,
        dev: int = 500,
        test: int = 500,
    ) -> None:
        super().__init__(style, docs)
        if kind not in get_args(Kind):
            raise InvalidConfig(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
        if not 1 <= goals <= 3:
            raise InvalidConfig(f"goals must be 1 to 3, got {goals}")
        if not 0 <= distractors <= len(DISTRACTORS):
            raise InvalidConfig(f"distractors must be 0 to {len(DISTRACTORS)}, got {distractors}")
        self._kinds = tuple(DOMAINS) if kind == "all" else (kind,)
        self._goals, self._distractors = goals, distractors
        self._tasks = SeededSplits(train, dev, test)
        self._problem = lru_cache(_KEPT_PROBLEMS)(self._drawn)
        self.task = "train/0"
        self.world = self.problem.world

    @property
    def problem(self) -> Problem:
        """The task under way."""
        return self._problem(self.task)

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split's tasks, such as `train/17`.

        Raises:
            UnknownName: no such split.
        """
        return self._tasks.tasks(split)

    def begin(self, task: str) -> tuple[str, World]:
        """The goals and the world of a task."""
        return self.problem.instruction, self.problem.world

    def tools(self) -> Sequence[Tool]:
        """The world's tools, the distractors, and `finish`."""
        return (*self.problem.tools, _FINISH)

    def actions(self) -> ActionSet:
        """Every call that the schemas admit."""
        return _every_call(tuple(tool.name for tool in self.tools()), self.style)

    def score(self) -> float:
        """1 where the world is exactly as asked for, else 0."""
        return float(self.world == self.problem.wanted)

    def expert_action(self) -> str:
        """The next call of a plan, or one that mends what went wrong, or else `finish`."""
        made = [one.call for one in self.log]
        every = (parse_calls(text, self.style).calls[0] for text in self.actions().choices)
        others = (call for call in every if call.name != self.finish)
        return write_calls([next_call(self.problem, self.world, made, others) or Call("finish")], self.style)

    def _drawn(self, task: str) -> Problem:
        return draw_world(task, self._draw, _text)

    def _draw(self, rng: np.random.Generator) -> Problem:
        domain = DOMAINS[self._kinds[int(rng.integers(len(self._kinds)))]]
        world, goals = domain.draw(rng, self._goals)
        picks = sorted(rng.choice(len(DISTRACTORS), self._distractors, replace=False))
        return Problem(domain, world, tuple(goals), tuple(DISTRACTORS[pick] for pick in picks))


def _text(problem: Problem) -> str:
    return f"{problem.instruction}\n{json.dumps(problem.world, sort_keys=True)}"


@lru_cache(maxsize=512)
def _every_call(names: tuple[str, ...], style: Style) -> ActionSet:
    known = {tool.name: tool for one in DOMAINS.values() for tool in one.tools}
    known |= {tool.name: tool for tool in (*DISTRACTORS, _FINISH)}
    found = every_call([known[name] for name in names], style)
    assert found is not None
    return found
