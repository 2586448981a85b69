"""What a sandbox is: limits, results, and the calls that every backend answers.

A sandbox is a place with a workspace of files in which commands of an agent run. Backends differ in how they contain
them; callers need not care. `sparring.envs.sandbox.open_sandbox` builds one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self, runtime_checkable

from sparring.errors import EnvFailed, InvalidConfig

MIB = 2**20


class SandboxRefused(EnvFailed):
    """This machine can't contain what would run; the message says which attack got through and what to do."""


class SandboxFailed(EnvFailed):
    """A sandbox broke, is closed, or could not be started."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the processes of one sandbox may use, all of them together unless a field says otherwise."""

    wall_s: float = 10.0
    """Seconds that one command may take where `run` is given no other timeout; then everything is killed."""
    cpu_s: int = 60
    """Seconds of processor time of each single process; a persistent shell is one process with its children apart."""
    memory_bytes: int = 512 * MIB
    """Memory of all processes and of all files, which live in memory."""
    disk_bytes: int = 128 * MIB
    """Bytes of files in each of the workspace, /tmp and /dev/shm."""
    processes: int = 64
    """Processes and threads alive at once."""
    output_bytes: int = 1 * MIB
    """Bytes kept of each output stream of one command; the rest is dropped, and `Result.truncated` says so."""
    open_files: int = 256
    """File descriptors of each process."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not value > 0:
                raise InvalidConfig(f"a sandbox needs {name} above 0, got {value}")
        if self.open_files < 64:
            raise InvalidConfig(f"a sandbox needs open_files of at least 64 for its shell, got {self.open_files}")
        if self.memory_bytes < 32 * MIB:
            raise InvalidConfig(
                f"a sandbox needs memory_bytes of at least {32 * MIB} to start Python in, got {self.memory_bytes}"
            )


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a command.

    Attributes:
        stdout, stderr: what it wrote, up to the limit; with `join` everything is in `stdout`, in order.
        status: the exit status, or minus the number of the signal that killed it.
        timed_out: it was killed at its time limit; what it had written by then is there.
        truncated: it wrote more than was kept.
        out_of_memory: a process was killed because the sandbox's memory ran out.
        seconds: wall time.
    """

    stdout: bytes
    stderr: bytes
    status: int
    timed_out: bool = False
    truncated: bool = False
    out_of_memory: bool = False
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """Both streams as text, standard output first; bytes that are no UTF-8 are replaced."""
        return (self.stdout + self.stderr).decode("utf-8", "replace")

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with status 0."""
        return self.status == 0 and not self.timed_out


@dataclass(frozen=True, slots=True)
class File:
    """One entry of a workspace. `data` holds a file's bytes or a link's target, and nothing for a folder."""

    path: str
    kind: Literal["file", "folder", "link"]
    mode: int = 0o644
    data: bytes = b""
    modified_ns: int = 0


@dataclass(frozen=True, slots=True)
class FileTree:
    """A saved workspace: plain data that can be pickled, kept, and restored in any sandbox of any backend."""

    files: tuple[File, ...] = field(default=())

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(len(file.data) for file in self.files)


class Shell(Protocol):
    """A bash that stays: working directory, variables and functions live from one command to the next.

    Its exit statuses are for the agent that types the commands. That agent can redefine everything in its own shell,
    so what decides a reward runs in a process of its own (`Sandbox.run`) or in the fork server.
    """

    def run(self, command: str, timeout: float | None = None) -> Result:
        """Run one command and wait for its end.

        After a time limit, or after a command that ended the shell (`exit`), the next call starts a new shell.

        Args:
            command: shell text of any number of lines, without null bytes.
            timeout: seconds; the sandbox's `Limits.wall_s` by default.
        """
        ...

    def close(self) -> None:
        """End this shell."""
        ...


@runtime_checkable
class Sandbox(Protocol):
    """A workspace of files, and contained processes in it. Not to be called by two threads at once.

    Paths are relative to the workspace, or absolute inside it; one that leads out of it, by `..` or by a symbolic
    link, raises `InvalidConfig`.
    """

    @property
    def limits(self) -> Limits: ...

    @property
    def label(self) -> str:
        """What it was opened for, as lists of sandboxes show it."""
        ...

    @property
    def workspace(self) -> str:
        """The workspace's path as processes in the sandbox see it."""
        ...

    def run(
        self,
        command: str | Sequence[str],
        timeout: float | None = None,
        stdin: bytes = b"",
        *,
        env: Mapping[str, str] | None = None,
        join: bool = False,
    ) -> Result:
        """Run a command in a new process in the workspace, and wait for its end.

        What it leaves running in the background goes on; at the time limit everything in the sandbox is killed.

        Args:
            command: shell text, or a program with its arguments.
            timeout: seconds; `Limits.wall_s` by default.
            stdin: what it reads.
            env: environment variables beside the sandbox's own few.
            join: put standard error into `Result.stdout`, in the order written.
        """
        ...

    def shell(self) -> Shell:
        """Open a persistent shell."""
        ...

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file, with the folders it needs."""
        ...

    def read(self, path: str, limit: int | None = None) -> bytes:
        """Read a file of at most `limit` bytes (`Limits.disk_bytes` by default)."""
        ...

    def list(self, path: str = ".") -> list[str]:
        """The names in a folder, sorted; folders end in a slash."""
        ...

    def snapshot(self) -> FileTree:
        """Save the workspace's files. Processes are not saved."""
        ...

    def restore(self, tree: FileTree) -> None:
        """End every process, empty the sandbox of files, and put the saved ones into the workspace."""
        ...

    def kill(self) -> None:
        """End every process; files stay."""
        ...

    def close(self) -> None:
        """End every process and drop every file. A second call does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
