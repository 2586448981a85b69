"""Say a sentence as a formula (`sparring/Logic-v1`).

    if it rains then either the sun shines or it is cold        ->  > r | s c
    every red thing likes some big thing                        ->  A x > r x E y & b y l x y

Right is every formula that is true in the same worlds. Statements are compared in all worlds there are, by truth
tables; sentences about things in all worlds of one, two and three things, so that a difference which needs four is
overlooked. The detailed feedback is a world in which the two differ.
"""

from __future__ import annotations

from typing import Literal, Unpack, get_args

import numpy as np

from sparring.envs.text.reasoning.logic.formulas import (
    CONNECTIVES,
    NEGATION,
    QUANTIFIERS,
    VARIABLES,
    Formula,
    Worlds,
    all_worlds,
    difference,
    facts_of,
    parse,
    truth,
)
from sparring.envs.text.reasoning.logic.sentences import (
    QUALITIES,
    RELATION,
    RELATION_VERB,
    STATEMENTS,
    Sentence,
    draw,
)
from sparring.envs.text.reasoning.self_correction import RIGHT, Options, SelfCorrection, Verdict, wrong
from sparring.errors import InvalidConfig, InvalidData
from sparring.types import ActionSet, Form

Kind = Literal["statements", "things"]

_SIZES = (1, 2, 3)
_OPERATORS = "! not, & and, | or, > if, = exactly if"


class Logic(SelfCorrection[Sentence]):
    """Say a sentence as a formula in Polish notation.

    Args:
        kind: `statements` is propositional, `things` first-order.
        connectives: how many join the sentence's clauses, 0 to 6.
        statements: how many different ones there are, 2 to 5; for `statements` only.
        options: `attempts`, `feedback` and the others of `SelfCorrection`.
    Raises:
        InvalidConfig: an unknown kind, or sizes out of range.
    """

    def __init__(
        self, *, kind: Kind = "statements", connectives: int = 3, statements: int = 4, **options: Unpack[Options]
    ) -> None:
        if kind not in get_args(Kind):
            raise InvalidConfig(f'kind must be one of {", ".join(get_args(Kind))}, got "{kind}"')
        if not 0 <= connectives <= 6 or not 2 <= statements <= len(STATEMENTS):
            raise InvalidConfig(f"connectives must be 0 to 6 and statements 2 to 5, got {connectives} and {statements}")
        super().__init__(**options)
        self.kind, self.connectives, self.statements = kind, connectives, statements
        words = (NEGATION, *CONNECTIVES)
        if kind == "statements":
            named = {letter: STATEMENTS[letter] for letter in tuple(STATEMENTS)[:statements]}
            self._places = dict.fromkeys(named, 0)
            explained = _OPERATORS
        else:
            named = {**QUALITIES, RELATION: RELATION_VERB}
            self._places = {**dict.fromkeys(QUALITIES, 1), RELATION: 2}
            explained = f"A x every, E x some, {_OPERATORS}"
            words = (*words, *QUANTIFIERS, *VARIABLES)
        letters = ", ".join(f"{letter} {meaning}" for letter, meaning in named.items())
        self.rules = f"Say it in Polish notation ({explained}; {letters})."
        self.actions = ActionSet(forms=(Form("", "", (*words, *named)),))

    def draw(self, rng: np.random.Generator) -> Sentence:
        return draw(rng, self.connectives, quantified=self.kind == "things", statements=self.statements)

    def problem(self, problem: Sentence) -> str:
        return problem.text

    def solve(self, problem: Sentence) -> str:
        return str(problem.formula)

    def verify(self, problem: Sentence, answer: str) -> Verdict:
        try:
            said = parse(answer.split(), self._places)
        except InvalidData as error:
            return wrong(str(error))
        spoken_of = problem.formula.predicates | said.predicates
        places = tuple((name, count) for name, count in self._places.items() if name in spoken_of)
        for size in _SIZES if self.kind == "things" else (1,):
            worlds = all_worlds(places, size)
            number = difference(problem.formula, said, worlds)
            if number is not None:
                return wrong(self._differ(problem.formula, worlds, number))
        return RIGHT

    def _differ(self, meant: Formula, worlds: Worlds, number: int) -> str:
        facts = ", ".join(facts_of(number, worlds)) or "nothing"
        world = f"a world of {worlds.size} things" if self.kind == "things" else "a world"
        verdicts = ("false", "true") if truth(meant, worlds)[number] else ("true", "false")
        return f"in {world} where just {facts} holds, it is {verdicts[0]} and the sentence {verdicts[1]}"
