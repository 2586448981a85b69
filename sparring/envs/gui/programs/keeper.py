"""The process that starts programs, says when they end, and ends them all with the one that started it.

    python -m sparring.envs.gui.programs.keeper FOLDER < commands > reports

A command is one JSON object a line:

    {"start": "editor", "argv": ["/usr/bin/l3afpad"], "env": {…}, "folder": "…", "writable": "…", "readable": […],
     "pass": [7]}
    {"end": true, "but": ["bus"]}

The first, on one line, starts a program with that environment alone, confined by Landlock to what is `readable` and to
the folder `writable`, or not confined where `readable` is null; `pass` are descriptors to hand on, which this process
then closes. The second kills all programs but those named, with all that they started. Reports are
`{"started": "editor", "id": 4711}`, `{"failed": "editor", "why": "…"}`, `{"ended": "editor", "status": 0}`, whose
status is negative for a signal, and `{"over": true}` when all that were to be killed are gone, of which nothing else is
said. When the commands end, because they are over or because their writer was killed, every program is killed, and
FOLDER is deleted.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparring.envs.gui.programs import landlock

_DIE_WITH_PARENT, _ADOPT = 1, 36  # prctl: PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


class Keeper:
    """What has been started, by process id.

    Args:
        folder: to be deleted at the end.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.started: dict[int, str] = {}
        self._kept: list[subprocess.Popen[bytes]] = []

    def start(self, command: dict[str, Any]) -> dict[str, Any]:
        """Start one program, and report that."""
        readable = command["readable"]

        def confine() -> None:  # in the child; this process has one thread, so that this is safe
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
            signal.set_wakeup_fd(-1)
            if readable is not None:
                landlock.restrict(readable, (command["writable"], *_DEVICES))

        try:
            process = subprocess.Popen(
                command["argv"],
                env=command["env"],
                cwd=command["folder"],
                pass_fds=command["pass"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=confine,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return {"failed": command["start"], "why": str(error)}
        finally:
            for descriptor in command["pass"]:
                os.close(descriptor)
        self._kept.append(process)  # one that is forgotten would be waited for by subprocess itself
        self.started[process.pid] = command["start"]
        return {"started": command["start"], "id": process.pid}

    def ended(self) -> list[dict[str, Any]]:
        """Reports of the programs that have ended since the last call."""
        reports: list[dict[str, Any]] = []
        while True:
            try:
                id, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return reports
            if not id:
                return reports
            if id in self.started:
                reports.append({"ended": self.started.pop(id), "status": os.waitstatus_to_exitcode(status)})

    def end(self, but: Sequence[str] = ()) -> dict[str, Any]:
        """Kill every descendant but some: those whose parent ended are children of this process by now, or will be."""
        here = Path(f"/proc/self/task/{os.getpid()}/children")
        spared = {id for id, name in self.started.items() if name in but}
        while children := set(map(int, here.read_text().split())) - spared:
            for id in children:
                os.kill(id, signal.SIGKILL)
            for id in children:
                os.waitpid(id, 0)
                self.started.pop(id, None)
        self._kept = [one for one in self._kept if one.pid in self.started]
        return {"over": True}


def _tell(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        os.write(1, json.dumps(report).encode() + b"\n")


def main() -> None:
    """Serve until the commands end."""
    ctypes.CDLL(None).prctl(_ADOPT, 1, 0, 0, 0)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    keeper, rest = Keeper(sys.argv[1]), b""
    try:
        while True:
            ready = select.select([0, reading], [], [])[0]
            if reading in ready:
                os.read(reading, 4096)
                _tell(keeper.ended())
            if 0 in ready:
                found = os.read(0, 1 << 16)
                if not found:
                    break
                *lines, rest = (rest + found).split(b"\n")
                for command in map(json.loads, lines):
                    _tell([keeper.end(command["but"]) if "end" in command else keeper.start(command)])
    except BrokenPipeError:
        pass
    finally:
        keeper.end()
        shutil.rmtree(keeper.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
