"""Process 1 of a sandbox: starts commands on request, ends them, and answers when they end.

It is the one trusted process among untrusted ones of the same user. The kernel delivers it no signal from inside its
process namespace that it has no handler for, SIGKILL and SIGSTOP included; being "not dumpable", its memory and
descriptors are closed to the others; and when it ends, the kernel kills all the others. It ends when the socket to its
owner closes. Requests are JSON messages with descriptors attached.

This file runs by path, without the package around it: only the standard library, and only what starts fast.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_DUMPABLE = 4
_PAGE = resource.getpagesize()
_WATCH_S = 0.02
FOLDERS = {"/work": 0o755, "/tmp": 0o1777, "/dev/shm": 0o1777}
_TERMINALS = {"/dev/pts": 0o755, "/dev/pts/ptmx": 0o666}  # belong to the sandbox's user, who may change their modes
_GET_FLAGS, _SET_FLAGS = 0x8008_6601, 0x4008_6602  # FS_IOC_GETFLAGS and FS_IOC_SETFLAGS, of which chattr makes use


def set_dumpable(allowed: bool) -> None:
    """Open or close this process's memory and descriptors to other processes of the same user."""
    _LIBC.prctl(_PR_SET_DUMPABLE, int(allowed), 0, 0, 0)


def limit_self(limits: dict[str, int]) -> None:
    """Set the limits that the kernel keeps for each process, and for each user where `count` says so."""
    pairs = {
        resource.RLIMIT_CPU: (limits["cpu_s"], limits["cpu_s"] + 1),
        resource.RLIMIT_FSIZE: (limits["disk_bytes"], limits["disk_bytes"]),
        resource.RLIMIT_NOFILE: (limits["open_files"], limits["open_files"]),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
    }
    if limits["count"]:  # the user is this sandbox's alone; the keeper is one more
        pairs[resource.RLIMIT_NPROC] = (limits["processes"] + 1, limits["processes"] + 1)
    if limits["watch"]:
        pairs[resource.RLIMIT_DATA] = (limits["memory_bytes"], limits["memory_bytes"])
    for kind, pair in pairs.items():
        resource.setrlimit(kind, pair)


def settle_child(descriptors: list[int]) -> None:
    """In a new child: a session of its own, `descriptors` as 0, 1, 2, …, and no others."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    above = max(descriptors, default=0) + len(descriptors) + 1
    for at, one in enumerate(descriptors):  # first out of the way, so that no move covers another's source
        os.dup2(one, above + at)
    for at in range(len(descriptors)):
        os.dup2(above + at, at, inheritable=True)
    os.closerange(len(descriptors), 1 << 20)


def open_self() -> None:
    """In a child that holds nothing of the keeper's any more: make its files in /proc its own, and it first to go."""
    set_dumpable(True)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - speed
        file.write("1000")  # when memory runs out, the keeper is to stay


def clean(folders: Mapping[str, int]) -> bool:
    """Empty folders and give them the modes named; whether that could be done."""
    try:
        for folder, mode in folders.items():
            empty(folder)
            reset(folder, mode)
            for name in os.listxattr(folder):
                os.removexattr(folder, name)
    except OSError:
        return False
    return True


def reset(path: str, mode: int) -> None:
    """Give a path its first mode, and a time that says nothing."""
    os.chmod(path, mode)  # noqa: PTH101 - pathlib takes milliseconds to import
    os.utime(path, (0, 0))


def empty(folder: str) -> None:
    """Remove everything in a folder; no other process is at work."""
    os.chmod(folder, 0o700)  # noqa: PTH101
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        drop_flags(opened)
        _empty(opened, 0)
    finally:
        os.close(opened)


def drop_flags(folder: int) -> None:
    """Take away what chattr gave to a folder, where its file system knows of such things."""
    flags = bytearray(8)
    try:
        fcntl.ioctl(folder, _GET_FLAGS, flags)
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP):
            raise
        return
    if any(flags):
        fcntl.ioctl(folder, _SET_FLAGS, bytes(8))


def _empty(folder: int, depth: int) -> None:
    if depth > 64:
        raise OSError(errno.ELOOP, "too deep")
    with os.scandir(folder) as entries:
        found = [(one.name, one.is_dir(follow_symlinks=False)) for one in entries]
    for name, is_folder in found:
        if is_folder:
            os.chmod(name, 0o700, dir_fd=folder)
            opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            try:
                _empty(opened, depth + 1)
            finally:
                os.close(opened)
            os.rmdir(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)


