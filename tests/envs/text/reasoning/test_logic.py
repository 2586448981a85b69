"""Formulas against truth tables made one by one, and sentences against what they mean."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.text.reasoning.logic.env import Logic
from sparring.envs.text.reasoning.logic.formulas import (
    Formula,
    all_worlds,
    difference,
    facts_of,
    parse,
    truth,
)
from sparring.envs.text.reasoning.logic.sentences import draw
from sparring.errors import InvalidConfig, InvalidData

PLACES = {"r": 0, "s": 0, "w": 0}
THINGS = {"r": 1, "b": 1, "l": 2}

formulas = st.recursive(
    st.sampled_from([Formula(letter) for letter in PLACES]),
    lambda inner: st.one_of(
        inner.map(lambda one: Formula("!", (one,))),
        st.tuples(st.sampled_from("&|>="), inner, inner).map(lambda drawn: Formula(drawn[0], drawn[1:])),
    ),
    max_leaves=6,
)


def holds(
    formula: Formula, world: dict[tuple[str, ...], bool], size: int = 1, things: dict[str, int] | None = None
) -> bool:
    """What a formula says in one world, by its definition."""
    meant = things or {}
    parts = formula.parts
    match formula.symbol:
        case "!":
            return not holds(parts[0], world, size, meant)
        case "&":
            return holds(parts[0], world, size, meant) and holds(parts[1], world, size, meant)
        case "|":
            return holds(parts[0], world, size, meant) or holds(parts[1], world, size, meant)
        case ">":
            return not holds(parts[0], world, size, meant) or holds(parts[1], world, size, meant)
        case "=":
            return holds(parts[0], world, size, meant) == holds(parts[1], world, size, meant)
        case "A":
            return all(holds(parts[0], world, size, {**meant, formula.variables[0]: one}) for one in range(size))
        case "E":
            return any(holds(parts[0], world, size, {**meant, formula.variables[0]: one}) for one in range(size))
        case name:
            return world[(name, *(str(meant[one]) for one in formula.variables))]


@given(formulas)
def test_truth_tables_are_those_of_the_definition(formula: Formula) -> None:
    worlds = all_worlds(tuple(PLACES.items()), 1)
    found = truth(formula, worlds)
    for number in range(worlds.count):
        facts = facts_of(number, worlds)
        assert found[number] == holds(formula, {(name,): name in facts for name in PLACES})


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 2))
def test_quantifiers_range_over_all_things(seed: int, size: int) -> None:
    formula = draw(np.random.default_rng(seed), 0, quantified=True, statements=3).formula
    places = tuple((name, 2 if name == "l" else 1) for name in sorted(formula.predicates))
    worlds = all_worlds(places, size)
    found = truth(formula, worlds)
    keys = [(name, *map(str, at)) for name, count in places for at in product(range(size), repeat=count)]
    for number in range(worlds.count):
        facts = facts_of(number, worlds)
        world = {key: " ".join((key[0], *(str(int(at) + 1) for at in key[1:]))) in facts for key in keys}
        assert found[number] == holds(formula, world, size)


@given(formulas)
def test_what_is_written_is_read_again(formula: Formula) -> None:
    assert parse(str(formula).split(), PLACES) == formula


@given(formulas, formulas)
def test_a_difference_is_a_world_that_tells_two_formulas_apart(one: Formula, other: Formula) -> None:
    worlds = all_worlds(tuple(PLACES.items()), 1)
    number = difference(one, other, worlds)
    same = bool((truth(one, worlds) == truth(other, worlds)).all())
    assert (number is None) == same
    if number is not None:
        assert truth(one, worlds)[number] != truth(other, worlds)[number]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("& r", "it breaks off"),
        ("", "it breaks off"),
        ("r s", "complete before its word 2, s"),
        ("A r", "no variable follows A, its word 1"),
        ("x", "no formula begins with x, its word 1"),
        (" ".join(["!"] * 61), "61 words"),
    ],
)
def test_what_is_no_formula_is_said(text: str, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        parse(text.split(), PLACES)


def test_variables_are_those_of_a_quantifier() -> None:
    assert str(parse(["A", "x", ">", "r", "x", "E", "y", "l", "x", "y"], THINGS)) == "A x > r x E y l x y"
    with pytest.raises(InvalidData, match="y, its word 4, is no variable that A or E speaks of"):
        parse(["A", "x", "r", "y"], THINGS)
    with pytest.raises(InvalidData, match="it breaks off"):
        parse(["A", "x", "l", "x"], THINGS)


def test_too_many_worlds_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="27 facts"):
        all_worlds((("l", 2), ("k", 2), ("m", 2)), 3)


def judged(kind: str, sentence_of: str, answer: str) -> str:
    """The detail on an answer to the sentence that a formula means."""
    env = Logic(kind=kind)  # type: ignore[arg-type]
    drawn = env.draw(np.random.default_rng(0))
    drawn = type(drawn)(drawn.text, parse(sentence_of.split(), env._places))
    return env.verify(drawn, answer).detail


def test_every_equivalent_formula_is_right() -> None:
    assert judged("statements", "> r s", "| ! r s") == judged("statements", "! & r s", "| ! r ! s") == ""
    assert judged("things", "A x > r x b x", "! E x & r x ! b x") == ""
    assert judged("things", "A y > r y b y", "A x > r x b x") == ""


def test_a_difference_is_told_as_a_world() -> None:
    assert judged("statements", "> r s", "> s r") == "in a world where just r holds, it is true and the sentence false"
    assert judged("statements", "! r", "r") == "in a world where just nothing holds, it is false and the sentence true"
    assert judged("things", "A x r x", "E x r x") == (
        "in a world of 2 things where just r 1 holds, it is true and the sentence false"
    )


def test_the_order_of_quantities_matters() -> None:
    every_some, some_every = "A x E y l x y", "E y A x l x y"
    assert "world of 2 things where just l 1 2, l 2 1 holds" in judged("things", every_some, some_every)


def test_sentences_are_marked_at_both_ends() -> None:
    drawn = draw(np.random.default_rng(3), 3, quantified=False, statements=4)
    opened = sum(drawn.text.count(word) for word in ("both ", "either ", "if "))
    closed = sum(drawn.text.count(word) for word in (" and ", " or ", " then "))
    assert opened == closed == 3


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="statements, things"):
        Logic(kind="modal")  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="got 7 and 4"):
        Logic(connectives=7)
