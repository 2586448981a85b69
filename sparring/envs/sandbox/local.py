"""No sandbox at all: commands of this user, on this machine, with everything that this user may do.

It answers the calls of a sandbox, so that environments can be tried where nothing can contain them, and is opened by
`open_sandbox(unsafe_local=True)` only. Time limits, output limits and the limits of each single process hold; memory
and processes of all together, the disk, the network and this user's files are open to whatever runs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from types import TracebackType
from typing import Self

from sparring.envs.sandbox import slots
from sparring.envs.sandbox.processes import start_time
from sparring.envs.sandbox.protocol import Limits, SandboxFailed
from sparring.envs.sandbox.served import BOOT, GRACE_S, ServedSandbox, SocketStream


class UnsafeLocalWarning(UserWarning):
    """Programs run without a sandbox."""


class UnsafeLocal(ServedSandbox):
    """Commands in a temporary folder, not contained (`sparring.envs.sandbox.protocol.Sandbox`).

    Args:
        limits: see above for those that hold. label: what it is for. wait_s: how long to wait for a slot.
    """

    contained = False

    def __init__(self, limits: Limits | None = None, *, label: str = "", wait_s: float = 60.0) -> None:
        warnings.warn(
            "UNSAFE: commands run on this machine without any sandbox, with all rights of this user. Give this only "
            "programs that you would run yourself",
            UnsafeLocalWarning,
            stacklevel=3,
        )
        super().__init__(limits, label)
        self._owner = os.getpid()
        self._slot: slots.Slot | None = slots.claim(wait_s)
        self.workspace = tempfile.mkdtemp(prefix="sparring-unsafe-")
        self._server: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def near(self) -> bool:
        return True

    def _start(self) -> None:
        if self._slot is None:
            raise SandboxFailed("this sandbox is closed")
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-I", "-c", BOOT]
            self._server = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno(), cwd=self.workspace)
        started = start_time(self._server.pid)
        self._slot.record(slots.Tenant(f"{self.label} (UNSAFE)", os.getpid(), self._server.pid, started))
        self._greet(SocketStream(ours))

    def restart(self) -> None:
        self._stop()
        shutil.rmtree(self.workspace, ignore_errors=True)
        os.makedirs(self.workspace, mode=0o700)  # noqa: PTH103
        self._start()

    def _stop(self) -> None:
        self._end_shells()
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(SandboxFailed):
                stream.close()
        server, self._server = self._server, None
        if server is not None:
            try:
                server.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def close(self) -> None:
        if os.getpid() != self._owner:
            return
        slot, self._slot = self._slot, None
        if slot is None:
            return
        self._stop()
        shutil.rmtree(self.workspace, ignore_errors=True)
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
