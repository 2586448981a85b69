"""Sandboxes by bubblewrap: no daemon, no image, a dozen milliseconds each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sparring.envs.sandbox import slots
from sparring.envs.sandbox.kept import KeptSandbox
from sparring.envs.sandbox.launch import Keeper
from sparring.envs.sandbox.protocol import Limits, SandboxFailed


class BubblewrapSandbox(KeptSandbox):
    """A workspace and contained processes (`sparring.envs.sandbox.protocol.Sandbox`).

    Without `probe.verify` having passed on this machine nothing is known of how well it holds; `open_sandbox` sees to
    that.

    Args:
        limits: what its processes may use.
        label: what it is for, as lists of sandboxes show it.
        read_only: further folders of this machine that processes may read, at the paths that they have outside.
        wait_s: how long to wait for a slot where the most sandboxes are open already.
    """

    def __init__(
        self, limits: Limits | None = None, *, label: str = "", read_only: Sequence[Path] = (), wait_s: float = 60.0
    ) -> None:
        super().__init__(limits or Limits())
        self.label = label
        self._read_only = tuple(read_only)
        self._owner = os.getpid()
        self._slot: slots.Slot | None = slots.claim(wait_s)
        try:
            self._keeper: Keeper | None = Keeper(self.limits, label, self._slot, self._read_only)
        except BaseException:
            self._slot.release()
            self._slot = None
            raise

    @property
    def keeper(self) -> Keeper:
        """The running sandbox's process 1.

        Raises:
            SandboxFailed: the sandbox is closed.
        """
        if self._keeper is None:
            raise SandboxFailed("this sandbox is closed")
        return self._keeper

    @property
    def memory_limit(self) -> str:
        """Who holds the limit on memory: the kernel (`cgroup`), or the keeper, which looks every 20 ms (`watched`)."""
        return "cgroup" if self.keeper.group is not None else "watched"

    def memory_kills(self) -> int:
        group = self.keeper.group
        return group.memory_kills() if group is not None else self.keeper.memory_kills

    def restart(self) -> None:
        self._end_shells()
        if self._keeper is None or self._slot is None:
            raise SandboxFailed("this sandbox is closed")
        self._keeper.stop()
        self._keeper = Keeper(self.limits, self.label, self._slot, self._read_only)

    def close(self) -> None:
        if os.getpid() != self._owner:  # a fork of the owner has a copy of this object, but not of the sandbox
            return
        self._end_shells()
        keeper, self._keeper = self._keeper, None
        slot, self._slot = self._slot, None
        if keeper is not None:
            keeper.stop()
        if slot is not None:
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
