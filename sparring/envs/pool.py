"""A fixed number of like environments, in which a broken one is replaced and takes no other down."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType

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
