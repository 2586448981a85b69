"""The thread that starts sandboxes, and how they reach what root keeps in folders closed to others."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sparring.envs.sandbox.protocol import SandboxRefused

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS = 0x0002_0000
_MS_BIND, _MS_REC, _MS_SLAVE = 1 << 12, 1 << 14, 1 << 19
_MEETING_PLACE = Path("/run/sparring-sandbox")

_Found = TypeVar("_Found")


class Starter:
    """One thread that lives as long as this process and starts every sandbox.

    The kernel counts a parent as dead, for `--die-with-parent`, when the *thread* that started the child ends.

    Where root opens sandboxes, they run as another user, who can't reach folders below one that only root may enter,
    such as a Python in root's home. The thread then has a mount namespace of its own, in which such folders are bound
    to a place that everybody can reach; nobody else sees those mounts, and they go with the thread.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-starter")
        self._bound: dict[Path, Path] = {}

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a process, with the arguments of `subprocess.Popen`."""
        return self._inside(lambda: subprocess.Popen[bytes](command, **options))

    def reachable(self, path: Path) -> Path:
        """A path at which every user finds `path`, for processes that this thread starts.

        Raises:
            SandboxRefused: that would take a mount, which this root may not make.
        """
        path = path.resolve()
        if all(folder.stat().st_mode & 0o001 for folder in path.parents):
            return path
        if path not in self._bound:
            self._bound[path] = self._inside(lambda: self._bind(path))
        return self._bound[path]

    def _inside(self, what: Callable[[], _Found]) -> _Found:
        return self._thread.submit(what).result()

    def _bind(self, path: Path) -> Path:
        if not self._bound:
            self._call("unshare", _LIBC.unshare(_CLONE_NEWNS), path)
            self._call("mount", _LIBC.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), path)
            _MEETING_PLACE.mkdir(mode=0o755, exist_ok=True)
            self._call("mount", _LIBC.mount(b"sparring", bytes(_MEETING_PLACE), b"tmpfs", 0, b"mode=0755"), path)
        target = _MEETING_PLACE / str(len(self._bound))
        target.mkdir() if path.is_dir() else target.touch()
        self._call("mount", _LIBC.mount(bytes(path), bytes(target), None, _MS_BIND | _MS_REC, None), path)
        return target

    def _call(self, name: str, outcome: int, path: Path) -> None:
        if outcome != 0:
            raise SandboxRefused(
                f"{path} lies below a folder that only root may enter, and {name} to show it to a sandbox failed: "
                f"{os.strerror(ctypes.get_errno())}. Let others enter the folders above it (chmod o+x), install "
                "Python and sparring elsewhere, or run as an ordinary user"
            )


_lock = threading.Lock()
_starter: Starter | None = None


def starter() -> Starter:
    """This process's starter, made on first use."""
    global _starter
    with _lock:
        if _starter is None:
            _starter = Starter()
        return _starter


def _forget() -> None:
    """A forked child has none of its parent's threads."""
    global _starter, _lock
    _starter, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
