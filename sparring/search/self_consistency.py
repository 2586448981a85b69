"""What a place is worth by how often its action was sampled: the policy agrees with itself.

    search(…, evaluator=scored_and_agreed(Judge(policy)), rules=rules_of("lats"))

LATS, arXiv:2310.04406.
"""

from __future__ import annotations

from sparring.errors import InvalidConfig
from sparring.search.asking import Judge
from sparring.search.evaluators import Evaluator, Valuation, blend, estimate
from sparring.search.growth import Place
from sparring.search.verdicts import SCORES, verdicts


def self_consistency(place: Place) -> Valuation:
    """The share that the action which led here has of the samples at its place; 1 at the root, to which none led."""
    return place.path[-1].prior if place.path else 1.0
    yield  # a generator without requests


def scored_and_agreed(judge: Judge, weight: float = 0.5) -> Evaluator:
    """`weight` times a judge's score of 1 to 10, as a share of 10, and the rest self-consistency.

    Args:
        weight: lambda of the paper, within 0 and 1. Its code for WebShop has the score alone, 1.
    Raises:
        InvalidConfig: a weight outside of that.
    """
    if not 0 <= weight <= 1:
        raise InvalidConfig(f"weight must lie within 0 and 1, got {weight}")
    return blend([(weight, estimate(verdicts(judge, SCORES))), (1 - weight, self_consistency)])
