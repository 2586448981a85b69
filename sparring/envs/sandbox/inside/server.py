"""The program that serves a sandbox's owner from within: process 1 of a container, or a plain child without one.

It reads requests on standard input and answers them on standard output (`sparring.envs.sandbox.frames`), one after
the other, and ends when the owner's end of standard input closes. Where the owner has a socket that can be reached from
within, that takes the place of both. In a container it is user 0 with no capability but
those to become another user and to end that user's processes; commands run as user 65534 with none at all, under the
system-call filter of `seccomp`. Files are touched as that user too, so that no more can be reached than by a command.

Unlike the other programs of this folder it comes with the modules that it imports, packed by `served.programs`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparring.envs.sandbox import files, frames
from sparring.envs.sandbox.cgroup import ControlGroup
from sparring.envs.sandbox.inside.keeper import Processes, clean, limit_self, open_self, set_dumpable
from sparring.envs.sandbox.inside.owner import Owner
from sparring.envs.sandbox.kept import KeptSandbox
from sparring.envs.sandbox.protocol import File, Limits, Result, SandboxFailed
from sparring.envs.sandbox.seccomp import sandbox_filter
from sparring.envs.sandbox.session import BashShell
from sparring.envs.sandbox.surroundings import FOLDERS
from sparring.errors import InvalidConfig

USER = 65534
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_CAPBSET_DROP, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 24, 22, 36, 38
_SECCOMP_MODE_FILTER = 2
_ANY_SIZE = 1 << 32  # the owner is trusted
_AT_ONCE = 1 << 18  # bytes of saved files in one write


class _Filter(ctypes.Structure):
    """The kernel's struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


class OwnProcesses(Processes):
    """Processes that this very process starts and ends (`sparring.envs.sandbox.kept.JobKeeper`).

    Args:
        limits: what they may use.
        folders: the folders that they can write to, with the modes that they start with.
        owner: the user that they run as, None for this process's own.
    """

    def __init__(self, limits: Mapping[str, int], folders: Mapping[str, int], owner: int | None) -> None:
        super().__init__()
        self.limits = {**limits, "watch": 0, "count": 0}
        self.owner = owner
        self.ended: dict[int, dict[str, Any]] = {}
        self._places = dict(folders)
        self.folders = tuple(os.open(name, os.O_RDONLY | os.O_DIRECTORY) for name in folders)
        self._started = 0
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # this process writes to those that may have ended

    def fileno(self) -> int:
        return self.wake

    def start(self, argv: Sequence[str], env: Mapping[str, str], descriptors: Sequence[int]) -> int:
        self._started += 1
        try:
            self.start_job(self._started, list(argv), dict(env), list(descriptors))
        except OSError as error:
            self.ended[self._started] = {"status": None, "why": os.strerror(error.errno or 0)}
        return self._started

    def receive(self) -> None:
        self._wait(None)

    def _wait(self, seconds: float | None, *others: int) -> list[int]:
        """Wait so long for a child's end, collecting it, or for something to read from one of the others."""
        ready = select.select([self.wake, *others], [], [], seconds)[0]
        if self.wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake, 4096)
            self.reap()
        return ready

    def reap_until(self, descriptor: int) -> None:
        """Collect ended children until there is something to read."""
        while descriptor not in self._wait(None, descriptor):
            pass

    def end_of(self, job: int, seconds: float) -> dict[str, Any]:
        """What is known of a job's end, after so many seconds at most; nothing where it goes on.

        Raises:
            SandboxFailed: there is no such job.
        """
        deadline = time.monotonic() + seconds
        while job not in self.ended:
            left = deadline - time.monotonic()
            if job not in self.jobs.values():
                raise SandboxFailed(f"no job {job} runs in this sandbox")
            if left <= 0:
                return {}
            self._wait(left)
        return self.ended.pop(job)

    def confine(self) -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        super().confine()

    def note(self, job: int, status: int) -> None:
        self.ended[job] = {"status": status}

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        self.end_all()
        if what == "kill":
            return {}
        with files.acting_as(self.owner):
            return {"clean": clean(self._places)}


