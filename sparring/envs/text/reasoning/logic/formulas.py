"""Formulas in Polish notation, and what they say in every small world.

    parse("> r | s ! w".split(), {"r": 0, "s": 0, "w": 0})        if r, then s or not w
    parse("A x > r x E y l x y".split(), {"r": 1, "l": 2})        every red thing likes something

An operator stands before what it joins: `!` not, `&` and, `|` or, `>` if, `=` exactly if; `A x` for all, `E x` for
some. A predicate is followed by as many variables as it has places; with none, it is a statement.

Two formulas are compared in all worlds of some size at once: each operator is one operation on arrays with an entry for
each world.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparring.errors import InvalidConfig, InvalidData

Truth = NDArray[np.bool_]

NEGATION = "!"
CONNECTIVES: dict[str, Callable[[Truth, Truth], Truth]] = {
    "&": operator.and_,
    "|": operator.or_,
    ">": lambda one, other: ~one | other,
    "=": operator.eq,
}
QUANTIFIERS: dict[str, Callable[[Truth, Truth], Truth]] = {"A": operator.and_, "E": operator.or_}
VARIABLES = ("x", "y")

_MOST_WORDS = 60
_MOST_BITS = 18  # worlds are counted in binary, one digit a fact: these are 262,144


@dataclass(frozen=True, slots=True)
class Formula:
    """A symbol, the formulas that it joins, and the variables that it binds or is said of."""

    symbol: str
    parts: tuple[Formula, ...] = ()
    variables: tuple[str, ...] = ()

    @property
    def predicates(self) -> frozenset[str]:
        """The predicates that it speaks of."""
        if not self.parts:
            return frozenset((self.symbol,))
        return frozenset().union(*(part.predicates for part in self.parts))

    def __str__(self) -> str:
        return " ".join((self.symbol, *self.variables, *map(str, self.parts)))


@dataclass(frozen=True, eq=False, slots=True)
class Worlds:
    """All worlds of some number of things.

    Attributes:
        size: how many things. facts: of each predicate with k places an array of shape [W, size, … k times].
    """

    size: int
    facts: Mapping[str, Truth]

    @property
    def count(self) -> int:
        """How many worlds there are, W."""
        return len(next(iter(self.facts.values())))


def parse(words: Sequence[str], places: Mapping[str, int]) -> Formula:
    """Read a formula in Polish notation.

    Args:
        places: of each predicate.
    Raises:
        InvalidData: it is none; the message says what is wrong where, as part of a sentence.
    """
    if len(words) > _MOST_WORDS:
        raise InvalidData(f"it has {len(words)} words, more than {_MOST_WORDS}")
    formula, end = _read(words, 0, places, frozenset())
    if end < len(words):
        raise InvalidData(f"it is complete before its word {end + 1}, {words[end]}")
    return formula


def _read(words: Sequence[str], at: int, places: Mapping[str, int], bound: frozenset[str]) -> tuple[Formula, int]:
    """The formula that begins at a word, and the position behind it."""
    if at >= len(words):
        raise InvalidData("it breaks off")
    symbol, at = words[at], at + 1
    if symbol in QUANTIFIERS:
        if at >= len(words) or words[at] not in VARIABLES:
            raise InvalidData(f"no variable follows {symbol}, its word {at}")
        inner, end = _read(words, at + 1, places, bound | {words[at]})
        return Formula(symbol, (inner,), (words[at],)), end
    if symbol == NEGATION or symbol in CONNECTIVES:
        parts = []
        for _ in range(1 if symbol == NEGATION else 2):
            part, at = _read(words, at, places, bound)
            parts.append(part)
        return Formula(symbol, tuple(parts)), at
    if symbol not in places:
        raise InvalidData(f"no formula begins with {symbol}, its word {at}")
    end = at + places[symbol]
    for number, name in enumerate(words[at:end], at + 1):
        if name not in bound:
            raise InvalidData(f"{name}, its word {number}, is no variable that A or E speaks of")
    if end > len(words):
        raise InvalidData("it breaks off")
    return Formula(symbol, (), tuple(words[at:end])), end


@lru_cache(64)
def all_worlds(places: tuple[tuple[str, int], ...], size: int) -> Worlds:
    """Every world of `size` things; world number n holds the facts whose digits in binary n are 1.

    Args:
        places: of each predicate, by name.
    Raises:
        InvalidConfig: there are too many.
    """
    bits = sum(size**count for _, count in places)
    if bits > _MOST_BITS:
        raise InvalidConfig(f"{bits} facts make too many worlds: at most {_MOST_BITS} can be compared")
    numbers = np.arange(2**bits)
    facts, used = {}, 0
    for name, count in places:
        shape = (size,) * count
        digits = range(used, used + size**count)
        facts[name] = np.stack([numbers >> digit & 1 == 1 for digit in digits], axis=1).reshape(-1, *shape)
        used += size**count
    return Worlds(size, facts)


def truth(formula: Formula, worlds: Worlds, things: Mapping[str, int] | None = None) -> Truth:
    """In which worlds a formula holds, shape [W].

    Args:
        things: which one each free variable stands for.
    """
    meant = dict(things or {})
    if formula.symbol == NEGATION:
        return ~truth(formula.parts[0], worlds, meant)
    if formula.symbol in CONNECTIVES:
        one, other = (truth(part, worlds, meant) for part in formula.parts)
        return CONNECTIVES[formula.symbol](one, other)
    if formula.symbol in QUANTIFIERS:
        [inner], [name] = formula.parts, formula.variables
        join = QUANTIFIERS[formula.symbol]
        found = truth(inner, worlds, {**meant, name: 0})
        for thing in range(1, worlds.size):
            found = join(found, truth(inner, worlds, {**meant, name: thing}))
        return found
    at: tuple[Any, ...] = (slice(None), *(meant[name] for name in formula.variables))
    holds: Truth = worlds.facts[formula.symbol][at]
    return holds


def difference(one: Formula, other: Formula, worlds: Worlds) -> int | None:
    """The number of the first world in which two formulas differ, None where they agree in all."""
    differs = truth(one, worlds) != truth(other, worlds)
    return int(differs.argmax()) if differs.any() else None


def facts_of(number: int, worlds: Worlds) -> list[str]:
    """What holds in a world: `r`, or `l 1 2` for things by number from 1."""
    found = []
    for name, holds in worlds.facts.items():
        for things in product(range(worlds.size), repeat=holds.ndim - 1):
            if holds[(number, *things)]:
                found.append(" ".join((name, *(str(thing + 1) for thing in things))))
    return found
