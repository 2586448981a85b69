"""A control group for one sandbox: memory and processes of all its members together, where this process may make one.

Both layouts are known: version 2, and version 1 with a hierarchy for each controller. The group is a child of the one
that this process is in (in version 2 of the nearest above that hands the controllers down), so that whatever bounds
this process bounds its sandboxes too.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from sparring.envs.sandbox.protocol import Limits

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """The folders of one group: a single one in version 2, one for each controller in version 1."""

    memory: Path
    processes: Path

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder once."""
        return tuple(dict.fromkeys((self.memory, self.processes)))

    def add(self, process: int) -> None:
        """Put a process, and what it starts from now on, into the group."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(process))

    def memory_kills(self) -> int:
        """How many processes the kernel killed here because memory ran out."""
        for name in ("memory.events", "memory.oom_control"):  # of version 2 and of version 1
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(f"{self.memory}/{name}", os.O_RDONLY | os.O_CLOEXEC)  # twice for each command
                try:
                    content = os.read(descriptor, 4096)
                finally:
                    os.close(descriptor)
                for line in content.split(b"\n"):
                    if line.startswith(b"oom_kill "):
                        return int(line[9:])
        return 0


def _own_group(controller: str, process: int | str = "self") -> Path | None:
    """Where a process, by default this one, stands in the hierarchy of `controller` ("" for version 2)."""
    try:
        lines = Path(f"/proc/{process}/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if (controller in controllers.split(",")) if controller else not controllers:
            return (_ROOT / controller / path.lstrip("/")) if controller else (_ROOT / path.lstrip("/"))
    return None


def of(process: int) -> ControlGroup | None:
    """The group that counts a process's memory, as far as this process sees it; None where it does not."""
    for controller, name in (("memory", "memory.oom_control"), ("", "memory.events")):
        place = _own_group(controller, process)
        if place is not None and (place / name).is_file():
            return ControlGroup(place, place)
    return None


def _version_2_parent() -> Path | None:
    """The nearest group above this process that hands memory and pids down to its children."""
    place = _own_group("")
    while place is not None and place.is_relative_to(_ROOT):
        with contextlib.suppress(OSError):
            if {"memory", "pids"} <= set((place / "cgroup.subtree_control").read_text().split()):
                return place
        if place == _ROOT:
            break
        place = place.parent
    return None


def _parents() -> tuple[Path, Path] | None:
    if (_ROOT / "cgroup.controllers").exists():
        parent = _version_2_parent()
        return (parent, parent) if parent else None
    memory, processes = _own_group("memory"), _own_group("pids")
    return (memory, processes) if memory and processes else None


def create(name: str, limits: Limits) -> ControlGroup | None:
    """Make a group with these limits; None where that is not possible for this process."""
    parents = _parents()
    if parents is None:
        return None
    group = ControlGroup(parents[0] / name, parents[1] / name)
    try:
        for folder in group.folders:
            folder.mkdir()
        _limit(group, limits)
    except OSError:
        remove(group.folders)
        return None
    return group


def _limit(group: ControlGroup, limits: Limits) -> None:
    memory = str(limits.memory_bytes)
    if (group.memory / "memory.max").exists():
        (group.memory / "memory.max").write_text(memory)
        with contextlib.suppress(FileNotFoundError):  # a kernel without swap accounting
            (group.memory / "memory.swap.max").write_text("0")
    else:
        (group.memory / "memory.limit_in_bytes").write_text(memory)
        with contextlib.suppress(FileNotFoundError):
            (group.memory / "memory.memsw.limit_in_bytes").write_text(memory)
        with contextlib.suppress(OSError):  # version 1 counts these apart, and only where there is a limit
            (group.memory / "memory.kmem.tcp.limit_in_bytes").write_text(str(limits.memory_bytes // 8))
    (group.processes / "pids.max").write_text(str(limits.processes + 1))  # the keeper is one more


def remove(folders: tuple[Path, ...], patience_s: float = 2.0) -> bool:
    """Remove the folders of a group whose processes are ending; whether all are gone in time."""
    deadline = time.monotonic() + patience_s
    for folder in folders:
        while folder.exists():
            try:
                folder.rmdir()
            except OSError:  # processes that were killed take a moment to leave
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.002)
    return True


def members(folders: tuple[Path, ...]) -> set[int]:
    """The processes in a group."""
    found: set[int] = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            found |= {int(line) for line in (folder / "cgroup.procs").read_text().split()}
    return found - {os.getpid()}