class ContainerProcesses(OwnProcesses):
    """Those of a container, without any right to do harm even in it."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        super().__init__(limits, FOLDERS, USER)
        for folder in self.folders:  # not every engine gives folders in memory to a user
            if os.fstat(folder).st_uid != USER:
                os.fchown(folder, USER, USER)
        program = sandbox_filter()
        self._filter = _Filter(len(program) // 8, program)

    def confine(self) -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        limit_self(self.limits)
        capability = 0
        while _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
            capability += 1
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        open_self()
        for arguments in (
            (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._filter), 0, 0),
        ):
            if _LIBC.prctl(*arguments) != 0:
                raise OSError(ctypes.get_errno(), "the system-call filter can't be set")


class PlainProcesses(OwnProcesses):
    """Those of a sandbox that contains nothing: children of this process, which can't end all that it sees."""

    def __init__(self, limits: Mapping[str, int], workspace: str) -> None:
        super().__init__(limits, {workspace: 0o755}, None)
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def end_all(self) -> None:
        while children := list(_descendants(os.getpid())):
            for process in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if not self.reap():
                time.sleep(0.0005)


def _descendants(process: int) -> Iterator[int]:
    """The living children of a process and theirs; those whose parent has ended are this process's own by then."""
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                yield child
                yield from _descendants(child)


class ServedSandbox(KeptSandbox):
    """The sandbox in which this process is (`sparring.envs.sandbox.protocol.Sandbox` but for its life)."""

    lifeline = 0

    def __init__(self, limits: Limits, processes: OwnProcesses, workspace: str) -> None:
        self.workspace = workspace
        super().__init__(limits)
        self._processes = processes
        version_1 = Path("/sys/fs/cgroup/memory")
        place = version_1 if version_1.is_dir() else version_1.parent
        self._group = ControlGroup(place, place)
        self.kills = 0

    @property
    def keeper(self) -> OwnProcesses:
        return self._processes

    def memory_kills(self) -> int:
        return self._group.memory_kills() if self._processes.owner is not None else 0

    def restart(self) -> None:
        raise SandboxFailed("this sandbox can't be cleaned from within")

    def kill(self) -> None:
        self.kills += 1
        super().kill()

    def read(self, path: str, limit: int | None = None) -> bytes:
        with files.acting_as(self._processes.owner):
            return super().read(path, limit)

    def list(self, path: str = ".") -> list[str]:
        with files.acting_as(self._processes.owner):
            return super().list(path)

    def saved(self) -> Iterator[File]:
        with files.acting_as(self._processes.owner):
            yield from super().saved()


