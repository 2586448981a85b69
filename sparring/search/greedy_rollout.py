"""How ReST-MCTS* values a place: by a value model's opinion of it, and of the best that lies a few steps ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparring.episode import Moment
from sparring.errors import InvalidConfig
from sparring.search.evaluators import Evaluator, Valuation, estimate
from sparring.search.growth import Place, draw, take


def greedy_rollout(
    values: Callable[[Sequence[Moment]], Sequence[float]], *, steps: int = 3, weight: float = 0.5
) -> Evaluator:
    """Make the evaluator (1 - weight) V + weight max(V of the places of a short rollout).

    The rollout takes one action of the policy at a time, up to an ending, which is worth its outcome where the rules
    see that. What it did becomes part of the tree. Where nothing lies ahead, V stands alone.

    Args:
        values: a batched function of moments, such as `sparring.agents.models.value.ValueModel`.
        steps: how far to look ahead; 0 is `estimate`. weight: of what is ahead; the paper's alpha.
    Raises:
        InvalidConfig: steps below 0, or a weight outside 0 and 1.
    Source:
        ReST-MCTS*, arXiv:2406.03816, and its code, with one branch at each step.
    """
    if steps < 0 or not 0 <= weight <= 1:
        raise InvalidConfig(f"steps must be at least 0 and weight within 0 and 1, got {steps} and {weight}")
    judge = estimate(values)

    def evaluate(place: Place) -> Valuation:
        own = yield from judge(place)
        ahead = []
        for _ in range(steps):
            if place.node.is_over:
                break
            drawn = yield from draw(place, 1, None)
            if not drawn:
                break
            place.enter(drawn[0])
            take(place, drawn[0], saves=False)
            node = place.node
            if node.is_over and place.rules.sees_outcome:
                node.value = place.rules.outcome(node.moment)
            else:
                node.value = yield from judge(place)
            ahead.append(node.value)
        return (1 - weight) * own + weight * max(ahead, default=own)

    return evaluate
