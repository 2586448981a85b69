"""Generated tasks: functions of a list of numbers, put together of one to four steps (`steps`).

A task's tests single its function out among all that its loose words allow, each of its steps matters, and functions
that behave alike belong to one split, however they are written. Hidden tests use other lists than visible ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from sparring.envs.code.steps import HEAD, STEPS, TOKENS, Line, Program, code, run, siblings
from sparring.envs.code.tasks import OPEN, FunctionTask
from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, draw_world, seed_of
from sparring.errors import InvalidConfig
from sparring.types import Form

Words = Literal["exact", "loose", "none"]

_VISIBLE, _HIDDEN = 3, 8
_MOST_STEPS = 4
_TRIES = 200
_TOKENS = (Form(HEAD, "", TOKENS),)
# What behaviour is told by: lists of every length, drawn once for all.
_PROBES = [
    np.random.default_rng(number).integers(10, size=number % 8).tolist() for number in range(24)
]  # fmt: skip


class GeneratedTasks:
    """The tasks of `sparring/CodeFunctions-v1`; see `CodeFunctions` for the arguments.

    Raises:
        InvalidConfig: a setting outside what is allowed.
    """

    splits = SPLITS

    def __init__(
        self,
        words: Words = "exact",
        show_tests: bool = True,
        programs: Literal["open", "tokens"] = "open",
        *,
        min_depth: int = 1,
        max_depth: int = 3,
        counts: tuple[int, int, int] = (10_000, 1_000, 1_000),
    ) -> None:
        if words not in get_args(Words):
            raise InvalidConfig(f"words must be one of {', '.join(get_args(Words))}, got {words!r}")
        if programs not in ("open", "tokens"):
            raise InvalidConfig(f"programs must be open or tokens, got {programs!r}")
        if not 1 <= min_depth <= max_depth <= _MOST_STEPS:
            raise InvalidConfig(
                f"depths go from 1 to {_MOST_STEPS}, the least first, got min_depth {min_depth} and max_depth "
                f"{max_depth}"
            )
        self._words, self._show_tests = words, show_tests
        self._depths = range(min_depth, max_depth + 1)
        self.forms = _TOKENS if programs == "tokens" else OPEN
        self._as_tokens = programs == "tokens"
        self._splits = SeededSplits(*counts)
        self.task = lru_cache(256)(self._task)

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split: `train/17`."""
        return self._splits.tasks(split)

    def write(self, task: FunctionTask) -> str:
        """The solution as an action."""
        return task.solution.strip() if self._as_tokens else f"write {task.solution.strip()}"

    def program(self, id: str) -> Program:
        """The function of a task."""
        return draw_world(id, self._draw, lambda program: repr(_behaviour(program)))

    def _task(self, id: str) -> FunctionTask:
        program = self.program(id)
        inputs = _inputs(program, np.random.default_rng([seed_of(id), 1]))
        tests = [_test(program, numbers) for numbers in inputs]
        return FunctionTask(
            id,
            self._instruction(program, inputs[:_VISIBLE]),
            ("f",),
            tuple(tests[:_VISIBLE]),
            tuple(tests[_VISIBLE:]),
            code(program) + "\n",
            depth=len(program),
        )

    def _instruction(self, program: Program, shown: Sequence[Sequence[int]]) -> str:
        said = {
            "exact": [line.filled(line.step.exact) for line in program],
            "loose": [line.step.loose for line in program],
            "none": ["find out from the tests"],
        }[self._words]
        text = f"Write f(x) for a list x of numbers: {', then '.join(said)}."
        if self._show_tests:
            text += "".join(f"\nf({list(numbers)}) == {run(program, numbers)}" for numbers in shown)
        return text

    def _draw(self, rng: np.random.Generator) -> Program:
        """A function each of whose steps matters."""
        depth = self._depths[int(rng.integers(len(self._depths)))]
        for _ in range(_TRIES):
            program = tuple(_line(rng, last=at == depth - 1) for at in range(depth))
            if _matters(program):
                return program
        raise InvalidConfig(f"no function of {depth} steps was found")  # never seen: about every second draw is one


def _line(rng: np.random.Generator, *, last: bool) -> Line:
    """A step, its family drawn first, so that kinds with many numbers are no more frequent."""
    families = sorted({step.family for step in STEPS if last or not step.ends})
    family = families[int(rng.integers(len(families)))]
    kinds = [step for step in STEPS if step.family == family]
    step = kinds[int(rng.integers(len(kinds)))]
    return Line(step, step.numbers[int(rng.integers(len(step.numbers)))])


@lru_cache(50_000)
def _behaviour(program: Program) -> tuple[object, ...]:
    return tuple(repr(run(program, numbers)) for numbers in _PROBES)


def _matters(program: Program) -> bool:
    """Whether the function differs from each that leaves one step out."""
    if any(line.step.ends for line in program[:-1]):
        return False
    ours = _behaviour(program)
    shorter = [program[:at] + program[at + 1 :] for at in range(len(program))]
    return len(set(ours)) > 2 and all(_behaviour(one) != ours for one in shorter)


def _inputs(program: Program, rng: np.random.Generator) -> list[list[int]]:
    """Lists for visible and hidden tests, all different; the visible ones leave as few siblings as can be."""
    rivals = [one for one in siblings(program) if _behaviour(one) != _behaviour(program)]
    best: list[list[int]] = []
    fewest = len(rivals) + 1
    for attempt in range(_TRIES):
        longest = 5 if attempt < _TRIES // 2 else 9  # some functions leave nothing of short lists
        drawn = [rng.integers(10, size=int(rng.integers(3, longest + 1))).tolist() for _ in range(_VISIBLE)]
        alike = sum(all(run(one, x) == run(program, x) for x in drawn) for one in rivals)
        if alike < fewest and len({tuple(one) for one in drawn}) == _VISIBLE:
            best, fewest = drawn, alike
        if not fewest:
            break
    seen = {tuple(one) for one in best}
    while len(best) < _VISIBLE + _HIDDEN:
        numbers = rng.integers(10, size=int(rng.integers(0, 8))).tolist()
        if tuple(numbers) not in seen:
            seen.add(tuple(numbers))
            best.append(numbers)
    return best


def _test(program: Program, numbers: Sequence[int]) -> str:
    expected = run(program, numbers)
    said = f"f({list(numbers)}) should be {expected}, got"
    return f"got = f({list(numbers)})\nassert got == {expected}, '{said} ' + repr(got)[:200]"
