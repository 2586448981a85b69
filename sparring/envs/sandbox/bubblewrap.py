"""Sandboxes by bubblewrap: no daemon, no image, a dozen milliseconds each."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sparring.envs.sandbox import files, slots
from sparring.envs.sandbox.capture import Feed, Stream, pump
from sparring.envs.sandbox.command import ENVIRONMENT, WORKSPACE
from sparring.envs.sandbox.launch import Keeper
from sparring.envs.sandbox.protocol import FileTree, Limits, Result, SandboxFailed
from sparring.envs.sandbox.session import BashShell
from sparring.errors import InvalidConfig

_LONGEST_ARGUMENT = 128 * 1024 - 1  # the kernel's bound on one argument of a program


class BubblewrapSandbox:
    """A workspace and contained processes (`sparring.envs.sandbox.protocol.Sandbox`).

    Without `probe.verify` having passed on this machine nothing is known of how well it holds; `open_sandbox` sees to
    that.

    Args:
        limits: what its processes may use.
        label: what it is for, as lists of sandboxes show it.
        read_only: further folders of this machine that processes may read, at the paths that they have outside.
        wait_s: how long to wait for a slot where the most sandboxes are open already.
    """

    workspace = WORKSPACE

    def __init__(
        self, limits: Limits | None = None, *, label: str = "", read_only: Sequence[Path] = (), wait_s: float = 60.0
    ) -> None:
        self.limits = limits or Limits()
        self.label = label
        self._read_only = tuple(read_only)
        self._shells: list[BashShell] = []
        self._owner = os.getpid()
        self._slot: slots.Slot | None = slots.claim(wait_s)
        try:
            self._keeper: Keeper | None = Keeper(self.limits, label, self._slot, self._read_only)
        except BaseException:
            self._slot.release()
            self._slot = None
            raise

    @property
    def keeper(self) -> Keeper:
        """The running sandbox's process 1.

        Raises:
            SandboxFailed: the sandbox is closed.
        """
        if self._keeper is None:
            raise SandboxFailed("this sandbox is closed")
        return self._keeper

    @property
    def memory_limit(self) -> str:
        """Who holds the limit on memory: the kernel (`cgroup`), or the keeper, which looks every 20 ms (`watched`)."""
        return "cgroup" if self.keeper.group is not None else "watched"

    def run(
        self,
        command: str | Sequence[str],
        timeout: float | None = None,
        stdin: bytes = b"",
        *,
        env: Mapping[str, str] | None = None,
        join: bool = False,
    ) -> Result:
        began = time.monotonic()
        argv, kills, keeper = arguments(command), self.memory_kills(), self.keeper
        ours, theirs = self._pipes(join)
        feed = Feed(ours[0], memoryview(stdin))
        streams = [Stream(one, self.limits.output_bytes) for one in ours[1:]]
        try:
            try:
                job = keeper.start(argv, {**ENVIRONMENT, **(env or {})}, theirs)
            except SandboxFailed:
                self.restart()
                raise
            finally:
                for one in set(theirs):
                    os.close(one)
            if not stdin:
                feed.close()
            came = self._pump(job, streams, began + self.patience(timeout), feed)
            flooded = any(stream.flooded for stream in streams)
            if not came:
                self.kill()
            status = self.wait(job, keeper)
            for stream in streams:
                stream.drain()
            truncated = any(stream.truncated for stream in streams)
            output, errors = streams[0].take(), streams[1].take() if len(streams) > 1 else b""
            out_of_memory = self.memory_kills() > kills
            seconds = time.monotonic() - began
            return Result(output, errors, status, not came and not flooded, truncated, out_of_memory, seconds)
        finally:
            feed.close()
            for stream in streams:
                os.close(stream.descriptor)

    def _pipes(self, join: bool) -> tuple[list[int], list[int]]:
        """Our ends of standard input, output and error, and theirs."""
        inward, *outward = (os.pipe() for _ in range(2 if join else 3))
        ours = [inward[1], *(one[0] for one in outward)]
        for one in ours:
            os.set_blocking(one, False)
        return ours, [inward[0], outward[0][1], outward[-1][1]]

    def _pump(self, job: int, streams: list[Stream], deadline: float, feed: Feed) -> bool:
        """Move bytes until the job's end; False where its time is over or it floods us."""
        keeper = self.keeper

        def happened() -> bool:
            keeper.receive()
            return job in keeper.ended

        try:
            return pump(streams, keeper.control.fileno(), happened, deadline, feed)
        except SandboxFailed:  # process 1 is gone, and so is all that it kept
            self.restart()
            raise

    def wait(self, job: int, keeper: Keeper) -> int:
        """The status of a job of this keeper that has ended or is just ending.

        Raises:
            SandboxFailed: it could not be started, or all is gone.
        """
        try:
            while job not in keeper.ended:
                keeper.receive()
        except SandboxFailed:
            if keeper is self._keeper:
                self.restart()
            raise
        ended = keeper.ended.pop(job)
        if ended["status"] is None:
            raise SandboxFailed(
                f"the command could not be started ({ended['why']}): too many processes are alive in this sandbox; "
                "kill() ends them"
            )
        return int(ended["status"])

    def patience(self, timeout: float | None) -> float:
        """The seconds that a command may take."""
        patience = self.limits.wall_s if timeout is None else timeout
        if not patience > 0:
            raise InvalidConfig(f"a command needs a timeout above 0 s, got {patience}")
        return patience

    def memory_kills(self) -> int:
        """How many times something was killed in this sandbox because memory ran out."""
        group = self.keeper.group
        return group.memory_kills() if group is not None else self.keeper.memory_kills

    def shell(self) -> BashShell:
        shell = BashShell(self)
        self._shells.append(shell)
        return shell

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        files.write(self.keeper.folders[0], files.beneath(path, WORKSPACE), data, mode, self.keeper.owner)

    def read(self, path: str, limit: int | None = None) -> bytes:
        most = self.limits.disk_bytes if limit is None else limit
        return files.read(self.keeper.folders[0], files.beneath(path, WORKSPACE), most)

    def list(self, path: str = ".") -> list[str]:
        return files.names(self.keeper.folders[0], files.beneath(path, WORKSPACE))

    def snapshot(self) -> FileTree:
        return files.save(self.keeper.folders[0], self.limits.disk_bytes)

    def restore(self, tree: FileTree) -> None:
        self.clear()
        files.load(self.keeper.folders[0], tree, self.keeper.owner)

    def clear(self) -> None:
        """End every process and remove every file."""
        self._end_shells()
        try:
            clean = self.keeper.ask("clean")["clean"]
        except SandboxFailed:
            clean = False
        if not clean:  # then the whole place goes, and a new one comes
            self.restart()

    def kill(self) -> None:
        try:
            self.keeper.ask("kill")
        except SandboxFailed:
            self.restart()
        self._end_shells()

    def _end_shells(self) -> None:
        for shell in self._shells:
            shell.close()

    def restart(self) -> None:
        """Put a new, empty sandbox in the place of one that no longer answers or can't be cleaned."""
        self._end_shells()
        if self._keeper is None or self._slot is None:
            raise SandboxFailed("this sandbox is closed")
        self._keeper.stop()
        self._keeper = Keeper(self.limits, self.label, self._slot, self._read_only)

    def close(self) -> None:
        if os.getpid() != self._owner:  # a fork of the owner has a copy of this object, but not of the sandbox
            return
        self._end_shells()
        keeper, self._keeper = self._keeper, None
        slot, self._slot = self._slot, None
        if keeper is not None:
            keeper.stop()
        if slot is not None:
            slot.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def arguments(command: str | Sequence[str]) -> list[str]:
    """A program and its arguments: bash for shell text; a bare name is looked up in the sandbox by env.

    Raises:
        InvalidConfig: nothing to run, a null byte, or an argument longer than the kernel takes.
    """
    argv = ["/bin/bash", "-c", command] if isinstance(command, str) else list(command)
    if not argv or not argv[0]:
        raise InvalidConfig("a sandbox needs a command to run, got none")
    for one in argv:
        if "\0" in one or len(os.fsencode(one)) > _LONGEST_ARGUMENT:
            raise InvalidConfig(
                f"an argument of a command has no null bytes and at most {_LONGEST_ARGUMENT} bytes; write longer text "
                "to a file of the workspace, or pass it as stdin"
            )
    return argv if argv[0].startswith("/") else ["/usr/bin/env", "--", *argv]
