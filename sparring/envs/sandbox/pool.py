"""Sandboxes kept ready, so that opening one costs nothing where it is wanted."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from sparring.envs.sandbox.protocol import Sandbox, SandboxFailed
from sparring.errors import InvalidConfig

_Kind = TypeVar("_Kind", bound=Sandbox)


class SandboxPool(Generic[_Kind]):
    """Keeps `ready` fresh sandboxes open. What `take` returns belongs to the caller, who closes it.

    None is ever used twice: whatever a program left in one goes with it.

    Args:
        make: opens a sandbox.
        ready: how many to keep ready, at least 1. They count against the machine's cap (`slots.cap`).
    """

    def __init__(self, make: Callable[[], _Kind], ready: int = 2) -> None:
        if ready < 1:
            raise InvalidConfig(f"a pool keeps at least 1 sandbox ready, got {ready}")
        self._make = make
        self._ready = ready
        self._open: deque[_Kind] = deque()
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._fill, name="sandbox-pool", daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or len(self._open) < self._ready)
                if self._closed:
                    return
            try:
                made = self._make()
            except BaseException as error:  # whoever takes next is told, and then it is tried again
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._closed or self._error is None)
                continue
            with self._changed:
                if not self._closed:
                    self._open.append(made)
                    self._changed.notify_all()
                    continue
            made.close()

    def take(self) -> _Kind:
        """A fresh sandbox, which the caller closes.

        Raises:
            SandboxFailed: the pool is closed. Also whatever opening a sandbox raised.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._open or self._error is not None)
            if self._closed:
                raise SandboxFailed("this pool of sandboxes is closed")
            if self._open:
                taken = self._open.popleft()
                self._changed.notify_all()
                return taken
            error, self._error = self._error, None
            self._changed.notify_all()
        assert error is not None
        raise error

    def close(self) -> None:
        """Close those that nobody took. A second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        while self._open:
            with contextlib.suppress(SandboxFailed):
                self._open.popleft().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