class Processes:
    """The processes of a sandbox, as their parent sees them: start, end and reap."""

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        self.jobs: dict[int, int] = {}  # process id -> the owner's number of the job
        self.wake, end = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            # What children shall start with, set here because setting it in each costs them dozens of page faults. For
            # process 1 it means that none of these is delivered, where Python's handler for SIGINT would be.
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(end, warn_on_full_buffer=False)

    def start_job(self, job: int, argv: list[str], env: dict[str, str], descriptors: list[int]) -> None:
        """Start a program with these descriptors as its 0, 1, 2, …

        Raises:
            OSError: too many processes are alive.
        """
        child = os.fork()
        if child == 0:
            self.become(argv, env, descriptors)
        self.jobs[child] = job

    def become(self, argv: list[str], env: dict[str, str], descriptors: list[int]) -> None:
        """In a new child: turn into the requested program."""
        try:
            settle_child(descriptors)
            self.confine()
            os.execve(argv[0], argv, env)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(2, f"{argv[0]}: {error}\n".encode())
        os._exit(127)

    def confine(self) -> None:
        """In a new child: take the limits."""
        open_self()
        limit_self(self.limits)

    def end_all(self) -> None:
        """Kill and reap all; the kernel signals all of them at once, so that none can fork its way out."""
        while True:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                break
            if not self.reap():
                time.sleep(0.0005)
        self.reap()

    def reap(self) -> int:
        """Collect ended children, of which orphans are some, and note the jobs among them; how many there were."""
        found = 0
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return found
            if child == 0:
                return found
            found += 1
            job = self.jobs.pop(child, None)
            if job is not None:
                self.note(job, os.waitstatus_to_exitcode(status))

    def note(self, job: int, status: int) -> None:
        """Take note that a job has ended."""
        raise NotImplementedError


