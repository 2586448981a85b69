"""Tasks from a file of one's own: one JSON object a line, after the manner of MBPP.

    {"id": "mbpp/11", "prompt": "Write a function to remove first and last …", "entry_point": "remove_Occ",
     "tests": ["assert remove_Occ('hello', 'l') == 'heo'"],
     "hidden_tests": ["assert remove_Occ('abcda', 'a') == 'bcd'"],
     "solution": "def remove_Occ(s, ch): …", "split": "test", "check": "values"}

| Field | |
|---|---|
| `id` | a text, unique in the file |
| `prompt` | what is to be written |
| `entry_point` | the function that the tests call, or a list of them |
| `tests` | the visible tests, Python source each; may be empty |
| `hidden_tests` | those that decide, at least one |
| `solution` | optional: a right program, which makes an expert |
| `split` | optional: `train`, `dev` or `test`, which is the default |
| `check` | optional: `values` (default) or `script`; see `FunctionTask` |

The file is untrusted: nothing in it names a path, and its sources run in a sandbox alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from sparring.envs.code.tasks import OPEN, Check, FunctionTask
from sparring.envs.text.seeded_tasks import SPLITS
from sparring.errors import InvalidData

_MOST_BYTES = 1 << 30
_FIELDS = ("id", "prompt", "entry_point", "tests", "hidden_tests", "solution", "split", "check")


class FileTasks:
    """The tasks of a .jsonl file.

    Raises:
        InvalidData: the file can't be read; the message names the line and the field.
    """

    forms = OPEN

    def __init__(self, path: Path) -> None:
        self._tasks: dict[str, FunctionTask] = {}
        self._ids: dict[str, list[str]] = {}
        for where, row in rows(path):
            task, split = _task(row, where), choice(row, "split", SPLITS, "test", where)
            if task.id in self._tasks:
                raise InvalidData(f'{where}: the id "{task.id}" is there twice; ids are unique in a file')
            self._tasks[task.id] = task
            self._ids.setdefault(split, []).append(task.id)
        self.splits = tuple(split for split in SPLITS if split in self._ids)

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split, in the file's order."""
        return self._ids[split]

    def task(self, id: str) -> FunctionTask:
        """A task by its id."""
        return self._tasks[id]

    def write(self, task: FunctionTask) -> str:
        """The solution as an action."""
        return f"write\n{task.solution}"


def _task(row: Mapping[str, Any], where: str) -> FunctionTask:
    refuse_unknown(row, _FIELDS, where)
    names = row.get("entry_point")
    functions = [names] if isinstance(names, str) else names
    if not (isinstance(functions, list) and functions and all(map(_is_name, functions))):
        raise InvalidData(f'{where}: "entry_point" must be the name of a function, or a list of names, got {names!r}')
    hidden = texts(row, "hidden_tests", where)
    if not hidden:
        raise InvalidData(f'{where}: "hidden_tests" must hold at least one test, for they decide')
    return FunctionTask(
        text(row, "id", where),
        text(row, "prompt", where),
        tuple(functions),
        tuple(texts(row, "tests", where)),
        tuple(hidden),
        text(row, "solution", where) if row.get("solution") else "",
        cast(Check, choice(row, "check", get_args(Check), "values", where)),
    )


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier()


def rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a .jsonl file, each with where it stands.

    Raises:
        InvalidData: there is no such file, it is empty, or a line is no JSON object.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InvalidData(f"{path} has more than {_MOST_BYTES:,} bytes; divide it")
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidData(f"{path} can't be read as a file of tasks, one JSON object a line: {error}") from error
    found = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidData(f"{where} is no JSON object: {error}") from error
        if not isinstance(row, dict):
            raise InvalidData(f"{where} must be a JSON object, got {line[:40]!r}")
        found = True
        yield where, row
    if not found:
        raise InvalidData(f"{path} holds no task; each line is one JSON object")


def refuse_unknown(row: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise `InvalidData` for a field that nobody reads: most often a misspelt one."""
    for name in row:
        if name not in known:
            raise InvalidData(f'{where}: there is no field "{name}". Known: {", ".join(known)}')


def text(row: Mapping[str, Any], name: str, where: str) -> str:
    """A text field that must be there.

    Raises:
        InvalidData: it is not, or is no text, or holds halves of characters.
    """
    value = row.get(name)
    if not (isinstance(value, str) and value.strip()):
        raise InvalidData(f'{where}: "{name}" must be a text, got {str(value)[:40]!r}')
    if any("\ud800" <= one <= "\udfff" for one in value):
        raise InvalidData(f'{where}: "{name}" holds half a surrogate pair')
    return value


def texts(row: Mapping[str, Any], name: str, where: str) -> list[str]:
    """A list of texts, which may be empty.

    Raises:
        InvalidData: it is none.
    """
    value = row.get(name, [])
    if not isinstance(value, list):
        raise InvalidData(f'{where}: "{name}" must be a list of texts, got {str(value)[:40]!r}')
    return [text({name: one}, name, where) for one in value]


def choice(row: Mapping[str, Any], name: str, known: Sequence[str], default: str, where: str) -> str:
    """A field with few possible values.

    Raises:
        InvalidData: it holds another.
    """
    value = row.get(name, default)
    if value not in known:
        raise InvalidData(f'{where}: "{name}" must be one of {", ".join(known)}, got {str(value)[:40]!r}')
    return str(value)
