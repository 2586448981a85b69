"""Repositories from a file of one's own: one JSON object a line, after the manner of SWE-bench.

    {"id": "acme/1", "prompt": "total() is wrong for empty carts.", "files": {"shop/cart.py": "def total(items): …"},
     "test_files": {"tests/test_hidden.py": "…"}, "commands": ["python3 -m unittest tests.test_hidden"]}

| Field | |
|---|---|
| `id` | a text, unique in the file |
| `prompt` | what is wrong or wanted |
| `files` | the repository: text by relative path, over what the environment's `folder` holds |
| `commands` | the hidden tests: shell commands, of which each passes that ends with status 0 |
| `test_files` | optional: text by relative path, written over the agent's files before each command |
| `functions` | instead of `commands`: `module:function` by the name under which tests call it |
| `required`, `kept` | with `functions`: tests by values that fail before (at least one), and that passed already |
| `patch` | optional: a shell command that mends it, which makes an expert |
| `split` | optional: `train`, `dev` or `test`, which is the default |

Tests of `commands` share a process with the agent's code, which can fool them if it sets out to; tests by values can't
be fooled. The file is untrusted: its paths lie in the sandbox's workspace, and the folder is the user's choice alone.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparring.envs.code.jsonl import choice, refuse_unknown, rows, text, texts
from sparring.envs.code.repair.repository import RepositoryTask
from sparring.envs.text.seeded_tasks import SPLITS
from sparring.errors import InvalidData

_FIELDS = (
    "id", "prompt", "files", "commands", "test_files", "functions", "required", "kept", "patch", "split",
)  # fmt: skip
_MOST_BYTES = 32 << 20
_MOST_FILES = 5_000


class FileRepositories:
    """The tasks of a .jsonl file.

    Args:
        path: the file.
        folder: a folder whose text files every repository begins with; links in it are left out.
    Raises:
        InvalidData: file or folder can't be read; the message names the line and the field.
    """

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        base = _read(folder) if folder is not None else {}
        self._tasks: dict[str, RepositoryTask] = {}
        self._ids: dict[str, list[str]] = {}
        for where, row in rows(path):
            task, split = _task(row, base, where), choice(row, "split", SPLITS, "test", where)
            if task.id in self._tasks:
                raise InvalidData(f'{where}: the id "{task.id}" is there twice; ids are unique in a file')
            self._tasks[task.id] = task
            self._ids.setdefault(split, []).append(task.id)
        self.splits = tuple(split for split in SPLITS if split in self._ids)

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split, in the file's order."""
        return self._ids[split]

    def task(self, id: str) -> RepositoryTask:
        """A task by its id."""
        return self._tasks[id]


def _task(row: Mapping[str, Any], base: Mapping[str, str], where: str) -> RepositoryTask:
    refuse_unknown(row, _FIELDS, where)
    commands, functions = texts(row, "commands", where), _functions(row, where)
    required = texts(row, "required", where)
    if bool(commands) == bool(functions):
        raise InvalidData(f'{where}: hidden tests are "commands", or "functions" with "required": one of them')
    if functions and not required:
        raise InvalidData(f'{where}: "required" must hold at least one test, for they decide')
    files = {**base, **_files(row, "files", where)}
    if not files:
        raise InvalidData(f'{where}: "files" must hold at least one file where the environment is given no folder')
    return RepositoryTask(
        text(row, "id", where),
        text(row, "prompt", where),
        files,
        functions=functions,
        required=tuple(required),
        kept=tuple(texts(row, "kept", where)),
        test_files=_files(row, "test_files", where),
        commands=tuple(commands),
        patch=text(row, "patch", where) if row.get("patch") else "",
    )


def _functions(row: Mapping[str, Any], where: str) -> dict[str, str]:
    found = row.get("functions", {})
    if not isinstance(found, dict):
        raise InvalidData(f'{where}: "functions" must give "module:function" by name, got {str(found)[:40]!r}')
    for name, place in found.items():
        module, _, function = place.partition(":") if isinstance(place, str) else ("", "", "")
        parts = [name, function, *module.split(".")]
        if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
            raise InvalidData(f'{where}: "functions" must give "module:function" by name, got {name!r}: {place!r}')
    return dict(found)


def _files(row: Mapping[str, Any], name: str, where: str) -> dict[str, str]:
    found = row.get(name, {})
    if not isinstance(found, dict):
        raise InvalidData(f'{where}: "{name}" must give texts by path, got {str(found)[:40]!r}')
    for path, content in found.items():
        _require_plain(path, f'{where}: "{name}"')
        if not isinstance(content, str) or any("\ud800" <= one <= "\udfff" for one in content):
            raise InvalidData(f'{where}: "{name}" must hold a text for {path!r}')
    for path in found:
        above = [parent for parent in found if path.startswith(f"{parent}/")]
        if above:
            raise InvalidData(f'{where}: "{name}" has {above[0]!r} both as a file and as the folder of {path!r}')
    return dict(found)


def _require_plain(path: str, where: str) -> None:
    parts = path.split("/")
    if len(parts) > 16 or any(part in ("", ".", "..") or len(part) > 200 or not part.isprintable() for part in parts):
        raise InvalidData(f"{where}: a path is relative, plain and without `..`, got {path[:80]!r}")


def _read(folder: Path) -> dict[str, str]:
    """The text files of a folder by path; links and files that are no text are left out."""
    if not folder.is_dir():
        raise InvalidData(f"{folder} is no folder; name the one that every repository begins with")
    found: dict[str, str] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or ".git" in path.relative_to(folder).parts:
            continue
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        size += len(content)
        if size > _MOST_BYTES or len(found) >= _MOST_FILES:
            raise InvalidData(f"{folder} holds more than {_MOST_BYTES:,} bytes or {_MOST_FILES:,} files")
        found[path.relative_to(folder).as_posix()] = content
    return found
