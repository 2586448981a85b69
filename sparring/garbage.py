"""Fewer searches of the heap for cycles while many small objects live at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Allocations between searches of the youngest objects, and how many such searches make one of the older ones, and one
# of all. Python's own 700, 10, 10 make a rollout search its whole heap, catalogues and models included, for the sake of
# masks and records that reference counting frees anyway: half of what a turn costs beside the model.
_THRESHOLDS = (100_000, 50, 50)


@contextmanager
def rare_collection() -> Iterator[None]:
    """Let Python look for reference cycles far less often in this block; memory stays bounded."""
    before = gc.get_threshold()
    if before[0]:  # 0: somebody switched collection off
        gc.set_threshold(*(max(old, new) for old, new in zip(before, _THRESHOLDS, strict=True)))
    try:
        yield
    finally:
        gc.set_threshold(*before)