class Keeper(Processes):
    """The loop of process 1.

    Args:
        control: the socket to the owner.
    """

    def __init__(self, control: socket.socket) -> None:
        super().__init__()
        self.control = control
        self.graded = 0  # the number of the job that is a judge

    def serve(self) -> None:
        """Answer requests until the owner is gone."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        while True:
            events = poll.poll(_WATCH_S * 1000 if self.limits.get("watch") else None)
            if any(descriptor == self.wake for descriptor, _ in events):
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake, 4096)
                self.reap()
            if any(descriptor != self.wake for descriptor, _ in events) and not self.answer():
                return
            if self.limits.get("watch") and self.used_bytes() > self.limits["memory_bytes"]:
                os.kill(-1, signal.SIGKILL)
                self.say({"event": "out_of_memory"})

    def say(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        """Send the owner a message."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.control.sendmsg([json.dumps(message).encode()], rights)

    def answer(self) -> bool:
        """Handle one request; whether there was one."""
        room = socket.CMSG_SPACE(16 * 4)
        data, ancillary, _, _ = self.control.recvmsg(1 << 18, room)
        if not data:
            return False
        descriptors: list[int] = []
        for _, _, packed in ancillary:
            descriptors.extend(array.array("i", packed[: len(packed) // 4 * 4]))
        request = json.loads(data)
        try:
            if request["do"] == "read":
                with open(descriptors.pop(0), "rb") as file:  # noqa: PTH123 - a descriptor
                    request = json.loads(file.read())
            getattr(self, "do_" + request["do"])(request, descriptors)
        finally:
            for one in descriptors:
                os.close(one)
        return True

    def do_begin(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Take the limits, and hand out the folders that can be written to."""
        self.limits = request["limits"]
        folders = tuple(os.open(name, os.O_RDONLY | os.O_DIRECTORY) for name in FOLDERS)
        self.say({"event": "ready"}, folders)
        for one in folders:
            os.close(one)

    def do_start(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Start a program with the attached descriptors as its 0, 1, 2, …"""
        try:
            self.start_job(request["job"], request["argv"], request["env"], descriptors)
        except OSError as error:
            self.say({"event": "end", "job": request["job"], "status": None, "why": os.strerror(error.errno or 0)})

    def do_kill(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """End every process but this one, and answer when they are gone."""
        self.end_all()
        self.say({"event": "killed"})

    def do_clean(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """End every process and remove every file, and answer whether nothing is left."""
        self.end_all()
        self.say({"event": "cleaned", "clean": self.clean()})

    def clean(self) -> bool:
        """Bring everything that can be changed in here to its first state; whether that could be done."""
        try:
            for path, mode in _TERMINALS.items():
                reset(path, mode)
        except OSError:
            return False
        return clean(FOLDERS)

    def do_import(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Import what graded programs will want, and the judge; each of them is a fork of this process."""
        sys.path.extend(request["paths"])
        why = ""
        for name in ("judge", *request["modules"]):
            try:
                importlib.import_module(name)
            except BaseException as error:
                why = f"{name}: {type(error).__name__}: {error}"
        gc.freeze()
        self.say({"event": "imported", "why": why})

    def do_grade(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Start a solver and its judge on the attached descriptors: solution, tests, verdicts, the solver's output.

        When the judge ends, everything else is ended and removed, and only then the owner is told.
        """
        self.graded = request["job"]
        child = os.fork()
        if child == 0:
            try:
                nothing = os.open(os.devnull, os.O_RDWR)
                settle_child([nothing, nothing, nothing, *descriptors])
                limit_self(self.limits)
                self.grade(request["seed"])
                os._exit(0)
            except BaseException:
                os._exit(1)
        self.jobs[child] = request["job"]

    def grade(self, seed: int) -> None:
        """In a new child: fork the solver, then be the judge, who reads the tests only after that."""
        solution, tests, verdicts, output = 3, 4, 5, 6
        calls, calls_end = os.pipe()
        answers, answers_end = os.pipe()
        judge = sys.modules["judge"]  # do_import took it from this file's own folder
        if os.fork() == 0:
            settle_child([0, output, output, solution, calls, answers_end])
            open_self()
            judge.solve(3, 4, 5, seed)
            os._exit(0)
        for one in (solution, output, calls, answers_end):
            os.close(one)
        judge.judge(tests, verdicts, calls_end, answers)

    def note(self, job: int, status: int) -> None:
        """Tell the owner; after a judge's end, which decides nothing before everything is ended and removed."""
        ended: dict[str, Any] = {"event": "end", "job": job, "status": status}
        if job == self.graded:
            self.graded = 0
            self.end_all()
            ended["clean"] = self.clean()
        self.say(ended)

    def used_bytes(self) -> int:
        """Memory of all processes, as far as they have touched it, of all files, and of what waits in sockets."""
        files = sum(map(queued_bytes, ("tcp", "tcp6", "udp", "udp6")))
        for folder in FOLDERS:
            filled = os.statvfs(folder)
            files += (filled.f_blocks - filled.f_bfree) * filled.f_frsize
            files += (filled.f_files - filled.f_ffree) * 1024  # the kernel's own memory for each file
        processes = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]  # noqa: PTH208 - speed
        resident = sum(map(resident_bytes, processes))
        if files + resident > self.limits["memory_bytes"]:  # pages that forks share were counted for each of them
            resident = sum(map(proportional_bytes, processes))
        return files + resident


def queued_bytes(protocol: str) -> int:
    """What the sockets of a protocol hold that was sent and not yet read."""
    found = 0
    try:
        with open(f"/proc/net/{protocol}", "rb") as file:  # noqa: PTH123 - fifty times a second
            file.readline()
            for line in file:
                found += sum(int(one, 16) for one in line.split()[4].split(b":"))
    except (OSError, ValueError, IndexError):  # a kernel without this protocol
        return found
    return found


def resident_bytes(process: str) -> int:
    """Memory of a process that is no file's, 0 where it has ended."""
    try:
        with open(f"/proc/{process}/statm") as file:  # noqa: PTH123 - fifty times a second
            resident, shared = file.read().split()[1:3]
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE


def proportional_bytes(process: str) -> int:
    """The same with shared pages divided among those that share them; slower."""
    try:
        with open(f"/proc/{process}/smaps_rollup") as file:  # noqa: PTH123
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss_Anon:"))
    except (OSError, ValueError):  # it ended, or hides
        return resident_bytes(process)


def main() -> None:
    """Serve the owner on the socket whose number is the first argument."""
    if os.getpid() != 1:
        raise SystemExit("the keeper kills every process that it can see; it runs as process 1 of a sandbox only")
    set_dumpable(False)
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - starts faster
    control = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    gc.disable()
    try:
        Keeper(control).serve()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ECONNRESET):
            raise


if __name__ == "__main__":
    main()
