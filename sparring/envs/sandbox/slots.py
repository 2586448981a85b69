"""How many sandboxes a machine's user may have at once, over all processes, and what a killed owner left behind.

Every sandbox holds a slot: a locked file in a folder that all processes of this user share. The lock goes with the
process that holds it, however that ends. A slot that is unlocked but not empty tells of an orphan: who opened it, for
what, which process and which control group it was. `reap` ends those, and so does whoever claims the slot next.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import stat
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from sparring.envs.sandbox import cgroup
from sparring.envs.sandbox.engine import remove_by_name
from sparring.envs.sandbox.processes import start_time
from sparring.envs.sandbox.protocol import SandboxFailed
from sparring.errors import InvalidConfig

CAP_VARIABLE = "SPARRING_MAX_SANDBOXES"
_FIRST_USER = 870_000  # far above the users of any machine; slot n runs as user _FIRST_USER + n


def cap() -> int:
    """The most sandboxes of this user at once: `SPARRING_MAX_SANDBOXES`, or 16 for each core."""
    given = os.environ.get(CAP_VARIABLE)
    if given is None:
        return 16 * (os.cpu_count() or 1)
    if not given.isdigit() or int(given) < 1:
        raise InvalidConfig(f"{CAP_VARIABLE} must be a whole number of at least 1, got {given!r}")
    return int(given)


def folder() -> Path:
    """The folder of slots, made on first use.

    Raises:
        SandboxFailed: somebody else owns it.
    """
    path = Path(tempfile.gettempdir(), f"sparring-sandboxes-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise SandboxFailed(f"{path} must be a folder of this user alone (mode 0700); remove it and try again")
    return path


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a slot says of its sandbox.

    Attributes:
        label: what it was opened for. owner: process id of whoever opened it.
        process, started: process id of the sandbox's process 1 outside, and the kernel's start time of it.
        groups: the folders of its control group.
        container, engine: where Docker keeps it: the container's name, and where that engine listens.
    """

    label: str
    owner: int
    process: int
    started: int
    groups: tuple[str, ...] = ()
    container: str = ""
    engine: str = ""


@dataclass(slots=True)
class Slot:
    """A claimed slot; `release` gives it back."""

    index: int
    descriptor: int

    @property
    def user(self) -> int:
        """The user, outside, that this slot's sandbox runs as where root opens it."""
        return _FIRST_USER + self.index

    def record(self, tenant: Tenant) -> None:
        """Say what the slot holds."""
        content = json.dumps(asdict(tenant)).encode()
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, content, 0)

    def release(self) -> None:
        """Give the slot back, empty."""
        with contextlib.suppress(OSError):
            os.ftruncate(self.descriptor, 0)
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


def _try(index: int) -> Slot | None:
    """Lock slot `index`, and end the orphan in it; None where it is taken."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(folder() / f"{index}.slot", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Slot(index, descriptor)


def _tenant(descriptor: int) -> Tenant | None:
    content = os.pread(descriptor, 1 << 16, 0)
    try:
        known = json.loads(content)
        return Tenant(**{**known, "groups": tuple(known["groups"])})
    except (ValueError, TypeError, KeyError):  # empty, or cut short by a kill: then nothing had been started yet
        return None


def _end(tenant: Tenant) -> None:
    """Kill an orphan if it still is the process that it was, and remove its control group or container."""
    if tenant.started and start_time(tenant.process) == tenant.started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(tenant.process, signal.SIGKILL)
    groups = tuple(Path(one) for one in tenant.groups)
    for process in cgroup.members(groups):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    cgroup.remove(groups)
    if tenant.container:
        remove_by_name(tenant.engine, tenant.container)


def claim(wait_s: float = 60.0) -> Slot:
    """Take a free slot, waiting for one where all are taken.

    Raises:
        SandboxFailed: none became free in time.
    """
    deadline = time.monotonic() + wait_s
    while True:
        for index in range(cap()):
            slot = _try(index)
            if slot is not None:
                orphan = _tenant(slot.descriptor)
                if orphan is not None:
                    _end(orphan)
                    os.ftruncate(slot.descriptor, 0)
                return slot
        if time.monotonic() > deadline:
            raise SandboxFailed(
                f"all {cap()} sandboxes of this user are in use, and none was closed within {wait_s:g} s: close some "
                f"(`sparring sandbox list` shows them), or set {CAP_VARIABLE} higher"
            )
        time.sleep(0.02)


def tenants() -> list[tuple[Tenant, bool]]:
    """What every filled slot holds, and whether its owner still lives."""
    found = []
    for path in sorted(folder().glob("*.slot")):
        slot = _try(int(path.stem))
        if slot is None:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            tenant = _tenant(descriptor)
            os.close(descriptor)
        else:
            tenant = _tenant(slot.descriptor)
            os.close(slot.descriptor)
        if tenant is not None:
            found.append((tenant, slot is None))
    return found


def reap() -> list[Tenant]:
    """End every sandbox whose owner is gone, and say which these were."""
    ended = []
    for path in sorted(folder().glob("*.slot")):
        slot = _try(int(path.stem))
        if slot is None:
            continue
        tenant = _tenant(slot.descriptor)
        if tenant is not None:
            _end(tenant)
            ended.append(tenant)
        slot.release()
    return ended
