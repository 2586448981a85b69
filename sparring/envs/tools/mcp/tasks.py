"""Tasks for the tools of a server: a JSON Lines file of what is asked for and how the end is checked.

    {"id": "milk", "split": "train", "instruction": "Note that milk is needed.",
     "setup": [{"tool": "clear", "arguments": {}}],
     "checks": [{"tool": "list_notes", "arguments": {}, "result": "[\\"milk\\"]"}]}

`setup` are calls before the agent begins. At the end each of `checks` must return its `result`, and what the agent said
last must hold `answer`, where a task has one. A task names tools and never programs: what is run is the user's setting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparring.envs.tools.calls import Call
from sparring.errors import InvalidData

SPLITS = ("train", "dev", "test")
_KEYS = {"id", "split", "instruction", "setup", "checks", "answer"}


@dataclass(frozen=True, slots=True)
class Check:
    """A call and the result that it must return."""

    call: Call
    result: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task: see the module's table of keys."""

    id: str
    split: str
    instruction: str
    setup: tuple[Call, ...] = ()
    checks: tuple[Check, ...] = ()
    answer: str | None = None


def read_tasks(path: Path) -> dict[str, Task]:
    """Read a file of tasks, by their ids.

    Raises:
        InvalidData: a line that is no task; the message says which and why.
    """
    found: dict[str, Task] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InvalidData(f"the tasks {path} can't be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            task = _task(json.loads(line))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InvalidData(f"{path}, line {number} is no task: {type(error).__name__}: {error}") from error
        if task.id in found:
            raise InvalidData(f"{path}, line {number}: there are two tasks {task.id!r}")
        found[task.id] = task
    if not found:
        raise InvalidData(f"{path} holds no task")
    return found


def _task(row: Any) -> Task:
    if not isinstance(row, dict) or not row.keys() <= _KEYS:
        raise ValueError(f"expected an object with {', '.join(sorted(_KEYS))}, got {str(row)[:60]}")
    split = row.get("split", SPLITS[0])
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    checks = tuple(Check(_call(one), _text(one, "result")) for one in row.get("checks", []))
    answer = None if row.get("answer") is None else _text(row, "answer")
    if not checks and answer is None:
        raise ValueError("a task needs checks or an answer, or nothing tells whether it is solved")
    setup = tuple(map(_call, row.get("setup", [])))
    return Task(_text(row, "id"), split, _text(row, "instruction"), setup, checks, answer)


def _call(row: Mapping[str, Any]) -> Call:
    arguments = row.get("arguments", {})
    if not isinstance(arguments, dict):
        raise ValueError(f"arguments must be an object, got {str(arguments)[:40]}")
    return Call(_text(row, "tool"), arguments)


def _text(row: Mapping[str, Any], key: str) -> str:
    if not isinstance(row[key], str) or not row[key]:
        raise ValueError(f'"{key}" must be a string that is not empty, got {str(row[key])[:40]!r}')
    return str(row[key])
