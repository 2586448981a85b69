"""Generated repositories: a few modules of the library with tests, one of them with a bug.

`bugs.json` lists the bugs. Each was proven in the sandbox: tests that pass on the library fail with it, and pass again
once it is undone (`python -m sparring.envs.code.repair.prove` writes the file anew, and a test checks it). Splits
differ in the functions that are broken: no function with a bug in `test` has one in `train`. The modules around are
the same.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import numpy as np

from sparring.envs.code.repair.cases import CASES
from sparring.envs.code.repair.mutate import Mutation
from sparring.envs.code.repair.repository import RepositoryTask
from sparring.envs.sandbox.surroundings import WORKSPACE
from sparring.envs.text.seeded_tasks import SPLITS

_LIBRARY = "sparring.envs.code.repair.library"
_PACKAGE = "app"
_MODULES = 3  # at least so many in a repository, with those that they import
_SHOWN = 2  # cases of each function in the visible tests

MODULES = tuple(sorted({name.partition(".")[0] for name in CASES}))
IMPORTS: Mapping[str, tuple[str, ...]] = {
    "cart": ("money",),
    "schedule": ("intervals",),
    "ranking": ("statistic",),
}
"""Which modules of the library a module imports."""

_INSTRUCTION = (
    "This repository has a bug, and some of its tests fail. Mend the code in app/. Commands are run by bash; "
    "`python3 run_tests.py` runs the tests. When you are done, say submit: hidden tests decide."
)
_RUN_TESTS = """\
\"\"\"Run all tests: python3 run_tests.py\"\"\"

import io
import re
import sys
import unittest

report = io.StringIO()
result = unittest.TextTestRunner(report).run(unittest.defaultTestLoader.discover("tests"))
print(re.sub(r" in [0-9.]+s", "", report.getvalue()).strip())
sys.exit(not result.wasSuccessful())
"""


@dataclass(frozen=True, slots=True)
class Bug:
    """A proven bug.

    Attributes:
        module, function: where. mutation: what.
        failing: which cases of which functions of the library it fails, by `module.function`.
    """

    module: str
    function: str
    mutation: Mutation
    failing: Mapping[str, tuple[int, ...]]


@cache
def source(module: str) -> str:
    """The text of a module of the library."""
    return resources.files(_LIBRARY).joinpath(f"{module}.py").read_text(encoding="utf-8")


@cache
def expected(name: str) -> tuple[Any, ...]:
    """What is right for each case of `module.function`."""
    module, _, function = name.partition(".")
    right = getattr(importlib.import_module(f"{_LIBRARY}.{module}"), function)
    return tuple(right(*copy.deepcopy(arguments)) for arguments in CASES[name])


@cache
def bugs() -> Mapping[str, Bug]:
    """All bugs by the ids of their tasks: `money.split_evenly/3`."""
    rows = json.loads(resources.files("sparring.envs.code.repair").joinpath("bugs.json").read_text(encoding="utf-8"))
    found: dict[str, Bug] = {}
    numbers: dict[str, int] = {}
    for row in rows:
        name = f"{row['module']}.{row['function']}"
        numbers[name] = numbers.get(name, 0) + 1
        mutation = Mutation(row["kind"], row["start"], row["before"], row["after"])
        failing = {one: tuple(cases) for one, cases in row["failing"].items()}
        found[f"{name}/{numbers[name]}"] = Bug(row["module"], row["function"], mutation, failing)
    return found


@cache
def _splits() -> Mapping[str, tuple[str, ...]]:
    """Ids by split: of ten functions eight are broken in `train`, one in `dev`, one in `test`, by a hash of names."""
    functions = sorted(
        {id.partition("/")[0] for id in bugs()}, key=lambda one: hashlib.sha256(one.encode()).hexdigest()
    )
    tenth = -(-len(functions) // 10)
    kept = {"test": functions[:tenth], "dev": functions[tenth : 2 * tenth], "train": functions[2 * tenth :]}
    return {split: tuple(id for id in bugs() if id.partition("/")[0] in names) for split, names in kept.items()}


class GeneratedRepositories:
    """The tasks of `sparring/RepositoryRepair-v1`."""

    splits = SPLITS

    def __init__(self) -> None:
        self.task = lru_cache(64)(self._task)

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split."""
        return _splits()[split]

    def _task(self, id: str) -> RepositoryTask:
        bug = bugs()[id]
        modules = _companions(id, bug.module)
        names = [name for name in CASES if name.partition(".")[0] in modules]
        required = [(name, case) for name in names for case in bug.failing.get(name, ())]
        kept = [(name, case) for name in names for case in range(len(CASES[name])) if (name, case) not in required]
        files = {f"{_PACKAGE}/{module}.py": source(module) for module in modules}
        files[f"{_PACKAGE}/{bug.module}.py"] = bug.mutation.apply(source(bug.module))
        files |= {f"tests/test_{module}.py": _visible_tests(module, bug) for module in modules}
        files |= {f"{_PACKAGE}/__init__.py": "", "tests/__init__.py": "", "run_tests.py": _RUN_TESTS}
        return RepositoryTask(
            id,
            _INSTRUCTION,
            files,
            functions={name.replace(".", "_"): f"{_PACKAGE}.{name.replace('.', ':')}" for name in names},
            required=tuple(value_test(*one) for one in required),
            kept=tuple(value_test(*one) for one in kept),
            patch=_patch(bug),
            cluster=f"{bug.module}.{bug.function}",
        )