class Server:
    """Answers requests until the owner is gone.

    Args:
        sandbox: what they are about. owner: who asks.
    """

    def __init__(self, sandbox: ServedSandbox, owner: Owner) -> None:
        self._sandbox = sandbox
        self._owner = owner
        self._shells: dict[int, BashShell] = {}

    def serve(self) -> None:
        """The loop."""
        while True:
            request, data = frames.take(self._owner.read, _ANY_SIZE)
            try:
                answer, content = getattr(self, "do_" + request.pop("do"))(data, **request)
            except (InvalidConfig, SandboxFailed, OSError) as error:
                answer, content = described(error), b""
            self._owner.write(frames.pack(answer, content))

    def do_run(self, data: bytes, **details: Any) -> tuple[dict[str, Any], bytes]:
        """Run a command; `data` is what it reads. Says too whether everything was killed for its sake."""
        kills = self._sandbox.kills
        header, content = outcome(self._sandbox.run(stdin=data, **details))
        return {**header, "killed": self._sandbox.kills > kills}, content

    def do_start(self, data: bytes, command: list[str]) -> tuple[dict[str, Any], bytes]:
        """Start a program with the descriptors that came along."""
        descriptors = self._owner.handed[:]
        self._owner.handed.clear()
        try:
            return {"job": self._sandbox.keeper.start(command, self._sandbox.environment, descriptors)}, b""
        finally:
            for one in descriptors:
                os.close(one)

    def do_end(self, data: bytes, job: int, seconds: float) -> tuple[dict[str, Any], bytes]:
        """How a started program ended, waiting for that so many seconds; nothing where it goes on."""
        return self._sandbox.keeper.end_of(job, seconds), b""

    def do_type(self, data: bytes, shell: int, timeout: float) -> tuple[dict[str, Any], bytes]:
        """Run a command in a shell, which is opened on first use."""
        if shell not in self._shells:
            self._shells[shell] = self._sandbox.shell()
        return outcome(self._shells[shell].run(data.decode("utf-8", "surrogateescape"), timeout))

    def do_leave(self, data: bytes, shell: int) -> tuple[dict[str, Any], bytes]:
        """End a shell."""
        if shell in self._shells:
            self._shells.pop(shell).close()
        return {}, b""

    def do_write(self, data: bytes, path: str, mode: int) -> tuple[dict[str, Any], bytes]:
        """Write a file."""
        self._sandbox.write(path, data, mode)
        return {}, b""

    def do_read(self, data: bytes, path: str, limit: int) -> tuple[dict[str, Any], bytes]:
        """Read a file."""
        return {}, self._sandbox.read(path, limit)

    def do_list(self, data: bytes, path: str) -> tuple[dict[str, Any], bytes]:
        """List a folder."""
        return {"names": self._sandbox.list(path)}, b""

    def do_snapshot(self, data: bytes) -> tuple[dict[str, Any], bytes]:
        """Send one message for each file of the workspace before the answer."""
        waiting = bytearray()
        try:
            for file in self._sandbox.saved():
                waiting += frames.pack(frames.described(file), file.data)
                if len(waiting) > _AT_ONCE:
                    self._owner.write(waiting)
                    waiting.clear()
        finally:
            self._owner.write(waiting)
        return {}, b""

    def do_clear(self, data: bytes) -> tuple[dict[str, Any], bytes]:
        """End every process and remove every file, and answer whether nothing is left."""
        try:
            self._sandbox.clear()
        except SandboxFailed:
            return {"clean": False}, b""
        return {"clean": True}, b""

    def do_load(self, data: bytes, files: int) -> tuple[dict[str, Any], bytes]:
        """Write so many saved files, which come in messages of their own, into the empty workspace."""
        coming = (frames.file(*frames.take(self._owner.read, _ANY_SIZE)) for _ in range(files))
        try:
            self._sandbox.load(coming)
        finally:
            for _ in coming:  # what an error left unread is no request
                pass
        return {}, b""

    def do_kill(self, data: bytes) -> tuple[dict[str, Any], bytes]:
        """End every process."""
        self._sandbox.kill()
        return {}, b""


def outcome(result: Result) -> tuple[dict[str, Any], bytes]:
    """A result as a message: standard output, then standard error."""
    header = {
        "output": len(result.stdout),
        "status": result.status,
        "timed_out": result.timed_out,
        "truncated": result.truncated,
        "out_of_memory": result.out_of_memory,
    }
    return header, result.stdout + result.stderr


def described(error: Exception) -> dict[str, Any]:
    """An error as a header."""
    if isinstance(error, OSError):
        return {"error": "os", "text": error.strerror or str(error), "number": error.errno or 0, "path": error.filename}
    return {"error": "config" if isinstance(error, InvalidConfig) else "failed", "text": str(error)}


def main() -> None:
    """Serve, as the first message says."""
    set_dumpable(False)
    owner = Owner()
    begin, _ = frames.take(owner.read, 0)
    given = Limits(**begin["limits"])
    limits = {name: int(value) for name, value in begin["limits"].items()}
    processes: OwnProcesses
    if begin["contained"]:
        if os.getpid() != 1:
            raise SystemExit("this kills every process that it can see; it runs as process 1 of a container only")
        processes = ContainerProcesses(limits)
    else:
        processes = PlainProcesses(limits, begin["workspace"])
    sandbox = ServedSandbox(given, processes, begin["workspace"])
    if begin["contained"]:
        sandbox.clear()
    os.chdir(begin["workspace"])
    try:
        direct = owner.connect(begin["direct"])
        owner.write(frames.pack({"direct": direct is not None}))
        owner.listen(direct, processes.reap_until)
        Server(sandbox, owner).serve()
    except (EOFError, BrokenPipeError):  # the owner is gone
        processes.end_all()
        if not begin["contained"]:
            shutil.rmtree(begin["workspace"], ignore_errors=True)
