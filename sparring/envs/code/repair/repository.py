"""What a repository with a bug is: files, what is asked, and what decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sparring.envs.sandbox import File, FileTree


@dataclass(frozen=True, slots=True)
class RepositoryTask:
    """A repository to be repaired. What decides is one of two: tests by values, or commands.

    Attributes:
        id, instruction: as everywhere.
        files: text by path.
        functions: for tests by values, `module:function` by the name that tests call it by.
        required: tests (Python source) that the bug fails; the score is the share of them that pass.
        kept: tests that passed before; a score above 0 needs all of them.
        test_files: text by path, written over whatever the agent left before each command.
        commands: shell text; a hidden test passes where one ends with status 0.
        patch: a shell command that mends it, empty where none is known.
        cluster: what it shares with others, empty for nothing.
    """

    id: str
    instruction: str
    files: Mapping[str, str]
    functions: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    test_files: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    patch: str = ""
    cluster: str = ""

    @property
    def tree(self) -> FileTree:
        """The files as a workspace."""
        return FileTree(file_entries(self.files))


def file_entries(files: Mapping[str, str]) -> tuple[File, ...]:
    """The entries of files, each after the folders that it lies in."""
    entries: dict[str, File] = {}
    for path, content in sorted(files.items()):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            entries.setdefault(folder, File(folder, "folder", 0o755))
        entries[path] = File(path, "file", 0o644, content.encode())
    return tuple(entries.values())


class RepositoryTasks(Protocol):
    """A set of tasks in splits, each of which has at least one."""

    @property
    def splits(self) -> tuple[str, ...]: ...

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split, in a stable order."""
        ...

    def task(self, id: str) -> RepositoryTask:
        """A task by its id, which is one of `task_ids`."""
        ...
