"""Global random generators of an environment's own, for packages that draw from Python's and NumPy's global ones.

Such a package seeds and moves the generators of the whole process: two of its environments disturb each other, and
everything else. Here the global generators are swapped for the environment's own while its code runs, and put back
exactly as they were.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

# While they are swapped, no other environment may swap them: there is one pair a process.
_swapping = threading.RLock()
_numpy_global: Any = np.random  # its stubs leave out the two functions that exchange its generator


class OwnGenerators:
    """What `random` and `numpy.random` are while `lent` is open; their states travel with snapshots.

    A thread that draws from the global generators while another thread's environment has them swapped draws from
    that environment's. Only environments wait for one another.
    """

    def __init__(self, seed: int) -> None:
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start both anew from a seed of 0 or more."""
        self._python = random.Random(seed).getstate()
        self._numpy = np.random.MT19937(seed)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Swap the global generators for these; the outer ones come back as they were, even after an exception."""
        with _swapping:
            python, ours, theirs = random.getstate(), self._numpy, _numpy_global.get_bit_generator()
            numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - to put it back
            random.setstate(self._python)
            _numpy_global.set_bit_generator(ours)
            try:
                yield
            finally:
                self._python = random.getstate()
                random.setstate(python)
                _numpy_global.set_bit_generator(theirs)
                if numpy_state["has_gauss"]:  # a normal number kept for the next draw, which the swap drops
                    np.random.set_state(numpy_state)  # noqa: NPY002