def value_test(name: str, case: int) -> str:
    """The test of a case by values, where `module.function` is called `module_function`."""
    arguments = ", ".join(map(repr, CASES[name][case]))
    return f"assert {name.replace('.', '_')}({arguments}) == {expected(name)[case]!r}"


def _companions(id: str, module: str) -> tuple[str, ...]:
    """The modules of a task's repository: the broken one, what it imports and what imports it, and others."""
    rng = np.random.default_rng(list(hashlib.sha256(id.encode()).digest()[:8]))
    chosen = {module, *IMPORTS.get(module, ()), *(one for one, needs in IMPORTS.items() if module in needs)}
    for pick in rng.permutation(len(MODULES)):
        if len(chosen) >= _MODULES:
            break
        chosen |= {MODULES[pick], *IMPORTS.get(MODULES[pick], ())}
    return tuple(sorted(chosen))


def _visible_tests(module: str, bug: Bug) -> str:
    """The visible tests of a module: some cases of each function, among them one that the bug fails where one does."""
    names = [name for name in CASES if name.startswith(f"{module}.")]
    functions = sorted(name.partition(".")[2] for name in names)
    lines = ["import unittest", "", f"from {_PACKAGE}.{module} import {', '.join(functions)}", "", ""]
    lines += [f"class Test{module.title().replace('_', '')}(unittest.TestCase):"]
    for name in names:
        function = name.partition(".")[2]
        for number, case in enumerate(_shown(len(CASES[name]), bug.failing.get(name, ())), 1):
            arguments = ", ".join(map(repr, CASES[name][case]))
            lines += [
                f"    def test_{function}_{number}(self):",
                f"        self.assertEqual({function}({arguments}), {expected(name)[case]!r})",
                "",
            ]
    return "\n".join(lines)


def _shown(count: int, failing: Sequence[int]) -> list[int]:
    passing = [case for case in range(count) if case not in failing]
    return sorted([*failing[:1], *passing][:_SHOWN])


def _patch(bug: Bug) -> str:
    """A command that puts the line back as it was."""
    right = source(bug.module)
    number = right.count("\n", 0, bug.mutation.start)
    line = right.split("\n")[number].replace("\\", "\\\\")
    script = f"{number + 1}c\\\n{line}"
    return f"sed -i {shlex.quote(script)} {WORKSPACE}/{_PACKAGE}/{bug.module}.py"
