"""Bugs and generated repositories, without running anything."""

from __future__ import annotations

import ast
import shlex
from collections import Counter

import pytest

from sparring.envs.code.repair.cases import CASES
from sparring.envs.code.repair.generate import IMPORTS, MODULES, GeneratedRepositories, bugs, expected, source
from sparring.envs.code.repair.mutate import mutations
from sparring.envs.code.repair.repository import file_entries

SOURCE = '''\
def f(a, b):
    """Text with a < b, which is no code."""
    total = 0
    while a < b and not total > 9:  # a comment
        total += max(a, b) * 2
    return total
'''


def test_the_bugs_of_a_function() -> None:
    found = {(one.kind, one.before, one.after) for one in mutations(SOURCE, "f")}
    assert found >= {
        ("constant", "0", "1"),
        ("comparison", "<", "<="),
        ("boolean", "and", "or"),
        ("boolean", "not total > 9", "total > 9"),
        ("comparison", ">", ">="),
        ("constant", "9", "8"),
        ("statement", "total += max(a, b) * 2", "pass"),
        ("call", "max", "min"),
        ("arguments", "a, b", "b, a"),
        ("name", "a", "b"),
        ("arithmetic", "*", "+"),
        ("condition", "a < b and not total > 9", "not (a < b and not total > 9)"),
    }


@pytest.mark.parametrize("name", CASES)
def test_every_bug_is_python_and_undone_byte_by_byte(name: str) -> None:
    module, _, function = name.partition(".")
    for one in mutations(source(module), function):
        broken = one.apply(source(module))
        assert broken != source(module) and one.undo(broken) == source(module)
        assert broken.count("\n") == source(module).count("\n")
        ast.parse(broken)


def test_every_function_of_the_library_has_cases() -> None:
    for module in MODULES:
        functions = [node.name for node in ast.parse(source(module)).body if isinstance(node, ast.FunctionDef)]
        assert [f"{module}.{one}" for one in functions] == [name for name in CASES if name.startswith(f"{module}.")]
        imports = [node for node in ast.parse(source(module)).body if isinstance(node, ast.ImportFrom)]
        assert tuple(node.module for node in imports if node.level) == IMPORTS.get(module, ())
    assert all(len(expected(name)) == len(CASES[name]) >= 4 for name in CASES)


def test_bugs_on_record_are_bugs_of_the_library_as_it_is_now() -> None:
    kinds: Counter[str] = Counter()
    for bug in bugs().values():
        assert bug.mutation in mutations(source(bug.module), bug.function)
        own = bug.failing[f"{bug.module}.{bug.function}"]
        assert 2 <= len(own) < len(CASES[f"{bug.module}.{bug.function}"])
        kinds[bug.mutation.kind] += 1
    assert len(bugs()) > 300 and len(kinds) == 9 and min(kinds.values()) > 10


def test_splits_share_no_broken_function() -> None:
    tasks = GeneratedRepositories()
    broken = {split: {id.partition("/")[0] for id in tasks.task_ids(split)} for split in tasks.splits}
    assert not broken["train"] & broken["test"] and not broken["train"] & broken["dev"] | broken["dev"] & broken["test"]
    assert sum(len(tasks.task_ids(split)) for split in tasks.splits) == len(bugs())


def test_a_repository_is_whole_and_its_bug_shows_in_a_visible_test() -> None:
    tasks = GeneratedRepositories()
    for split in tasks.splits:
        for id in tasks.task_ids(split)[::5]:
            task, bug = tasks.task(id), bugs()[id]
            modules = {path[4:-3] for path in task.files if path.startswith("app/")} - {"__init__"}
            assert {bug.module, *(need for one in modules for need in IMPORTS.get(one, ()))} <= modules
            assert task.required and len(modules) >= 3
            for path, text in task.files.items():
                if path.endswith(".py"):
                    ast.parse(text)
            name = f"{bug.module}.{bug.function}"
            arguments = ", ".join(map(repr, CASES[name][bug.failing[name][0]]))
            assert f"{bug.function}({arguments})" in task.files[f"tests/test_{bug.module}.py"]
            assert shlex.split(task.patch)[:2] == ["sed", "-i"]


def test_folders_come_before_what_lies_in_them() -> None:
    paths = [one.path for one in file_entries({"b/c/d.py": "", "a.py": "", "b/a.py": ""})]
    assert paths == ["a.py", "b", "b/a.py", "b/c", "b/c/d.py"]
