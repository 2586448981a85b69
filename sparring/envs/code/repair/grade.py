"""What a repaired repository is worth: hidden tests, in places that the agent's processes have never been in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sparring.envs.code.grading import Grader
from sparring.envs.code.repair.repository import RepositoryTask, file_entries
from sparring.envs.sandbox import FileTree, Sandbox
from sparring.envs.sandbox.forkserver import Grade

_MOST_SOURCE = 4 << 20
_PAGE = 4096

# Modules are found in a dictionary, not on a disk; the functions that tests call become global.
_LOADER = """\
import importlib, importlib.abc, importlib.util, sys
_FILES = {files!r}
class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name in _FILES:
            return importlib.util.spec_from_loader(name, self, origin=_FILES[name][0], is_package=_FILES[name][1])
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        path, _, text = _FILES[module.__name__]
        exec(compile(text, path, "exec"), module.__dict__)
sys.meta_path.insert(0, _Finder())
"""


def by_values(task: RepositoryTask, tree: FileTree, grader: Grader) -> float:
    """The share of required tests that pass, 0 where one that passed before fails now.

    The repository's modules run in a fork server; tests call their functions from another process there, which the
    modules can neither read nor answer for.
    """
    tests = (*task.required, *task.kept)
    grade = grader.grade(loader(task, tree), tests, list(task.functions))
    return score(task, grade)


def score(task: RepositoryTask, grade: Grade) -> float:
    """The score of a grade of the required tests and then the kept ones."""
    required, kept = grade.outcomes[: len(task.required)], grade.outcomes[len(task.required) :]
    if not all(one.passed for one in kept):
        return 0.0
    return sum(one.passed for one in required) / len(required)


def loader(task: RepositoryTask, tree: FileTree) -> str:
    """A program that holds the repository's modules and defines the functions that tests call."""
    files, size = {}, 0
    for file in tree.files:
        if file.kind != "file" or not file.path.endswith(".py"):
            continue
        size += len(file.data)
        if size <= _MOST_SOURCE:
            name = file.path.removesuffix(".py").replace("/", ".")
            is_package = name.endswith(".__init__")
            files[name.removesuffix(".__init__")] = (file.path, is_package, file.data.decode("utf-8", "replace"))
    lines = [_LOADER.format(files=files)]
    for name, place in task.functions.items():
        module, _, function = place.partition(":")
        lines.append(f"{name} = getattr(importlib.import_module({module!r}), {function!r})")
    return "\n".join(lines) + "\n"


def by_commands(task: RepositoryTask, tree: FileTree, sandbox: Sandbox, timeout_s: float) -> float:
    """The share of commands that end with status 0.

    Before each, every process is killed, and the workspace is emptied and filled with what the agent left and the
    test files, written anew. A command's tests share a process with the code that they test.
    """
    whole = with_tests(tree, task.test_files)
    if sum(-len(file.data) // _PAGE * -_PAGE for file in whole.files) > sandbox.limits.disk_bytes:
        return 0.0  # the agent has left no room for the tests
    passed = 0
    for command in task.commands:
        sandbox.restore(whole)
        passed += sandbox.run(command, timeout_s).ok
    return passed / len(task.commands)


def with_tests(tree: FileTree, test_files: Mapping[str, str]) -> FileTree:
    """A workspace with test files in their places, without what an agent put there, or in the way to there."""
    files = {file.path: file for file in file_entries(test_files)}
    for file in tree.files:
        over = files.get(file.path)
        if over is not None:
            if over.kind == file.kind == "folder":
                files[file.path] = replace(file, mode=file.mode | 0o700)
        elif all(files[above].kind == "folder" for above in _above(file.path) if above in files):
            files[file.path] = file
    return FileTree(tuple(sorted(files.values(), key=lambda file: file.path.split("/"))))


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]
