"""Grading by scripts: tests that share a process with the program, for what no plain value can show (classes, say).

Each test runs in a process of its own, after every other process was killed and the workspace was emptied and written
anew, so no test sees what another left. The verdict is a number drawn for this test, which the script reads only after
its test passed: a program that ends the process early, by `sys.exit(0)` say, passes nothing. One that sets out to cheat
can look through the process that it shares, find the test and the number's source, and fool it. Where that matters,
use tests by values.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sparring.envs.code.grading import LIMITS
from sparring.envs.sandbox import FileTree, Sandbox, open_sandbox
from sparring.envs.sandbox.forkserver import Grade, Outcome

# The program is run as a module of its own; the test then finds everything that it defines.
_RUNNER = """\
import os, sys, types
names = types.ModuleType("solution").__dict__
with open("solution.py", encoding="utf-8") as file:
    exec(compile(file.read(), "solution.py", "exec"), names)
with open("test.py", encoding="utf-8") as file:
    exec(compile(file.read(), "test.py", "exec"), names)
os.write(1, b"\\n" + os.read(0, 64) + b"\\n")
"""


class ScriptGrader:
    """Runs tests in a sandbox that it opens at the first, and keeps until `close`.

    Args:
        timeout_s: seconds for each test.
    """

    def __init__(self, timeout_s: float = 5.0) -> None:
        self._timeout_s = timeout_s
        self._sandbox: Sandbox | None = None

    def grade(self, program: str, tests: Sequence[str], functions: Sequence[str]) -> Grade:
        """Run tests against a program; `functions` is for graders that need to know them.

        Raises:
            SandboxRefused, SandboxFailed: there is no place to run it in.
        """
        outcomes = [self._one(program, test) for test in tests]
        return Grade(tuple(outcomes))

    def _one(self, program: str, test: str) -> Outcome:
        if self._sandbox is None:
            self._sandbox = open_sandbox(LIMITS, label="tests that share a process")
        sandbox = self._sandbox
        sandbox.restore(FileTree())
        sandbox.write("solution.py", program.encode())
        sandbox.write("test.py", test.encode())
        sandbox.write("run.py", _RUNNER.encode())
        number = secrets.token_hex(16).encode()
        result = sandbox.run(["python3", "-I", "run.py"], self._timeout_s, stdin=number)
        if result.ok and result.stdout.endswith(b"\n" + number + b"\n"):
            return Outcome(True)
        if result.timed_out:
            return Outcome(False, "time ran out")
        if result.out_of_memory:
            return Outcome(False, "memory ran out")
        errors = result.stderr.decode("utf-8", "replace").strip()
        return Outcome(False, errors or "the program ended before its test did")

    def close(self) -> None:
        """Close the sandbox. A second call does nothing."""
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None
