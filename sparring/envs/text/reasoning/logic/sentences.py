"""Sentences of a small grammar, each with the formula that it means.

Joined sentences are marked at both ends (`either … or …`), so that every sentence can be read in one way only. Of two
quantities in a clause the first one has the wider scope: in `every red thing likes some big thing` each may like
another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparring.envs.text.reasoning.logic.formulas import Formula

STATEMENTS = {"r": "it rains", "s": "the sun shines", "w": "the wind blows", "c": "it is cold", "h": "it is holiday"}
QUALITIES = {"r": "red", "b": "big", "n": "new"}
RELATION, RELATION_VERB = "l", "likes"

_JOINED = {"&": ("both", "and"), "|": ("either", "or"), ">": ("if", "then"), "=": ("exactly if", "then")}
_QUANTITIES = ("every", "some", "no")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words and what they mean."""

    text: str
    formula: Formula


def negated(inner: Sentence) -> Sentence:
    """It is false that …"""
    return Sentence(f"it is false that {inner.text}", Formula("!", (inner.formula,)))


def joined(symbol: str, one: Sentence, other: Sentence) -> Sentence:
    """Two sentences under a connective."""
    opening, middle = _JOINED[symbol]
    return Sentence(f"{opening} {one.text} {middle} {other.text}", Formula(symbol, (one.formula, other.formula)))


def draw(rng: np.random.Generator, connectives: int, *, quantified: bool, statements: int) -> Sentence:
    """Draw a sentence of so many connectives; each part is negated in one case of four.

    Args:
        quantified: its clauses speak of things, else they are the first `statements` of `STATEMENTS`.
    """
    if connectives == 0:
        found = _clause(rng) if quantified else _statement(rng, statements)
    else:
        first = int(rng.integers(connectives))
        parts = [
            draw(rng, count, quantified=quantified, statements=statements) for count in (first, connectives - 1 - first)
        ]
        found = joined(_pick(rng, tuple(_JOINED)), *parts)
    return negated(found) if rng.integers(4) == 0 else found


def _statement(rng: np.random.Generator, statements: int) -> Sentence:
    letter = _pick(rng, tuple(STATEMENTS)[:statements])
    return Sentence(STATEMENTS[letter], Formula(letter))


def _clause(rng: np.random.Generator) -> Sentence:
    """`every red thing is big`, `no big thing likes some new thing` and the like."""
    said = _is(rng) if rng.integers(2) else _likes(rng)
    return _of(rng, "x", said)


def _is(rng: np.random.Generator) -> Sentence:
    """`is red`, said of x."""
    letter = _pick(rng, tuple(QUALITIES))
    return Sentence(f"is {QUALITIES[letter]}", Formula(letter, (), ("x",)))


def _likes(rng: np.random.Generator) -> Sentence:
    """`likes every red thing`, said of x."""
    object_ = _of(rng, "y", Sentence("", Formula(RELATION, (), ("x", "y"))))
    return Sentence(f"{RELATION_VERB} {object_.text}", object_.formula)


def _of(rng: np.random.Generator, variable: str, said: Sentence) -> Sentence:
    """What is said of a variable, said of every, some or no thing of a quality."""
    quantity, letter = _pick(rng, _QUANTITIES), _pick(rng, tuple(QUALITIES))
    quality, claim = Formula(letter, (), (variable,)), said.formula
    if quantity == "some":
        formula = Formula("E", (Formula("&", (quality, claim)),), (variable,))
    else:
        claim = claim if quantity == "every" else Formula("!", (claim,))
        formula = Formula("A", (Formula(">", (quality, claim)),), (variable,))
    return Sentence(f"{quantity} {QUALITIES[letter]} thing {said.text}".strip(), formula)


def _pick(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]
