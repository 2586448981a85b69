"""Rewrite a word by rules (`sparring/Rewriting-v1`).

    a b > c ; c a > b b : c a b a , 2 times  ->  b b c ...

At each step the first rule that fits anywhere is applied at its leftmost place; where none fits, the word stays. Each
step moves what comes after it, so an early slip spoils the end. The detailed feedback names the first wrong letter's
place.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase
from typing import Unpack

import numpy as np

from sparring.envs.text.reasoning.self_correction import RIGHT, Options, SelfCorrection, Verdict, wrong
from sparring.errors import InvalidConfig
from sparring.types import ActionSet, Form


@dataclass(frozen=True, slots=True)
class System:
    """A word, and rules that replace a part of it, the first one first."""

    rules: tuple[tuple[str, str], ...]
    word: str

    def rewritten(self, steps: int) -> str:
        """The word after so many steps."""
        word = self.word
        for _ in range(steps):
            fitting = next((rule for rule in self.rules if rule[0] in word), None)
            if fitting is None:
                break
            word = word.replace(*fitting, 1)
        return word


class Rewriting(SelfCorrection[System]):
    """Apply rules to a word, and say what becomes of it.

    Args:
        letters: of the word at first, 2 to 12. alphabet: how many different ones, 2 to 6.
        rules: how many, each from two letters to one or two others; at most one for each pair of letters.
        steps: how many times a rule is applied, 1 to 20.
        options: `attempts`, `feedback` and the others of `SelfCorrection`.
    Raises:
        InvalidConfig: sizes out of range.
    """

    def __init__(
        self, *, letters: int = 8, alphabet: int = 3, rules: int = 3, steps: int = 3, **options: Unpack[Options]
    ) -> None:
        if not 2 <= letters <= 12 or not 2 <= alphabet <= 6:
            raise InvalidConfig(f"letters must be 2 to 12 and alphabet 2 to 6, got {letters} and {alphabet}")
        if not 1 <= rules <= alphabet**2 or not 1 <= steps <= 20:
            raise InvalidConfig(f"rules must be 1 to {alphabet**2} and steps 1 to 20, got {rules} and {steps}")
        super().__init__(**options)
        self.letters, self.count, self.steps = letters, rules, steps
        self.alphabet = ascii_lowercase[:alphabet]
        self.rules = f"Rewrite the word {steps} times, by the first rule that fits, where it fits first."
        self.actions = ActionSet(forms=(Form("", "", tuple(self.alphabet)),))

    def draw(self, rng: np.random.Generator) -> System:
        pairs = [one + other for one in self.alphabet for other in self.alphabet]
        left = [pairs[int(at)] for at in rng.permutation(len(pairs))[: self.count]]
        right = [self._replacement(rng, pair) for pair in left]
        return System(tuple(zip(left, right, strict=True)), self._word(rng, self.letters))

    def _replacement(self, rng: np.random.Generator, pair: str) -> str:
        while True:
            found = self._word(rng, int(rng.integers(1, 3)))
            if found != pair:
                return found

    def _word(self, rng: np.random.Generator, letters: int) -> str:
        return "".join(self.alphabet[int(one)] for one in rng.integers(len(self.alphabet), size=letters))

    def problem(self, problem: System) -> str:
        rules = " ; ".join(f"{' '.join(left)} > {' '.join(right)}" for left, right in problem.rules)
        return f"{rules} : {' '.join(problem.word)}"

    def solve(self, problem: System) -> str:
        return " ".join(problem.rewritten(self.steps))

    def verify(self, problem: System, answer: str) -> Verdict:
        said, right = answer.replace(" ", ""), problem.rewritten(self.steps)
        if said == right:
            return RIGHT
        for place, (one, other) in enumerate(zip(said, right, strict=False), 1):
            if one != other:
                return wrong(f"letter {place} does not fit")
        return wrong("it is too long" if len(said) > len(right) else "it is too short")
