"""The steps of which generated functions are made: one line of Python each, what it does, and how it is said.

Code is written with a space between tokens, so that the program of any function is a sequence of `TOKENS`, which a
model of a few hundred tokens can be held to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Numbers = list[int]


@dataclass(frozen=True, slots=True)
class Step:
    """A kind of step.

    Attributes:
        family: what loose words tell of it; steps of one family differ in what these leave open.
        exact: how it is said; `K` stands for its number. loose: the same with number or direction left open.
        code: its line, `K` likewise.
        does: the function itself, of the list and the number.
        numbers: what `K` may be; (0,) where there is none.
        ends: whether it makes a number of the list, after which nothing can follow.
    """

    family: str
    exact: str
    loose: str
    code: str
    does: Callable[[Numbers, int], Numbers | int]
    numbers: tuple[int, ...] = (0,)
    ends: bool = False


STEPS: tuple[Step, ...] = (
    Step("sort", "sort up", "sort", "x = sorted ( x )", lambda x, k: sorted(x)),
    Step("sort", "sort down", "sort", "x = sorted ( x ) [ : : - 1 ]", lambda x, k: sorted(x)[::-1]),
    Step("reverse", "reverse", "reverse", "x = x [ : : - 1 ]", lambda x, k: x[::-1]),
    Step("add", "add K to each", "add to each", "x = [ y + K for y in x ]", lambda x, k: [y + k for y in x],
         (1, 2, 3, 4, 5)),
    Step("multiply", "multiply each by K", "multiply each", "x = [ y * K for y in x ]", lambda x, k: [y * k for y in x],
         (2, 3, 4)),
    Step("keep", "keep those above K", "keep some by size", "x = [ y for y in x if y > K ]",
         lambda x, k: [y for y in x if y > k], (2, 3, 4, 5)),
    Step("keep", "keep those below K", "keep some by size", "x = [ y for y in x if y < K ]",
         lambda x, k: [y for y in x if y < k], (4, 5, 6, 7)),
    Step("parity", "keep the even", "keep even or odd", "x = [ y for y in x if y % 2 == 0 ]",
         lambda x, k: [y for y in x if y % 2 == 0]),
    Step("parity", "keep the odd", "keep even or odd", "x = [ y for y in x if y % 2 == 1 ]",
         lambda x, k: [y for y in x if y % 2 == 1]),
    Step("take", "take the first K", "take the first few", "x = x [ : K ]", lambda x, k: x[:k], (1, 2, 3, 4)),
    Step("drop", "drop the first K", "drop the first few", "x = x [ K : ]", lambda x, k: x[k:], (1, 2, 3)),
    Step("fold", "give the sum", "give one number", "x = sum ( x )", lambda x, k: sum(x), ends=True),
    Step("fold", "give the count", "give one number", "x = len ( x )", lambda x, k: len(x), ends=True),
    Step("fold", "give the largest or 0", "give one number", "x = max ( x , default = 0 )",
         lambda x, k: max(x, default=0), ends=True),
    Step("fold", "give the smallest or 0", "give one number", "x = min ( x , default = 0 )",
         lambda x, k: min(x, default=0), ends=True),
)  # fmt: skip

HEAD, TAIL = "def f ( x ) : ", " ; return x"
TOKENS: tuple[str, ...] = tuple(
    sorted(
        {word for step in STEPS for word in step.code.split() if word != "K"}
        | {str(digit) for digit in range(10)}
        | {";", "return"}
    )
)
"""Every token of a program after `HEAD`."""


@dataclass(frozen=True, slots=True)
class Line:
    """A step with its number."""

    step: Step
    number: int

    def filled(self, text: str) -> str:
        """The text with the number in it."""
        return text.replace("K", str(self.number))


Program = tuple[Line, ...]


def run(program: Program, numbers: Sequence[int]) -> Numbers | int:
    """What the function gives for a list."""
    value: Numbers | int = list(numbers)
    for line in program:
        assert isinstance(value, list)
        value = line.step.does(value, line.number)
    return value


def code(program: Program) -> str:
    """The function in Python, on one line."""
    return HEAD + " ; ".join(line.filled(line.step.code) for line in program) + TAIL


def siblings(program: Program) -> list[Program]:
    """All programs that loose words do not tell from this one, itself among them."""
    found: list[Program] = [()]
    for line in program:
        kinds = [Line(step, number) for step in STEPS if step.family == line.step.family for number in step.numbers]
        found = [(*before, one) for before in found for one in kinds]
    return found
