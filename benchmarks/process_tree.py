"""CPU seconds of a process and of everything it started, from /proc; for benchmarks that start browsers."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_seconds(root: int | None = None) -> float:
    """User and system time of this process (or of `root`), its living descendants, and those that they waited for."""
    fields = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields[int(folder.name)] = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
    tree, added = {root or os.getpid()}, True
    while added:
        children = {pid for pid, one in fields.items() if int(one[1]) in tree} - tree
        added = bool(children)
        tree |= children
    return sum(sum(map(int, fields[pid][11:15])) for pid in tree if pid in fields) / os.sysconf("SC_CLK_TCK")
