"""Write `bugs.json` anew: make every mutation of the library, and keep those that tests find.

    python -m sparring.envs.code.repair.prove

A bug is kept where it fails at least two cases of its own function, so that one can be shown and another be hidden,
and leaves at least one passing; one that makes an endless loop is not, since how far its tests come would depend on the
machine. Runs in the sandbox.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sparring.envs.code.grading import Grader
from sparring.envs.code.repair.cases import CASES
from sparring.envs.code.repair.generate import MODULES, source, value_test
from sparring.envs.code.repair.grade import loader
from sparring.envs.code.repair.mutate import Mutation, mutations
from sparring.envs.code.repair.repository import RepositoryTask, file_entries
from sparring.envs.sandbox import FileTree

_FUNCTIONS = {name.replace(".", "_"): f"app.{name.replace('.', ':')}" for name in CASES}
_TESTS = [(name, case) for name in CASES for case in range(len(CASES[name]))]
_LEAST = 2
_TIMEOUT_S = 8.0  # a right library takes a hundredth of it
_MOST_PER_FUNCTION = 12


def failing(grader: Grader, module: str, text: str) -> dict[str, list[int]] | None:
    """Which cases of the whole library fail where a module reads `text`; None where one of them never ends."""
    files = {f"app/{one}.py": source(one) for one in MODULES} | {f"app/{module}.py": text, "app/__init__.py": ""}
    task = RepositoryTask("", "", files, functions=_FUNCTIONS)
    tree = FileTree(file_entries(files))
    grade = grader.grade(loader(task, tree), [value_test(*one) for one in _TESTS], list(_FUNCTIONS))
    if grade.timed_out:
        return None
    found: dict[str, list[int]] = {}
    for (name, case), outcome in zip(_TESTS, grade.outcomes, strict=True):
        if not outcome.passed:
            found.setdefault(name, []).append(case)
    return found


def is_bug(name: str, fails: dict[str, list[int]]) -> bool:
    """Whether failures make a mutation of `module.function` a task."""
    return _LEAST <= len(fails.get(name, [])) < len(CASES[name])


def main() -> None:
    """Try every mutation, and write those that are bugs."""
    rows: list[dict[str, Any]] = []
    grader = Grader(timeout_s=_TIMEOUT_S)
    try:
        for name in CASES:
            module, _, function = name.partition(".")
            kept = 0
            for mutation in mutations(source(module), function):
                fails = failing(grader, module, mutation.apply(source(module)))
                if fails is not None and is_bug(name, fails) and kept < _MOST_PER_FUNCTION:
                    kept += 1
                    rows.append(_row(module, function, mutation, fails))
            print(f"{name}: {kept}")
    finally:
        grader.close()
    lines = ",\n".join(json.dumps(row) for row in rows)
    Path(__file__).with_name("bugs.json").write_text(f"[\n{lines}\n]\n")
    print(len(rows))


def _row(module: str, function: str, mutation: Mutation, fails: dict[str, list[int]]) -> dict[str, Any]:
    return {
        "module": module,
        "function": function,
        "kind": mutation.kind,
        "start": mutation.start,
        "before": mutation.before,
        "after": mutation.after,
        "failing": fails,
    }


if __name__ == "__main__":
    main()
