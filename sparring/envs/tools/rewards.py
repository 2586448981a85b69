"""ToolRL's rewards of format and correctness, and their variants, as functions of text and calls.

    gold = [Call("f", {"a": 1, "b": 2})]
    assert correctness(gold, [Call("f", {"a": 1, "b": 3})]) == 1.5     # 3 of 4 points
    assert correctness(gold, None) == -3                               # calls that can't be read

Qian et al., "ToolRL: Reward is All Tool Learning Needs", arXiv:2504.13958. Their sum is within [-3, 4].

What the paper leaves open is settled so: a call without parameters matches their names fully; calls where none are
expected have the least reward; equal values are equal JSON, so that neither 1 and true nor 1 and "1" are.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from sparring.envs.tools.calls import Call
from sparring.errors import InvalidConfig

Detail = Literal["fine", "refined", "intermediate", "coarse"]
Schedule = Literal["constant", "two-stage", "linear"]

_TAGS = ("think", "tool_call", "response")


def format_reward(text: str, *, calls: bool, response: bool) -> float:
    """1 where the text has the tags it should have, in order and once each, with nothing around them, else 0.

    Args:
        text: `<think>…</think>`, then, as expected, `<tool_call>…</tool_call>` and `<response>…</response>`.
        calls, response: whether they are expected.
    """
    expected = ["think", *(tag for tag, wanted in (("tool_call", calls), ("response", response)) if wanted)]
    if any(text.count(mark) != (tag in expected) for tag in _TAGS for mark in (f"<{tag}>", f"</{tag}>")):
        return 0.0
    pattern = r"\s*".join(f"<{tag}>.*</{tag}>" for tag in expected)
    return float(re.fullmatch(pattern, text.strip(), re.DOTALL) is not None)


def correctness(
    gold: Sequence[Call], predicted: Sequence[Call] | None, *, scale: float = 3.0, detail: Detail = "fine"
) -> float:
    """How far the calls are those expected, from -scale to scale.

    Of the points S that the calls earn, `2 * scale * S / S_max - scale`, where

        S     = J(names) + sum over matched calls of J(their keys) + the number of equal values
        S_max = 1 + sum over gold calls of (1 + the number of their parameters)

    and J is the Jaccard index, of names as multisets. Each gold call in turn is matched with the unused prediction of
    its name that earns most.

    Args:
        gold: the calls expected. predicted: those made, None if they can't be read.
        scale: 3 in the paper; 1 is its variant of equal maxima.
        detail: "fine" as above; "refined": names, and a call's keys, count only where they are exactly those expected;
            "intermediate": a matched call counts only where all of it is right; "coarse": only all calls right count.
    Returns:
        scale where calls are exactly those expected, -scale where they can't be read; 0 where none are expected or
        made.
    Raises:
        InvalidConfig: no such detail, or a scale that is not positive.
    """
    if detail not in _CALL_POINTS and detail != "coarse":
        raise InvalidConfig(f"detail must be fine, refined, intermediate or coarse, got {detail!r}")
    if not scale > 0:
        raise InvalidConfig(f"scale must be above 0, got {scale}")
    if predicted is None:
        return -scale
    if not gold and not predicted:
        return 0.0
    if detail == "coarse":
        same = Counter(map(_key, gold)) == Counter(map(_key, predicted))
        return scale if same else -scale
    most = 1 + sum(_most_points(call) for call in gold)
    return 2 * scale * _points(gold, predicted, detail) / most - scale


def _points(gold: Sequence[Call], predicted: Sequence[Call], detail: Detail) -> float:
    names = jaccard((call.name for call in gold), (call.name for call in predicted))
    total = float(names == 1) if detail == "refined" else names
    unused = list(predicted)
    for call in gold:
        rated = [(_CALL_POINTS[detail](call, one), place) for place, one in enumerate(unused) if one.name == call.name]
        if rated:
            points, place = max(rated, key=lambda one: one[0])
            total += points
            del unused[place]
    return total


def jaccard(one: Iterable[str], other: Iterable[str]) -> float:
    """The Jaccard index of two multisets; 1 where both are empty."""
    left, right = Counter(iter(one)), Counter(iter(other))  # a mapping would count its values
    union = (left | right).total()
    return (left & right).total() / union if union else 1.0


def _most_points(call: Call) -> int:
    return 1 + len(call.arguments)


def _fine_points(gold: Call, made: Call) -> float:
    return jaccard(gold.arguments, made.arguments) + _equal_values(gold.arguments, made.arguments)


def _refined_points(gold: Call, made: Call) -> float:
    same = gold.arguments.keys() == made.arguments.keys()
    return same + _equal_values(gold.arguments, made.arguments)


def _intermediate_points(gold: Call, made: Call) -> float:
    return _most_points(gold) if _key(gold) == _key(made) else 0


_CALL_POINTS: dict[str, Callable[[Call, Call], float]] = {
    "fine": _fine_points,
    "refined": _refined_points,
    "intermediate": _intermediate_points,
}


def _equal_values(gold: Mapping[str, Any], made: Mapping[str, Any]) -> int:
    return sum(key in made and _json(made[key]) == _json(value) for key, value in gold.items())


def _key(call: Call) -> str:
    return _json([call.name, dict(call.arguments)])


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def scales(step: int, schedule: Schedule = "constant") -> tuple[float, float]:
    """The scales of format and correctness at a training step.

    Args:
        step: from 0. schedule: "constant": 1 and 3; "two-stage": correctness counts 1 until step 30, then 3;
            "linear": over 150 steps format goes from 2 to 1 and correctness from 2 to 3.
    Raises:
        InvalidConfig: no such schedule.
    """
    if schedule == "constant":
        return 1.0, 3.0
    if schedule == "two-stage":
        return 1.0, 1.0 if step < 30 else 3.0
    if schedule == "linear":
        share = min(max(step / 150, 0.0), 1.0)
        return 2 - share, 2 + share
    raise InvalidConfig(f"schedule must be constant, two-stage or linear, got {schedule!r}")


def length_reward(thought: str, target: int = 512) -> float:
    """How long a thought is, in words, against a target, at most 1.

    Raises:
        InvalidConfig: a target below 1.
    """
    if target < 1:
        raise InvalidConfig(f"target must be at least 1 word, got {target}")
    return min(len(thought.split()) / target, 1.0)


def target_length(step: int, steps: int, first: int = 384, last: int = 640) -> int:
    """The target of `length_reward` at a step, where it grows evenly over `steps` steps.

    Raises:
        InvalidConfig: fewer than one step.
    """
    if steps < 1:
        raise InvalidConfig(f"steps must be at least 1, got {steps}")
    return round(first + (last - first) * min(max(step / steps, 0.0), 1.0))
