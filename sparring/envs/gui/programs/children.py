"""The programs on a display, as their owner sees them: started, watched and ended through a keeper (`keeper.py`)."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparring.envs.gui.display import end_group
from sparring.errors import EnvFailed

START_S = 60.0  # half a second on a machine that is not busy


class Children:
    """Programs by name. `close` ends them all, as does losing the last reference, or the end of this process.

    Args:
        folder: deleted at the end. readable: what they may read besides the folder they are started for, and None where
            they are not confined. give: a descriptor that one of them can be handed.
    """

    def __init__(self, folder: Path, readable: tuple[str, ...] | None, give: int) -> None:
        self._readable = readable
        self.ids: dict[str, int] = {}
        self.ended: dict[str, int] = {}
        self._failures: dict[str, str] = {}
        self._rest, self._over = b"", False
        self.keeper = subprocess.Popen(
            (sys.executable, "-m", "sparring.envs.gui.programs.keeper", str(folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(give,),
            start_new_session=True,
        )
        self.close = weakref.finalize(self, _end, self.keeper, folder)

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: dict[str, str],
        writable: Path,
        folder: Path | None = None,
        give: Sequence[int] = (),
    ) -> None:
        """Start a program with that environment alone.

        Args:
            writable: the folder in which it may write. folder: the one to start in, `writable` itself by default.
            give: descriptors to hand on.
        Raises:
            EnvFailed: it can't be started.
        """
        order = {"start": name, "argv": list(command), "env": environment, "folder": str(folder or writable)}
        self._tell(order | {"writable": str(writable), "readable": self._readable, "pass": list(give)})
        deadline = time.monotonic() + START_S
        while name not in self.ids:
            self._await_reports(deadline)
            if name in self._failures:
                raise EnvFailed(f"the program {command[0]!r} can't be started: {self._failures[name]}")

    def end(self, *, but: Sequence[str]) -> None:
        """Kill all programs with all that they started, but those named.

        Raises:
            EnvFailed: they do not die.
        """
        self._over = False
        self._tell({"end": True, "but": list(but)})
        deadline = time.monotonic() + START_S
        while not self._over:
            self._await_reports(deadline)
        self.ids = {name: id for name, id in self.ids.items() if name in but}
        self.ended = {name: status for name, status in self.ended.items() if name in but}

    def has_ended(self, name: str) -> bool:
        """Whether a program has ended by now."""
        self.listen(0)
        return name in self.ended

    def listen(self, patience_s: float) -> bool:
        """Take in what the keeper reports; whether that was anything within a time.

        Raises:
            EnvFailed: the keeper is gone.
        """
        pipe: Any = self.keeper.stdout
        if not select.select([pipe], [], [], patience_s)[0]:
            return False
        found = os.read(pipe.fileno(), 1 << 16)
        if not found:
            raise EnvFailed("the process that keeps the programs has crashed")
        *lines, self._rest = (self._rest + found).split(b"\n")
        for line in lines:
            report: dict[str, Any] = json.loads(line)
            if "over" in report:
                self._over = True
            elif "started" in report:
                self.ids[report["started"]] = report["id"]
            elif "failed" in report:
                self._failures[report["failed"]] = report["why"]
            else:
                self.ended[report["ended"]] = report["status"]
        return True

    def _await_reports(self, deadline: float) -> None:
        if not self.listen(max(deadline - time.monotonic(), 0)):
            raise EnvFailed(f"the process that keeps the programs did not answer within {START_S:g} s")

    def _tell(self, command: dict[str, Any]) -> None:
        pipe: Any = self.keeper.stdin
        pipe.write(json.dumps(command).encode() + b"\n")
        pipe.flush()


def _end(keeper: subprocess.Popen[bytes], folder: Path) -> None:
    try:
        assert keeper.stdin is not None
        keeper.stdin.close()  # asked to, it takes along all that it started
        keeper.wait(5.0)
    except (OSError, subprocess.TimeoutExpired):
        pass
    end_group(keeper)
    shutil.rmtree(folder, ignore_errors=True)
