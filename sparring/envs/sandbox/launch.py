"""Starting bubblewrap, and talking with the keeper in it."""

from __future__ import annotations

import array
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparring.envs.sandbox import cgroup, slots
from sparring.envs.sandbox.command import bubblewrap_path, command_line, readable
from sparring.envs.sandbox.processes import start_time
from sparring.envs.sandbox.protocol import Limits, SandboxFailed, SandboxRefused
from sparring.envs.sandbox.starter import starter

_START_S = 20.0
_LONGEST_MESSAGE = 1 << 16  # a longer one goes in a file: the kernel has a bound for messages that others may set


class Keeper:
    """A started sandbox as its owner sees it: process 1, its socket, and the writable folders.

    Args:
        limits: what the sandbox may use. label: what it is for. slot: the slot that it fills.
        read_only: further folders to show in it.
    Attributes:
        folders: descriptors of the workspace, /tmp and /dev/shm.
        group: its control group, or None where the keeper watches memory itself.
        ended: what the keeper said of jobs that have ended, by their numbers.
        memory_kills: how often the keeper ended everything because memory ran out.
        owner: the user outside that its files belong to, None for this process's own.
    """

    def __init__(self, limits: Limits, label: str, slot: slots.Slot, read_only: Sequence[Path] = ()) -> None:
        self.limits = limits
        self.group = cgroup.create(f"sparring-{os.getpid()}-{slot.index}-{uuid.uuid4().hex[:8]}", limits)
        self.owner = slot.user if os.getuid() == 0 else None
        self.folders: tuple[int, ...] = ()
        self.ended: dict[int, dict[str, Any]] = {}
        self.memory_kills = 0
        self._jobs = 0
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this keeper
        self._process: subprocess.Popen[bytes] | None = None
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._start(theirs, read_only)
            started = start_time(self.process_id)
            groups = tuple(str(one) for one in self.group.folders) if self.group else ()
            slot.record(slots.Tenant(label, os.getpid(), self.process_id, started, groups))
            self._begin()
        except BaseException:
            self.stop()
            raise

    def _start(self, theirs: socket.socket, read_only: Sequence[Path]) -> None:
        info, info_end = os.pipe()
        reach = starter().reachable if self.owner is not None else Path.resolve
        bubblewrap = bubblewrap_path()
        program = reach(bubblewrap.parent.parent) / bubblewrap.relative_to(bubblewrap.parent.parent)
        line = command_line(self.limits, theirs.fileno(), info_end, read_only, reach)
        command = [str(program), *line.arguments]
        if self.owner is not None:
            command = [*_as_user(self.owner), *command]
        try:
            self._process = starter().start(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                cwd="/",
                env={},
                pass_fds=(theirs.fileno(), info_end, *line.descriptors),
            )
        finally:
            os.close(info_end)
            line.close()
            theirs.close()
        with open(info, "rb") as file:  # noqa: PTH123 - a descriptor
            told = file.read()
        try:
            self.process_id = int(json.loads(told)["child-pid"])
        except (ValueError, KeyError):
            self._process.wait(_START_S)
            raise SandboxRefused(_why(self._complaint())) from None

    def _complaint(self) -> str:
        """What bubblewrap and the keeper wrote to standard error."""
        self._said.seek(0)
        return self._said.read(4096).decode("utf-8", "replace").strip()

    def _begin(self) -> None:
        limits = {name: int(value) for name, value in asdict(self.limits).items()}
        deadline = time.monotonic() + _START_S
        try:
            if self.group is not None:
                self.group.add(self.process_id)
            self.send({"do": "begin", "limits": {**limits, "watch": int(self.group is None), "count": 1}})
            while not self.folders:
                self._await("start", deadline)
        except (SandboxFailed, ProcessLookupError) as error:
            raise SandboxRefused(_why(self._complaint() or str(error))) from error

    def send(self, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send the keeper a request with descriptors.

        Raises:
            SandboxFailed: it is gone.
        """
        data = json.dumps(request).encode()
        with contextlib.ExitStack() as opened:
            if len(data) > _LONGEST_MESSAGE:
                file = readable(data)
                opened.callback(os.close, file)
                data, descriptors = b'{"do": "read"}', [file, *descriptors]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            try:
                self.control.sendmsg([data], rights)
            except OSError as error:
                raise SandboxFailed(f"the sandbox's process 1 is gone ({error})") from error

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.control.fileno()

    def start(self, argv: Sequence[str], env: Mapping[str, str], descriptors: Sequence[int]) -> int:
        """Start a program with these descriptors as its 0, 1, 2, …; returns the job's number."""
        job = self.next_job()
        self.send({"do": "start", "job": job, "argv": list(argv), "env": dict(env)}, descriptors)
        return job

    def receive(self) -> dict[str, Any]:
        """Take one message, note what it says of jobs and memory, and return it.

        Raises:
            SandboxFailed: the keeper is gone.
        """
        try:
            data, ancillary, _, _ = self.control.recvmsg(1 << 16, socket.CMSG_SPACE(64), socket.MSG_CMSG_CLOEXEC)
        except OSError:
            data, ancillary = b"", []
        if not data:
            raise SandboxFailed("the sandbox's process 1 is gone")
        message: dict[str, Any] = json.loads(data)
        for _, _, packed in ancillary:
            self.folders = tuple(array.array("i", packed))
        if message["event"] == "end":
            self.ended[message["job"]] = message
        elif message["event"] == "out_of_memory":
            self.memory_kills += 1
        return message

    def _await(self, what: str, deadline: float) -> dict[str, Any]:
        self.control.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            return self.receive()
        except SandboxFailed as error:
            raise SandboxFailed(f"the sandbox did not answer ({what}) within {_START_S:g} s: {error}") from error
        finally:
            self.control.settimeout(None)

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        """Have the keeper do something that it answers at once: `kill`, `clean` or `import`.

        Raises:
            SandboxFailed: it is gone, or did not manage in time.
        """
        self.send({"do": what, **details})
        deadline = time.monotonic() + _START_S
        answers = {"kill": "killed", "clean": "cleaned", "import": "imported"}
        while (answer := self._await(what, deadline))["event"] != answers[what]:
            pass
        return answer

    def next_job(self) -> int:
        """A number for a new job."""
        self._jobs += 1
        return self._jobs

    def stop(self) -> None:
        """End the sandbox; the kernel ends all that is in it. A second call does nothing."""
        process, self._process = self._process, None
        if process is not None:
            process_id = getattr(self, "process_id", 0)
            if process_id and process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
            else:
                process.kill()
            try:
                process.wait(_START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_START_S)
        self._said.close()
        self.control.close()
        for one in self.folders:
            os.close(one)
        self.folders = ()
        if self.group is not None:
            cgroup.remove(self.group.folders, patience_s=_START_S)
            self.group = None


def _as_user(user: int) -> list[str]:
    """What runs a command as an unprivileged user of the sandbox's own.

    Raises:
        SandboxRefused: setpriv is missing.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise SandboxRefused("root opens sandboxes as another user with setpriv, which is missing: install util-linux")
    return [setpriv, f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]


def _why(said: str) -> str:
    """What to do about bubblewrap's own complaint."""
    advice = {
        "No permissions to create": "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
        "kernel.apparmor_restrict_unprivileged_userns=0)",
        "Creating new namespace failed": "allow unprivileged user namespaces (sysctl user.max_user_namespaces=10000); "
        "in a container, start it with --security-opt seccomp=unconfined",
        "setting up uid map": "in a container, allow user namespaces: --security-opt seccomp=unconfined and "
        "--security-opt apparmor=unconfined",
        "Can't mount proc": "in a container, uncover /proc: --security-opt systempaths=unconfined",
    }
    hint = next((what for sign, what in advice.items() if sign in said), "see docs/sandbox.md")
    return f"bubblewrap could not start a sandbox: {said or 'it said nothing'}. What helps: {hint}"
