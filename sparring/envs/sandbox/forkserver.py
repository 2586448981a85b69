"""Grading Python programs at volume: one sandbox whose process 1 has everything imported, and forks for each program.

See `sparring.envs.sandbox.inside.judge` for how tests stay hidden and verdicts honest. Nothing of one graded program
reaches the next: each runs in fresh forks, and before a verdict counts, every process in the sandbox is killed and its
folders are brought back to their first state.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.capture import Stream, pump
from sparring.envs.sandbox.command import readable
from sparring.envs.sandbox.protocol import Limits, SandboxFailed
from sparring.errors import InvalidConfig

IMPORTS = (
    "bisect",
    "collections",
    "copy",
    "datetime",
    "decimal",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "statistics",
    "string",
    "typing",
)

_VERDICT_BYTES = 1 << 15  # more than a verdict has: a message of 2,000 characters, each an escape of 12 bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one test; `message` says why it failed."""

    passed: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Grade:
    """What came of a graded program.

    Attributes:
        outcomes: one for each test, in order; those that were not reached count as failed.
        output: what the program printed, up to the limit.
        timed_out, out_of_memory: why tests were not reached. seconds: wall time.
    """

    outcomes: tuple[Outcome, ...]
    output: bytes = b""
    timed_out: bool = False
    out_of_memory: bool = False
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every test passed."""
        return bool(self.outcomes) and all(outcome.passed for outcome in self.outcomes)

    @property
    def fraction(self) -> float:
        """The share of tests that passed."""
        return sum(outcome.passed for outcome in self.outcomes) / max(1, len(self.outcomes))


class ForkServer:
    """A sandbox that grades one Python program after the other.

    Args:
        limits: what one program may use.
        imports: modules to import once for all.
        paths: folders to find them in beside the standard library; shown to programs, read-only.
        label: what it is for.
    Raises:
        InvalidConfig: a module can't be imported.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        imports: Sequence[str] = IMPORTS,
        paths: Sequence[Path] = (),
        label: str = "grading",
    ) -> None:
        self._imports = tuple(imports)
        self._paths = [str(path.resolve()) for path in paths]
        self._sandbox = BubblewrapSandbox(limits, label=label, read_only=[path.resolve() for path in paths])
        try:
            self._import()
        except BaseException:
            self.close()
            raise

    def _import(self) -> None:
        why = self._sandbox.keeper.ask("import", modules=self._imports, paths=self._paths)["why"]
        if why:
            raise InvalidConfig(f"a module that graded programs shall find imported is not there: {why}")

    def grade(
        self, solution: str, tests: Sequence[str], functions: Sequence[str], timeout: float | None = None, seed: int = 0
    ) -> Grade:
        """Run tests against a solution.

        Args:
            solution: Python source.
            tests: Python sources, each run by itself; one passes that raises nothing.
            functions: names of the solution's functions, under which the tests call them.
            timeout: seconds for everything; `Limits.wall_s` by default.
            seed: seeds the solution's `random`.
        """
        began = time.monotonic()
        deadline = began + self._sandbox.patience(timeout)
        keeper, kills = self._sandbox.keeper, self._sandbox.memory_kills()
        job = keeper.next_job()
        verdicts, verdicts_end = os.pipe()
        output, output_end = os.pipe()
        texts = [solution, json.dumps({"tests": list(tests), "functions": list(functions)})]
        theirs = [*(readable(text.encode("utf-8", "surrogatepass")) for text in texts), verdicts_end, output_end]
        for one in (verdicts, output):
            os.set_blocking(one, False)
        streams = [Stream(verdicts, _VERDICT_BYTES * len(tests)), Stream(output, self._sandbox.limits.output_bytes)]
        try:
            try:
                keeper.send({"do": "grade", "job": job, "seed": seed}, theirs)
            finally:
                for one in theirs:
                    os.close(one)
            timed_out = self._await(job, streams, deadline)
            for stream in streams:
                stream.drain()
        finally:
            os.close(verdicts)
            os.close(output)
        out_of_memory = self._sandbox.keeper is keeper and self._sandbox.memory_kills() > kills
        outcomes = _outcomes(bytes(streams[0].kept), len(tests), timed_out, out_of_memory)
        return Grade(outcomes, bytes(streams[1].kept), timed_out, out_of_memory, time.monotonic() - began)

    def _await(self, job: int, streams: list[Stream], deadline: float) -> bool:
        """Wait for the judge's end and the cleaning after it; whether time ran out."""
        keeper = self._sandbox.keeper

        def happened() -> bool:
            keeper.receive()
            return job in keeper.ended

        try:
            came = pump(streams, keeper.control.fileno(), happened, deadline)
            if not came:
                keeper.ask("kill")
            while job not in keeper.ended:
                keeper.receive()
            clean = keeper.ended.pop(job).get("clean", False)
        except SandboxFailed:  # process 1 went, out of memory perhaps: the program failed, the next gets a new place
            came, clean = True, False
        if not clean:
            self._sandbox.restart()
            self._import()
        return not came and not any(stream.flooded for stream in streams)

    def close(self) -> None:
        """End it. A second call does nothing."""
        self._sandbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _outcomes(verdicts: bytes, tests: int, timed_out: bool, out_of_memory: bool) -> tuple[Outcome, ...]:
    """The judge's verdicts, and failures for the tests that it did not come to."""
    found = [Outcome(passed is True, str(message)) for passed, message in map(json.loads, _lines(verdicts)[:tests])]
    reason = "time ran out" if timed_out else "memory ran out" if out_of_memory else "the solution ended the grading"
    return (*found, *(Outcome(False, reason) for _ in range(tests - len(found))))


def _lines(verdicts: bytes) -> list[bytes]:
    """Complete lines; one that was cut off by a kill is no verdict."""
    return verdicts.split(b"\n")[:-1]
