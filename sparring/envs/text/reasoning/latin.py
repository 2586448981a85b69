"""Fill the gaps of a Latin square (`sparring/LatinSquare-v1`).

    1 ? 3 / 2 3 ? / ? 1 2  ->  2 1 3

Each row and each column holds every digit once; the answer is the missing digits in reading order. A gap often follows
from other gaps that are said after it. A wrong attempt shows two equal digits in a row or column, and the detailed
feedback names them. Every filling that keeps to the rule is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import numpy as np

from sparring.envs.text.reasoning.self_correction import RIGHT, Options, SelfCorrection, Verdict, wrong
from sparring.errors import InvalidConfig
from sparring.types import ActionSet, Form

_GAP = 0


@dataclass(frozen=True, slots=True)
class Square:
    """The cells of a square in reading order, digits from 1, 0 for a gap."""

    size: int
    cells: tuple[int, ...]

    @property
    def gaps(self) -> list[int]:
        """The positions of the gaps."""
        return [at for at, digit in enumerate(self.cells) if digit == _GAP]

    def lines(self) -> list[tuple[str, range]]:
        """Rows and columns, each with its name and the positions of its cells."""
        size = self.size
        rows = [(f"row {row + 1}", range(row * size, row * size + size)) for row in range(size)]
        return rows + [(f"column {column + 1}", range(column, size * size, size)) for column in range(size)]

    def clash(self, cells: list[int]) -> tuple[str, int] | None:
        """The first line that holds a digit twice, and the digit."""
        for name, positions in self.lines():
            digits = [cells[at] for at in positions if cells[at] != _GAP]
            twice = next((digit for digit in sorted(set(digits)) if digits.count(digit) > 1), None)
            if twice is not None:
                return name, twice
        return None

    def filling(self) -> list[int] | None:
        """The first filling in the dictionary that keeps to the rule, None where there is none."""
        cells, gaps, filled = list(self.cells), self.gaps, 0
        while filled < len(gaps):
            at = gaps[filled]
            cells[at] += 1
            if cells[at] > self.size:
                cells[at] = _GAP
                filled -= 1
                if filled < 0:
                    return None
            elif self.clash(cells) is None:
                filled += 1
        return [cells[at] for at in gaps]


class LatinSquare(SelfCorrection[Square]):
    """Say the missing digits, such that no row or column holds one twice.

    Args:
        size: rows and columns, 3 to 6. gaps: how many cells are missing.
        options: `attempts`, `feedback` and the others of `SelfCorrection`.
    Raises:
        InvalidConfig: sizes out of range.
    """

    rules = "Each digit is once in each row and column. Say the missing ones in order."

    def __init__(self, *, size: int = 5, gaps: int = 8, **options: Unpack[Options]) -> None:
        if not 3 <= size <= 6 or not 1 <= gaps <= size * size:
            raise InvalidConfig(f"size must be 3 to 6 and gaps 1 to size squared, got {size} and {gaps}")
        super().__init__(**options)
        self.size, self.gaps = size, gaps
        self.actions = ActionSet(forms=(Form("", "", tuple(str(digit) for digit in range(1, size + 1))),))

    def draw(self, rng: np.random.Generator) -> Square:
        """Permute rows, columns and digits of the cyclic square, and make gaps."""
        rows, columns, names = (rng.permutation(self.size) for _ in range(3))
        cells = [int(names[(row + column) % self.size]) + 1 for row in rows for column in columns]
        for at in rng.permutation(len(cells))[: self.gaps]:
            cells[int(at)] = _GAP
        return Square(self.size, tuple(cells))

    def problem(self, problem: Square) -> str:
        shown = ["?" if digit == _GAP else str(digit) for digit in problem.cells]
        return " / ".join(" ".join(shown[at : at + self.size]) for at in range(0, len(shown), self.size))

    def solve(self, problem: Square) -> str:
        found = problem.filling()
        assert found is not None, "the gaps were made in a whole square"
        return " ".join(map(str, found))

    def verify(self, problem: Square, answer: str) -> Verdict:
        said = answer.split()
        if len(said) != len(problem.gaps):
            return wrong(f"it has {len(said)} digits, and there are {len(problem.gaps)} gaps")
        cells = list(problem.cells)
        for at, digit in zip(problem.gaps, said, strict=True):
            cells[at] = int(digit)
        clash = problem.clash(cells)
        return RIGHT if clash is None else wrong(f"{clash[0]} holds {clash[1]} twice")
