"""Sums, products and expressions of whole numbers, written digit by digit (`sparring/Arithmetic-v1`).

    sum:         4 7 + 8 5            ->  1 3 2
    product:     4 7 * 8 5            ->  3 9 9 5
    expression:  ( 7 - 1 2 ) * 3 + 4  ->  - 1 1

The most significant digit comes first, though carries come from the last one: a first attempt has to look ahead through
all of them, while a written one shows at each place whether it holds. The detailed feedback names the place of the
first wrong digit, from the right.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Unpack, get_args

import numpy as np

from sparring.envs.text.reasoning.self_correction import RIGHT, Options, SelfCorrection, Verdict, wrong
from sparring.errors import InvalidConfig
from sparring.types import ActionSet, Form

Operation = Literal["sum", "product", "expression"]

_SIGNS: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_RULES = "Calculate. Answer with digits, spaces between them."
_ANSWER = ActionSet(forms=(Form("", "", tuple("-0123456789")),))


@dataclass(frozen=True, slots=True)
class Sum:
    """A calculation as its words show it, and its value."""

    words: tuple[str, ...]
    value: int


def digits(number: int) -> str:
    """A number with spaces between its digits, its sign in front."""
    return " ".join(str(number))


def number(value: int) -> Sum:
    """A number on its own."""
    return Sum(tuple(str(value)), value)


def combine(left: Sum, sign: str, right: Sum) -> Sum:
    """Two calculations joined by `+`, `-` or `*`; brackets are put by the caller."""
    return Sum((*left.words, sign, *right.words), _SIGNS[sign](left.value, right.value))


def bracket(inner: Sum) -> Sum:
    """A calculation in brackets."""
    return Sum(("(", *inner.words, ")"), inner.value)


class Arithmetic(SelfCorrection[Sum]):
    """Calculate, and write the result with spaces between its digits.

    Args:
        operation: `sum` of `terms` numbers, `product` of two, or `expression` of `terms` numbers, brackets among them.
        digits: of each number in a sum or product, its first one not 0; numbers of an expression have up to so many.
        terms: how many numbers a sum or expression has, at least 2.
        options: `attempts`, `feedback` and the others of `SelfCorrection`.
    Raises:
        InvalidConfig: an unknown operation, or digits or terms out of range.
    """

    rules = _RULES
    actions = _ANSWER

    def __init__(
        self, *, operation: Operation = "sum", digits: int = 4, terms: int = 2, **options: Unpack[Options]
    ) -> None:
        if operation not in get_args(Operation):
            raise InvalidConfig(f'operation must be one of {", ".join(get_args(Operation))}, got "{operation}"')
        if not 1 <= digits <= 10 or not 2 <= terms <= 8:
            raise InvalidConfig(f"digits must be 1 to 10 and terms 2 to 8, got {digits} and {terms}")
        super().__init__(**options)
        self.operation, self.digits, self.terms = operation, digits, terms

    def draw(self, rng: np.random.Generator) -> Sum:
        if self.operation == "expression":
            return self._expression(rng, self.terms)
        least = 10 ** (self.digits - 1)
        count = self.terms if self.operation == "sum" else 2
        numbers = [number(int(rng.integers(least, 10 * least))) for _ in range(count)]
        sign = "+" if self.operation == "sum" else "*"
        found = numbers[0]
        for following in numbers[1:]:
            found = combine(found, sign, following)
        return found

    def _expression(self, rng: np.random.Generator, terms: int) -> Sum:
        """A random tree. Whatever is compound stands in brackets, so that no rule of precedence is needed."""
        if terms == 1:
            return number(int(rng.integers(10**self.digits)))
        first = int(rng.integers(1, terms))
        left, right = (self._operand(rng, count) for count in (first, terms - first))
        return combine(left, "+-*"[int(rng.integers(3))], right)

    def _operand(self, rng: np.random.Generator, terms: int) -> Sum:
        inner = self._expression(rng, terms)
        return inner if terms == 1 else bracket(inner)

    def problem(self, problem: Sum) -> str:
        return " ".join(problem.words)

    def solve(self, problem: Sum) -> str:
        return digits(problem.value)

    def verify(self, problem: Sum, answer: str) -> Verdict:
        right = digits(problem.value)
        if answer == right:
            return RIGHT
        said, meant = answer.split()[::-1], right.split()[::-1]
        for place, (one, other) in enumerate(zip(said, meant, strict=False), 1):
            if one != other:
                return wrong(f"place {place} from the right does not fit")
        return wrong("it is too long" if len(said) > len(meant) else "it is too short")
