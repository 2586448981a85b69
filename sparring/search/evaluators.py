"""What a place of an episode is worth, asked where the episode is not over.

An evaluator is a generator function of a `Place`. It yields `Call`s, which the engine answers in batches over all
simulations under way, and returns a value.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from sparring.episode import Moment
from sparring.errors import InvalidConfig
from sparring.search.growth import Call, Place, draw, take

Valuation = Generator[Call, Any, float]
Evaluator = Callable[[Place], Valuation]


def zero(place: Place) -> Valuation:
    """Nothing is known before the end."""
    return 0.0
    yield  # a generator without requests


def playout(place: Place) -> Valuation:
    """Let the policy go on to the end of the episode, and value that; what it did becomes part of the tree.

    The value is 0 where the conversation outgrows the policy's context.

    Raises:
        InvalidConfig: the rules don't let the search see what an ending is worth.
    """
    if not place.rules.sees_outcome:
        raise InvalidConfig(
            "a playout is worth what the environment says at its end, which rules with sees_outcome=False don't look "
            "at: take an evaluator that judges for itself, such as estimate(…)"
        )
    while not place.node.is_over:
        drawn = yield from draw(place, 1, None)
        if not drawn:
            return 0.0
        place.enter(drawn[0])
        take(place, drawn[0], saves=False)
    return place.rules.outcome(place.node.moment)


def estimate(values: Callable[[Sequence[Moment]], Sequence[float]]) -> Evaluator:
    """Ask a batched function of moments: a value head, a process reward model, a language model as judge."""

    def evaluate(place: Place) -> Valuation:
        [value] = yield Call(values, [place.node.moment])
        return float(value)

    return evaluate


def blend(weights: Sequence[tuple[float, Evaluator]]) -> Evaluator:
    """The weighted sum of several evaluators, asked in turn; a playout, which moves on, comes last."""

    def evaluate(place: Place) -> Valuation:
        total = 0.0
        for weight, one in weights:
            total += weight * (yield from one(place))
        return total

    return evaluate
