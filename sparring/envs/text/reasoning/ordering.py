"""Put letters in order: sorted (`sparring/Sorting-v1`), or as constraints ask (`sparring/Ordering-v1`).

    sort:      h c f c        ->  c c f h
    ordering:  c<a d<c a<b    ->  d c a b

In a sorted list every pair of neighbours shows whether it holds. In an order under constraints the first letter is
chosen before it shows whether the last one can still follow, and each constraint can be checked on its own; every order
that breaks none is right. The detailed feedback names two letters that stand the wrong way round.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations, pairwise
from string import ascii_lowercase
from typing import Unpack

import numpy as np

from sparring.envs.text.reasoning.self_correction import RIGHT, Options, SelfCorrection, Verdict, wrong
from sparring.errors import InvalidConfig
from sparring.types import ActionSet, Form


class Sorting(SelfCorrection[tuple[str, ...]]):
    """Sort letters.

    Args:
        letters: how many, 2 to 26. alphabet: how many letters they are drawn from, with replacement, 2 to 26.
        options: `attempts`, `feedback` and the others of `SelfCorrection`.
    Raises:
        InvalidConfig: sizes out of range.
    """

    rules = "Sort the letters."

    def __init__(self, *, letters: int = 8, alphabet: int = 12, **options: Unpack[Options]) -> None:
        if not 2 <= letters <= 26 or not 2 <= alphabet <= 26:
            raise InvalidConfig(f"letters and alphabet must be 2 to 26, got {letters} and {alphabet}")
        super().__init__(**options)
        self.letters = letters
        self.alphabet = tuple(ascii_lowercase[:alphabet])
        self.actions = ActionSet(forms=(Form("", "", self.alphabet),))

    def draw(self, rng: np.random.Generator) -> tuple[str, ...]:
        return tuple(self.alphabet[int(one)] for one in rng.integers(len(self.alphabet), size=self.letters))

    def problem(self, problem: tuple[str, ...]) -> str:
        return " ".join(problem)

    def solve(self, problem: tuple[str, ...]) -> str:
        return " ".join(sorted(problem))

    def verify(self, problem: tuple[str, ...], answer: str) -> Verdict:
        said = answer.split()
        given, used = Counter(problem), Counter(said)
        for letter in self.alphabet:
            if used[letter] != given[letter]:
                return wrong(f"{letter} is there too {'often' if used[letter] > given[letter] else 'seldom'}")
        for one, other in pairwise(said):
            if one > other:
                return wrong(f"{one} stands before {other}")
        return RIGHT


@dataclass(frozen=True, slots=True)
class Constraints:
    """Pairs of letters by number, of which the first comes before the second, in the order shown."""

    letters: int
    pairs: tuple[tuple[int, int], ...]

    def first_order(self) -> list[int]:
        """The first order in the dictionary that breaks none."""
        left, found = set(range(self.letters)), []
        while left:
            free = min(one for one in left if not any(after == one and before in left for before, after in self.pairs))
            left.remove(free)
            found.append(free)
        return found


class Ordering(SelfCorrection[Constraints]):
    """Say all letters in an order that keeps the constraints.

    Args:
        letters: how many, 3 to 12. constraints: how many, at most one for each pair of letters.
        options: `attempts`, `feedback` and the others of `SelfCorrection`.
    Raises:
        InvalidConfig: sizes out of range.
    """

    def __init__(self, *, letters: int = 7, constraints: int = 9, **options: Unpack[Options]) -> None:
        if not 3 <= letters <= 12:
            raise InvalidConfig(f"letters must be 3 to 12, got {letters}")
        most = letters * (letters - 1) // 2
        if not 1 <= constraints <= most:
            raise InvalidConfig(f"constraints must be 1 to {most} for {letters} letters, got {constraints}")
        super().__init__(**options)
        self.letters, self.constraints = letters, constraints
        self._names = tuple(ascii_lowercase[:letters])
        self.rules = f"Say {' '.join(self._names)} in an order in which each a<b has its a first."
        self.actions = ActionSet(forms=(Form("", "", self._names),))

    def draw(self, rng: np.random.Generator) -> Constraints:
        """Hide an order, and draw pairs out of it."""
        hidden = [int(one) for one in rng.permutation(self.letters)]
        pairs = list(combinations(hidden, 2))
        picked = rng.permutation(len(pairs))[: self.constraints]
        return Constraints(self.letters, tuple(pairs[int(one)] for one in picked))

    def problem(self, problem: Constraints) -> str:
        return " ".join(f"{self._names[one]}<{self._names[other]}" for one, other in problem.pairs)

    def solve(self, problem: Constraints) -> str:
        return " ".join(self._names[one] for one in problem.first_order())

    def verify(self, problem: Constraints, answer: str) -> Verdict:
        said = answer.split()
        for name in self._names:
            if said.count(name) != 1:
                return wrong(f"{name} is there {said.count(name)} times")
        for one, other in problem.pairs:
            if said.index(self._names[one]) > said.index(self._names[other]):
                return wrong(f"{self._names[one]} stands after {self._names[other]}")
        return RIGHT
