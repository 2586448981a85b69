"""What happens to the windows of a display: which there are, whether they answer, and when drawing has come to rest."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

from sparring.envs.gui.display import Display
from sparring.errors import need

LONGEST_TITLE = 120
_LOOK_S = 0.02


class Windows:
    """A connection of its own to a display, on which nothing but events is awaited.

    Args:
        display: the display.
    Raises:
        Exception: python-xlib raises kinds of its own when the display is gone, here and in every method.
    """

    def __init__(self, display: Display) -> None:
        self._x: Any = need("Xlib.X", "gui")
        self._damage: Any = need("Xlib.ext.damage", "gui")
        self._event: Any = need("Xlib.protocol.event", "gui")
        self._display: Any = need("Xlib.display", "gui").Display(display.name)
        # Windows may close while they are asked about; what is asked about one that is gone is answered by an error.
        self._display.set_error_handler(lambda *_: None)
        self._root = self._display.screen().root
        self._root.change_attributes(event_mask=self._x.PropertyChangeMask | self._x.SubstructureNotifyMask)
        self._display.damage_query_version()
        self._root.damage_create(self._damage.DamageReportRawRectangles)
        self._display.sync()
        self._pings = 0

    def close(self) -> None:
        """Disconnect."""
        self._display.close()

    def forget(self) -> None:
        """Take away what a window manager that was killed left written on the display."""
        for left in ("_NET_SUPPORTING_WM_CHECK", "_NET_CLIENT_LIST", "_NET_ACTIVE_WINDOW"):
            self._root.delete_property(self._atom(left))
        self._display.sync()

    def await_manager(self, patience_s: float, stop: Callable[[], bool]) -> bool:
        """Wait for a window manager, or until `stop` says that none will come; whether one came."""
        return self._await(lambda: bool(self._cardinals(self._root, "_NET_SUPPORTING_WM_CHECK")), patience_s, stop)

    def await_more(self, than: int, patience_s: float, stop: Callable[[], bool]) -> bool:
        """Wait until there are more windows than a number, the newest with the keyboard; whether that came to be.

        Not longer than until `stop` says that none will come.
        """

        def is_there() -> bool:
            found = self.ids()
            return len(found) > than and self._cardinals(self._root, "_NET_ACTIVE_WINDOW") == found[-1:]

        return self._await(is_there, patience_s, stop)

    def ids(self) -> list[int]:
        """Windows of programs, the oldest first."""
        return self._cardinals(self._root, "_NET_CLIENT_LIST")

    def process_of(self, id: int) -> int:
        """The process that a window says to be of; 0 where it says nothing."""
        return next(iter(self._cardinals(self._window(id), "_NET_WM_PID")), 0)

    def title(self, id: int) -> str:
        """What is written on a window, at most `LONGEST_TITLE` characters."""
        found = self._property(self._window(id), "_NET_WM_NAME")
        value = b"" if found is None else found.value
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        return text[:LONGEST_TITLE]

    def answer(self, patience_s: float) -> bool:
        """Whether the programs take their events: each that says it can is pinged, and its answers awaited.

        A program reads events in order, so that it has by then read all that came before.
        """
        owed = set()
        for id in self.ids():
            window = self._window(id)
            if self._atom("_NET_WM_PING") in self._cardinals(window, "WM_PROTOCOLS"):
                self._pings += 1
                data = (32, [self._atom("_NET_WM_PING"), self._pings, id, 0, 0])
                window.send_event(
                    self._event.ClientMessage(window=window, client_type=self._atom("WM_PROTOCOLS"), data=data)
                )
                owed.add((self._pings, id))
        self._display.flush()
        deadline = time.monotonic() + patience_s
        while owed:
            in_time = self._wait(deadline)
            while self._display.pending_events():
                event = self._display.next_event()
                if event.type == self._x.ClientMessage and event.client_type == self._atom("WM_PROTOCOLS"):
                    owed.discard((event.data[1][1], event.data[1][2]))
            there = self.ids()
            owed = {(ping, id) for ping, id in owed if id in there}  # a window that was closed owes nothing
            if not in_time:
                break
        return not owed

    def rest(self, quiet_s: Callable[[], float], limit_s: float) -> bool:
        """Wait until nothing was drawn for a while; False where that does not come in time.

        Args:
            quiet_s: for how long nothing must be drawn, in seconds, asked again and again.
            limit_s: how long that is waited for at most.
        """
        drawn = time.monotonic()
        limit = drawn + limit_s
        while time.monotonic() < limit:
            needed = drawn + quiet_s() - time.monotonic()
            if needed <= 0:
                return True
            # Whether a program works or waits is no event, so that it is looked at once in a while.
            if self._wait(time.monotonic() + min(needed, _LOOK_S)):
                drawn = time.monotonic()
            while self._display.pending_events():
                self._display.next_event()
        return False

    def _await(self, holds: Callable[[], bool], patience_s: float, stop: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + patience_s
        while not holds():
            if stop():
                return False
            # Looked at again now and then, since what stops it is no event of the display.
            self._wait(min(deadline, time.monotonic() + 0.2))
            while self._display.pending_events():
                self._display.next_event()
            if time.monotonic() >= deadline:
                return holds()
        return True

    def _wait(self, deadline: float) -> bool:
        """Wait for an event; whether one is there."""
        if self._display.pending_events():
            return True
        left = max(deadline - time.monotonic(), 0)
        return bool(select.select([self._display.fileno()], [], [], left)[0] and self._display.pending_events())

    def _window(self, id: int) -> Any:
        return self._display.create_resource_object("window", id)

    def _atom(self, name: str) -> int:
        return int(self._display.intern_atom(name))

    def _property(self, window: Any, name: str) -> Any:
        bad_window = need("Xlib.error", "gui").BadWindow
        try:
            return window.get_full_property(self._atom(name), self._x.AnyPropertyType)
        except bad_window:  # closed meanwhile
            return None

    def _cardinals(self, window: Any, name: str) -> list[int]:
        found = self._property(window, name)
        return [] if found is None or found.format != 32 else [int(one) for one in found.value]
