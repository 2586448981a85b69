"""A text space for all of Unicode.

Gymnasium's own `Text` needs a declared alphabet and fails on a character outside it; text environments speak
whatever their data speaks.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

_SAMPLE_ALPHABET = tuple("abcdefghijklmnopqrstuvwxyz ABC 0123456789 .,[]é›漢")


class UnicodeText(gymnasium.Space[str]):
    """All strings of at most `max_length` code points.

    Args:
        max_length: the longest string contained, in code points.
        seed: seed or generator for `sample`.
    """

    def __init__(self, max_length: int = 1_000_000, seed: int | np.random.Generator | None = None) -> None:
        if max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}")
        self.max_length = max_length
        super().__init__(dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Strings have no fixed-size array form."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Draw a string of up to 32 characters, some of them outside ASCII."""
        length = int(self.np_random.integers(1, min(self.max_length, 32) + 1))
        picks = self.np_random.integers(0, len(_SAMPLE_ALPHABET), size=length)
        return "".join(_SAMPLE_ALPHABET[pick] for pick in picks)

    def contains(self, x: Any) -> bool:
        """Whether `x` is a string of at most `max_length` code points."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __repr__(self) -> str:
        return f"UnicodeText(max_length={self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and other.max_length == self.max_length

    __hash__ = None  # type: ignore[assignment]  # equal spaces may hold different generators
