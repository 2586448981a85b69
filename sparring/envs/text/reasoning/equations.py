"""Solve linear equations in digits (`sparring/Equations-v1`).

    a + b = 9 ; 2 b - c = 3 ; c + a = 8  ->  4 5 7 ...

To find the unknowns takes elimination or search, to check them takes a sum for each equation. A wrong attempt shows
which equation does not hold, and the detailed feedback says what its left side comes to. Every solution in digits is
right.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase
from typing import Unpack

import numpy as np

from sparring.envs.text.reasoning.self_correction import RIGHT, Options, SelfCorrection, Verdict, wrong
from sparring.errors import InvalidConfig
from sparring.types import ActionSet, Form

_DIGITS = range(10)
_COEFFICIENTS = (-2, -1, 1, 2)


@dataclass(frozen=True, slots=True)
class Equation:
    """A sum of coefficients times unknowns, by number, and what it comes to."""

    terms: tuple[tuple[int, int], ...]
    total: int

    def left(self, values: list[int]) -> int:
        """What the left side comes to."""
        return sum(coefficient * values[unknown] for coefficient, unknown in self.terms)

    @property
    def last(self) -> int:
        """The last unknown in it."""
        return max(unknown for _, unknown in self.terms)

    def left_text(self) -> str:
        """The left side in words."""
        words: list[str] = []
        for coefficient, unknown in self.terms:
            sign = ["-"] if coefficient < 0 else ["+"] if words else []
            factor = [str(abs(coefficient))] if abs(coefficient) > 1 else []
            words += [*sign, *factor, ascii_lowercase[unknown]]
        return " ".join(words)


def first_solution(equations: tuple[Equation, ...], unknowns: int) -> list[int] | None:
    """The first solution in digits, in the order of a dictionary, None where there is none."""

    def search(values: list[int]) -> list[int] | None:
        if len(values) == unknowns:
            return values
        due = [one for one in equations if one.last == len(values)]
        for digit in _DIGITS:
            tried = [*values, digit]
            if all(one.left(tried) == one.total for one in due):
                found = search(tried)
                if found is not None:
                    return found
        return None

    return search([])


class Equations(SelfCorrection[tuple[Equation, ...]]):
    """Say a digit for each unknown, such that all equations hold.

    Args:
        unknowns: 2 to 6. equations: how many, 1 to 10.
        terms: unknowns in an equation, at least 2 and at most all.
        options: `attempts`, `feedback` and the others of `SelfCorrection`.
    Raises:
        InvalidConfig: sizes out of range.
    """

    def __init__(self, *, unknowns: int = 4, equations: int = 4, terms: int = 2, **options: Unpack[Options]) -> None:
        if not 2 <= unknowns <= 6 or not 1 <= equations <= 10 or not 2 <= terms <= unknowns:
            raise InvalidConfig(
                "unknowns must be 2 to 6, equations 1 to 10 and terms 2 to the number of unknowns, got "
                f"{unknowns}, {equations} and {terms}"
            )
        super().__init__(**options)
        self.unknowns, self.equations, self.terms = unknowns, equations, terms
        names = " ".join(ascii_lowercase[:unknowns])
        self.rules = f"Solve for {names}: say a digit for each."
        self.actions = ActionSet(forms=(Form("", "", tuple(map(str, _DIGITS))),))

    def draw(self, rng: np.random.Generator) -> tuple[Equation, ...]:
        """Hide a solution, and draw sums of it."""
        hidden = [int(digit) for digit in rng.integers(10, size=self.unknowns)]
        return tuple(self._equation(rng, hidden) for _ in range(self.equations))

    def _equation(self, rng: np.random.Generator, hidden: list[int]) -> Equation:
        picked = sorted(int(one) for one in rng.permutation(self.unknowns)[: self.terms])
        drawn = rng.integers(len(_COEFFICIENTS), size=self.terms)
        terms = tuple((_COEFFICIENTS[int(one)], unknown) for one, unknown in zip(drawn, picked, strict=True))
        return Equation(terms, Equation(terms, 0).left(hidden))

    def problem(self, problem: tuple[Equation, ...]) -> str:
        return " ; ".join(f"{one.left_text()} = {one.total}" for one in problem)

    def solve(self, problem: tuple[Equation, ...]) -> str:
        found = first_solution(problem, self.unknowns)
        assert found is not None, "a solution is hidden in all equations"
        return " ".join(map(str, found))

    def verify(self, problem: tuple[Equation, ...], answer: str) -> Verdict:
        said = [int(digit) for digit in answer.split()]
        if len(said) != self.unknowns:
            return wrong(f"it has {len(said)} digits for {self.unknowns} unknowns")
        for one in problem:
            if one.left(said) != one.total:
                return wrong(f"{one.left_text()} is {one.left(said)}")
        return RIGHT
