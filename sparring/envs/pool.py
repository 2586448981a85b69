"""A fixed number of like environments, in which a broken one is replaced and takes no other down."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from sparring.envs.base import EnvType


class EnvPool:
    """`size` environments made by `make`, closed together.

    Args:
        make: builds one environment; called again to replace one that failed.
        size: how many, at least 1.
    """

    def __init__(self, make: Callable[[], EnvType], size: int) -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least 1 environment, got {size}")
        self._make = make
        self.envs = [make() for _ in range(size)]

    def __len__(self) -> int:
        return len(self.envs)

    def replace(self, index: int, *, close: bool = True) -> None:
        """Put a fresh environment in the place of a broken one.

        `close=False` leaves the old one alone: closing an environment that still hangs in a step would hang too.
        """
        if close:
            with contextlib.suppress(Exception):  # it is broken already; its own clean-up may break as well
                self.envs[index].close()
        self.envs[index] = self._make()

    def close(self) -> None:
        """Close all of them, even if some fail to."""
        for env in self.envs:
            with contextlib.suppress(Exception):
                env.close()

    def __enter__(self) -> EnvPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EnvThread:
    """A thread in which one environment is called, one call after the other.

    It is a daemon, unlike an executor's: one whose environment hangs must not keep the program from ending.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function in the thread; the future gives what it returns or raises."""
        future: Future[Any] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)

        self._calls.put(call)
        return future

    def stop(self) -> None:
        """Let the thread end after what it is doing now."""
        self._calls.put(None)
