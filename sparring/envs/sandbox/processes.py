"""What names a process of this machine for good."""

from __future__ import annotations

from pathlib import Path


def start_time(process: int) -> int:
    """When a process started, in the kernel's ticks, 0 where it is gone; with its id this names it for good."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])
