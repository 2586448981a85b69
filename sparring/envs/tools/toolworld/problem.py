"""A task of a tool world: the start, what is asked for, and a plan that reaches it.

A world is a dictionary of things, each a dictionary of its fields. A task asks for one or more goals that concern
different things. What the world must be in the end follows from running the plans of all goals.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from sparring.envs.tools.calls import Call
from sparring.envs.tools.schema import Tool, ToolError

World = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing asked for.

    Attributes:
        text: in words. plan: the calls that reach it, those that only tell something (an error too) included.
    """

    text: str
    plan: tuple[Call, ...]


class Domain(Protocol):
    """A kind of world.

    `draw` makes a world and so many goals in it, which must concern different things.
    """

    @property
    def name(self) -> str: ...

    @property
    def tools(self) -> tuple[Tool, ...]: ...

    def draw(self, rng: np.random.Generator, goals: int) -> tuple[World, list[Goal]]: ...


@dataclass(frozen=True)
class Problem:
    """A task.

    Attributes:
        domain: what it is drawn from. world: at the start, never changed. goals: what is asked for.
        distractors: tools that have no part in it.
    """

    domain: Domain
    world: World
    goals: tuple[Goal, ...]
    distractors: tuple[Tool, ...] = ()

    @property
    def tools(self) -> tuple[Tool, ...]:
        """All tools but the one that ends the episode."""
        return (*self.domain.tools, *self.distractors)

    @property
    def instruction(self) -> str:
        """What is asked for, a line a goal."""
        return "\n".join(goal.text for goal in self.goals)

    @cached_property
    def wanted(self) -> World:
        """The world that the agent must leave behind."""
        world = self.world
        for goal in self.goals:
            for call in goal.plan:
                world = self.after(world, call)
        return world

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """How each goal's things change along its plan; the last is of all other things, which must not change."""
        paths = [self._path(goal) for goal in self.goals]
        touched = frozenset().union(*(path.things for path in paths))
        rest = frozenset(self.world) - touched
        return (*paths, Path(rest, (only(self.world, rest),), ((),)))

    def _path(self, goal: Goal) -> Path:
        worlds = [self.world]
        segments: list[list[Call]] = [[]]
        for call in goal.plan:
            after = self.after(worlds[-1], call)
            segments[-1].append(call)
            if after != worlds[-1]:
                worlds.append(after)
                segments.append([])
        things = frozenset(
            name for world in worlds for name in {*world, *self.world} if world.get(name) != self.world.get(name)
        )
        return Path(things, tuple(only(world, things) for world in worlds), tuple(map(tuple, segments)))

    def after(self, world: World, call: Call) -> World:
        """The world after a call, which is the same where the call runs into an error."""
        tool = next(tool for tool in self.tools if tool.name == call.name)
        changed = copy.deepcopy(world)
        try:
            tool.function(changed, **call.arguments)
        except ToolError:
            return world
        return changed


@dataclass(frozen=True)
class Path:
    """How some things change on the way to a goal.

    Attributes:
        things: their names. states: what they are at each stage, the goal last.
        segments: the calls that lead from each stage to the next, the last of which makes the change.
    """

    things: frozenset[str]
    states: tuple[World, ...]
    segments: tuple[tuple[Call, ...], ...]

    def stage(self, world: World) -> int | None:
        """How far a world is, or None where it is off the path."""
        now = only(world, self.things)
        return next((number for number, state in enumerate(self.states) if state == now), None)


def only(world: World, things: Iterable[str]) -> World:
    """The named things of a world that are there."""
    return {name: world[name] for name in sorted(things) if name in world}


def next_call(problem: Problem, world: World, made: Sequence[Call], every: Iterable[Call]) -> Call | None:
    """What an expert calls now, None where there is nothing left to do, or nothing that helps.

    It asks for what it needs to know before it acts on it, so that a policy can learn the same from what it sees.
    What went wrong it undoes where one call can.

    Args:
        problem: the task. world: as it is now. made: the calls so far. every: all calls that there are.
    """
    stages = [path.stage(world) for path in problem.paths]
    if None in stages:
        return next((call for call in every if _mends(problem, world, call, stages)), None)
    for path, stage in zip(problem.paths, stages, strict=True):
        assert stage is not None
        for call in path.segments[stage]:
            if call not in made or call == path.segments[stage][-1]:
                return call
    return None


def _mends(problem: Problem, world: World, call: Call, stages: Sequence[int | None]) -> bool:
    after = problem.after(world, call)
    found = [path.stage(after) for path in problem.paths]
    return all(now is not None and (was is None or now == was) for was, now in zip(stages, found, strict=True))


def call_of(tool: str, **arguments: Any) -> Call:
    """A call, in short."""
    return Call(tool, dict(arguments))


def named(things: Mapping[str, Mapping[str, Any]], **fields: Any) -> str:
    """The name of the thing with these fields.

    Raises:
        ToolError: there is none.
    """
    for name, thing in things.items():
        if all(thing.get(key) == value for key, value in fields.items()):
            return name
    raise ToolError(f"found nothing with {', '.join(f'{key} {value}' for key, value in fields.items())}")
