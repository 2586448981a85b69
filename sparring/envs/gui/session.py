"""A display with an application on it: what the desktop environment drives.

Sessions are kept for the next environment when one closes, a few of each size, because starting one takes longer than
an episode. They end with this process.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sparring.envs.gui.display import Display, end_group
from sparring.envs.gui.geometry import Box, Size
from sparring.errors import EnvFailed, SparringError, need
from sparring.types import Image

_START_S = 120.0  # a second on a machine that is not busy
_MOST_IDLE = 4
_LONGEST_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing on the screen: its kind, name and value (None where it has none), and where it is."""

    kind: str
    name: str
    value: str | None
    box: Box


@dataclass(frozen=True, slots=True)
class Look:
    """What an application said about itself: its state, and what is on the screen."""

    state: dict[str, Any]
    widgets: tuple[Shown, ...]


class Session:
    """A display and the process that shows applications on it.

    Args:
        size: of the display, in pixels. patience_s: an application that takes longer over an answer hangs.
    Raises:
        MissingExtra: something is not installed. EnvFailed: something did not start.
    """

    def __init__(self, size: Size, patience_s: float) -> None:
        need("tkinter", "gui")  # in Debian the package python3-tk
        self.patience_s = patience_s
        self.display = Display(size)
        self.owner = os.getpid()
        self._rest = b""
        self.process = subprocess.Popen(
            (sys.executable, "-m", "sparring.envs.gui.apps.host", *map(str, size)),
            env={**os.environ, "DISPLAY": self.display.name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.close = weakref.finalize(self, _end, self.process, self.display)
        self._answer(_START_S)

    @property
    def is_alive(self) -> bool:
        return bool(self.close.alive) and self.process.poll() is None and self.display.is_alive

    def show(self, spec: dict[str, Any]) -> Look:
        """Show an application, with the pointer out of the way in the lower right corner.

        Raises:
            EnvFailed: it or its display hangs or has crashed, and both are ended.
        """
        with self.using_display() as display:
            display.move((1.0, 1.0))
        return self._ask({"show": spec})

    @contextmanager
    def using_display(self) -> Iterator[Display]:
        """The display, for input.

        Raises:
            EnvFailed: it hangs or has crashed, and is ended along with the application.
        """
        try:
            with self.display.watched(self.patience_s) as display:
                yield display
        except SparringError:
            raise
        except Exception as error:  # each library that speaks to displays raises kinds of its own
            raise self._failed(f"has lost its display ({error})") from error

    def grab(self) -> Image:
        """A picture of the display.

        Raises:
            EnvFailed: as for `using_display`.
        """
        with self.using_display() as display:
            return display.grab()

    def look(self) -> Look:
        """What the application shows, after all input so far.

        Raises:
            EnvFailed: it hangs or has crashed, and is ended.
        """
        return self._ask({"look": True})

    def _ask(self, command: dict[str, Any]) -> Look:
        if not self.is_alive:
            raise self._failed("has crashed")
        pipe: Any = self.process.stdin
        try:
            pipe.write(json.dumps(command).encode() + b"\n")
            pipe.flush()
        except (OSError, ValueError) as error:
            raise self._failed("has crashed") from error
        found = self._answer(self.patience_s)
        size = self.display.size
        widgets = tuple(
            Shown(one["kind"], one["name"], one["value"], _box(one["box"], size))
            for one in found["widgets"]
            if one["box"][0] < one["box"][2] and one["box"][1] < one["box"][3]
        )
        return Look(found["state"], widgets)

    def _answer(self, patience_s: float) -> dict[str, Any]:
        """One line from the process, in time."""
        pipe: Any = self.process.stdout
        deadline = time.monotonic() + patience_s
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            ready = select.select([pipe], [], [], max(left, 0))[0]
            part = os.read(pipe.fileno(), 65_536) if ready else b""
            if not ready:
                raise self._failed(f"did not answer within {patience_s:g} s")
            if not part:
                raise self._failed("has crashed")
            self._rest += part
            if len(self._rest) > _LONGEST_ANSWER:
                raise self._failed(f"said more than {_LONGEST_ANSWER} bytes at once")
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _failed(self, how: str) -> EnvFailed:
        self.close()
        return EnvFailed(f"the application {how}; it was ended, and the next episode starts another")


def _box(edges: list[int], size: Size) -> Box:
    left, top, right, bottom = edges
    return Box.from_pixels(left, top, right, bottom, size)


def _end(process: subprocess.Popen[bytes], display: Display) -> None:
    end_group(process)
    display.close()


_idle: list[Session] = []
_lock = threading.Lock()


def take(size: Size, patience_s: float) -> Session:
    """A session of that size: one that nobody uses, or a new one."""
    with _lock:
        for session in list(_idle):
            if session.display.size == size and session.owner == os.getpid():
                _idle.remove(session)
                if session.is_alive:
                    session.patience_s = patience_s
                    return session
                session.close()
    return Session(size, patience_s)


def give_back(session: Session) -> None:
    """Keep a session for the next `take`, or end it where there are enough."""
    with _lock:
        if session.is_alive and len(_idle) < _MOST_IDLE:
            _idle.append(session)
            return
    session.close()


@atexit.register
def close_idle() -> None:
    """End all sessions that nobody uses."""
    with _lock:
        while _idle:
            _idle.pop().close()
