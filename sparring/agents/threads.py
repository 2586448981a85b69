"""How many CPU threads a model computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL_MODEL = 1_000_000
"""Weights below which threads mostly wait for each other: on a busy machine two take ten times as long as one."""


@contextmanager
def cpu_threads(model: torch.nn.Module, wanted: int | None) -> Iterator[None]:
    """Compute with a number of threads, and go back to the number before.

    Args:
        model: what computes.
        wanted: the number; 0 for one thread where the model is small and torch's own choice where it is not; None to
            leave the number as it is.
    """
    before = torch.get_num_threads()
    if wanted == 0 and sum(one.numel() for one in model.parameters()) < SMALL_MODEL:
        wanted = 1
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
