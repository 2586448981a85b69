"""What a process is doing, as the kernel tells it: whether it works, and whether it will go on by itself soon."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable

# Four frames of what draws 60 times a second, and more than the time of a double click (`home.py`): two clicks in two
# steps are two clicks.
_IDLE_S = 0.065
# A dialog of GTK waits for a fifth of a second before it closes, and a button that a key pressed flashes for two.
_WAITING_S = 0.5
# The number of poll(), by machine; what waits in another call may do so for a time that is not seen here.
_POLL = {"x86_64": "7"}.get(platform.machine())
_SOON_MS = 450


def quiet_time(ids: Iterable[int]) -> float:
    """For how long nothing must be drawn until processes have come to rest, in seconds.

    Args:
        ids: of the processes; those that have ended count as being at rest.
    Returns:
        Infinity where one works or waits for a processor; else half a second where one may have set itself a time at
        which it goes on, and less where all wait for events alone.
    """
    longest = _IDLE_S
    for id in ids:
        try:
            with os.scandir(f"/proc/{id}/task") as threads:
                if any(_works(thread.name) for thread in threads):
                    return math.inf
            waits = _read(f"/proc/{id}/syscall").split()
        except PermissionError:  # not ours to look into
            waits = []
        except OSError:  # ended
            continue
        # The third argument is the time in milliseconds; without a limit it is -1, which reads as a large number.
        if len(waits) < 4 or waits[0] != _POLL or int(waits[3], 16) < _SOON_MS:
            longest = _WAITING_S
    return longest


def _works(thread: str) -> bool:
    return _read(f"/proc/{thread}/stat").rpartition(")")[2].split()[0] in ("R", "D")


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
