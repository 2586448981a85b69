"""What sandboxes have in common whose processes are started and ended by a keeper: commands, shells and files.

The keeper is another process where bubblewrap contains (`launch.Keeper`), and this very process inside a container
(`inside.server`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sparring.envs.sandbox import files
from sparring.envs.sandbox.capture import Feed, Stream, pump
from sparring.envs.sandbox.protocol import File, FileTree, Limits, Result, SandboxFailed
from sparring.envs.sandbox.session import BashShell
from sparring.envs.sandbox.surroundings import WORKSPACE, environment
from sparring.errors import InvalidConfig

_LONGEST_ARGUMENT = 128 * 1024 - 1  # the kernel's bound on one argument of a program


class JobKeeper(Protocol):
    """Whoever starts a sandbox's processes and tells of their ends.

    Attributes:
        folders: descriptors of the folders that can be written to, the workspace first.
        ended: what is known of jobs that have ended, by their numbers.
        owner: the user that files belong to, None for this process's own.
    """

    folders: tuple[int, ...]
    ended: dict[int, dict[str, Any]]
    owner: int | None

    def fileno(self) -> int:
        """A descriptor that has something to read when `receive` has something to take."""
        ...

    def start(self, argv: Sequence[str], env: Mapping[str, str], descriptors: Sequence[int]) -> int:
        """Start a program with these descriptors as its 0, 1, 2, …; returns the job's number."""
        ...

    def receive(self) -> Any:
        """Wait for news of jobs and note them in `ended`."""
        ...

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        """Have it do something that it answers at once, such as `kill` or `clean`."""
        ...


@dataclass(frozen=True, slots=True)
class KeptJob:
    """A program that a keeper started (`sparring.envs.sandbox.session.Job`)."""

    sandbox: KeptSandbox
    keeper: JobKeeper
    number: int

    def follow(self, streams: list[Stream], deadline: float) -> bool:
        return self.sandbox.follow(self.number, streams, deadline)

    def wait(self) -> int:
        return self.sandbox.wait(self.number, self.keeper)


class KeptSandbox:
    """Commands, shells and files over a keeper.

    Subclasses have `keeper`, `memory_kills` and `restart`.
    """

    workspace = WORKSPACE
    lifeline: int | None = None
    """A pipe that hangs up when the owner of everything is gone; nothing is waited for any longer then."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.environment = environment(self.workspace)
        self._shells: list[BashShell] = []

    @property
    def keeper(self) -> JobKeeper:
        """The keeper of the processes that run now.

        Raises:
            SandboxFailed: the sandbox is closed.
        """
        raise NotImplementedError

    def memory_kills(self) -> int:
        """How many times something was killed in this sandbox because memory ran out."""
        raise NotImplementedError

    def restart(self) -> None:
        """Put a new, empty sandbox in the place of one that no longer answers or can't be cleaned."""
        raise NotImplementedError

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
                job = keeper.start(argv, {**self.environment, **(env or {})}, theirs)
            except SandboxFailed:
                self.restart()
                raise
            finally:
                for one in set(theirs):
                    os.close(one)
            if not stdin:
                feed.close()
            came = self.follow(job, streams, began + self.patience(timeout), feed)
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

    def begin(self, argv: Sequence[str], descriptors: Sequence[int]) -> KeptJob:
        """Start a program with these descriptors as its 0, 1, 2, …

        Raises:
            SandboxFailed: process 1 is gone, and a new sandbox has taken its place.
        """
        keeper = self.keeper
        try:
            return KeptJob(self, keeper, keeper.start(argv, self.environment, descriptors))
        except SandboxFailed:
            self.restart()
            raise

    def _pipes(self, join: bool) -> tuple[list[int], list[int]]:
        """Our ends of standard input, output and error, and theirs."""
        inward, *outward = (os.pipe() for _ in range(2 if join else 3))
        ours = [inward[1], *(one[0] for one in outward)]
        for one in ours:
            os.set_blocking(one, False)
        return ours, [inward[0], outward[0][1], outward[-1][1]]

    def follow(self, job: int, streams: list[Stream], deadline: float, feed: Feed | None = None) -> bool:
        """Move bytes until the job's end; False where its time is over or it floods us."""
        keeper = self.keeper
        if job in keeper.ended:
            return True

        def happened() -> bool:
            keeper.receive()
            return job in keeper.ended

        try:
            return pump(streams, keeper.fileno(), happened, deadline, feed, self.lifeline)
        except SandboxFailed:  # process 1 is gone, and so is all that it kept
            self.restart()
            raise

    def wait(self, job: int, keeper: JobKeeper) -> int:
        """The status of a job of this keeper that has ended or is just ending.

        Raises:
            SandboxFailed: it could not be started, or all is gone.
        """
        try:
            while job not in keeper.ended:
                keeper.receive()
        except SandboxFailed:
            if keeper is self.keeper:
                self.restart()
            raise
        return status_of(keeper.ended.pop(job))

    def patience(self, timeout: float | None) -> float:
        """The seconds that a command may take."""
        return patience(self.limits, timeout)

    def shell(self) -> BashShell:
        shell = BashShell(self)
        self._shells.append(shell)
        return shell

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        files.write(self.keeper.folders[0], files.beneath(path, self.workspace), data, mode, self.keeper.owner)

    def read(self, path: str, limit: int | None = None) -> bytes:
        most = self.limits.disk_bytes if limit is None else limit
        return files.read(self.keeper.folders[0], files.beneath(path, self.workspace), most)

    def list(self, path: str = ".") -> list[str]:
        return files.names(self.keeper.folders[0], files.beneath(path, self.workspace))

    def saved(self) -> Iterator[File]:
        """The files that a snapshot holds, one by one."""
        return files.save(self.keeper.folders[0], self.limits.disk_bytes)

    def snapshot(self) -> FileTree:
        return FileTree(tuple(self.saved()))

    def restore(self, tree: FileTree) -> None:
        self.clear()
        self.load(tree.files)

    def load(self, saved: Iterable[File]) -> None:
        """Write saved files into the empty workspace."""
        files.load(self.keeper.folders[0], saved, self.keeper.owner)

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


def status_of(ended: Mapping[str, Any]) -> int:
    """The status of a job that has ended.

    Args:
        ended: what is known of it: `status`, or None there and `why` it could not be started.
    Raises:
        SandboxFailed: it could not be started.
    """
    if ended["status"] is None:
        raise SandboxFailed(
            f"the command could not be started ({ended['why']}): too many processes are alive in this sandbox; "
            "kill() ends them"
        )
    return int(ended["status"])


def patience(limits: Limits, timeout: float | None) -> float:
    """The seconds that a command may take.

    Raises:
        InvalidConfig: a timeout that is not above 0.
    """
    seconds = limits.wall_s if timeout is None else timeout
    if not seconds > 0:
        raise InvalidConfig(f"a command needs a timeout above 0 s, got {seconds}")
    return seconds


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
