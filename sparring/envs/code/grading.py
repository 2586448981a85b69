"""Grading for all environments of a process, by fork servers that they share.

A `Grader` is one environment's share. The first program that is graded opens a server; a busy process has at most one
for each core; the last `Grader` that is closed, or forgotten, closes them all.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator, Sequence

from sparring.envs.sandbox import ForkServer, Limits, open_fork_server
from sparring.envs.sandbox.command import bubblewrap_path
from sparring.envs.sandbox.forkserver import Grade
from sparring.errors import InvalidConfig

MIB = 2**20
LIMITS = Limits(wall_s=10, cpu_s=10, memory_bytes=256 * MIB, disk_bytes=16 * MIB, processes=16, output_bytes=64 * 1024)
"""What one graded program may use."""


class _Servers:
    """The process's servers: how many there are, which are idle, and for how many graders."""

    def __init__(self) -> None:
        self.changed = threading.Condition()  # reentrant: a finalizer may run while its own thread holds it
        self.idle: list[ForkServer] = []
        self.count = 0
        self.graders = 0

    def join(self) -> None:
        with self.changed:
            self.graders += 1

    def leave(self) -> None:
        with self.changed:
            self.graders -= 1
        self._close_unused()

    def _close_unused(self) -> None:
        while True:
            with self.changed:
                if self.graders or not self.idle:
                    return
                server = self.idle.pop()
                self.count -= 1
            server.close()

    @contextlib.contextmanager
    def one(self) -> Iterator[ForkServer]:
        """A server for the caller alone."""
        server = self._take()
        try:
            yield server
        except BaseException:  # whatever state it is in, the next program gets another
            with self.changed:
                self.count -= 1
                self.changed.notify()
            server.close()
            raise
        with self.changed:
            self.idle.append(server)
            self.changed.notify()
        self._close_unused()

    def _take(self) -> ForkServer:
        with self.changed:
            self.changed.wait_for(lambda: self.idle or self.count < (os.cpu_count() or 1))
            if self.idle:
                return self.idle.pop()
            self.count += 1
        try:
            return open_fork_server(LIMITS, label="grading")
        except BaseException:
            with self.changed:
                self.count -= 1
                self.changed.notify()
            raise


_servers = _Servers()


def _forget() -> None:
    """A forked process starts with none: those that it has copies of answer to its parent."""
    global _servers
    _servers = _Servers()


os.register_at_fork(after_in_child=_forget)


class Grader:
    """One environment's share of the process's fork servers.

    Args:
        timeout_s: seconds for all tests of one grading.
    Raises:
        MissingExtra: bubblewrap is not installed.
        InvalidConfig: `timeout_s` is not above 0.
    """

    def __init__(self, timeout_s: float = 5.0) -> None:
        if not timeout_s > 0:
            raise InvalidConfig(f"grading needs timeout_s above 0, got {timeout_s}")
        bubblewrap_path()
        self._timeout_s = timeout_s
        _servers.join()
        self._end = weakref.finalize(self, _leave, os.getpid())

    def grade(self, program: str, tests: Sequence[str], functions: Sequence[str]) -> Grade:
        """Run tests against a program (`ForkServer.grade`).

        Raises:
            SandboxRefused, SandboxFailed: there is no place to run it in.
        """
        with _servers.one() as server:
            return server.grade(program, tests, functions, self._timeout_s)

    def close(self) -> None:
        """Give the share back. A second call does nothing."""
        self._end()


def _leave(process: int) -> None:
    if process == os.getpid():
        _servers.leave()
