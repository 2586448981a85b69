"""Second attempts under other first attempts: does a policy read what it said before, or solve the problem anew?

    played = rollout(policy, pool, starts, setting)
    again = rollout(policy, pool, retries(played, "shuffled", rng=rng), setting)
    correction_metrics(played)["t2"], correction_metrics(again)["t2"]

The first attempt in the prompt is kept, removed, or replaced by another problem's. The policy sees prompts of the very
form that it is used to, since the episode begins with a turn that was taken for it (`Start.prefix`). A correction that
comes from reading vanishes when there is nothing right to read; what is left of the second accuracy is re-solving. The
first accuracy of such episodes is that of the attempt put there, so read the second alone. Feedback that depends on
the attempt speaks of the one put there, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from sparring.episode import Start
from sparring.errors import InvalidConfig, InvalidData
from sparring.types import Action, Stop, Trajectory, Turn

FirstAttempt = Literal["kept", "removed", "shuffled"]


def retries(played: Sequence[Trajectory], first: FirstAttempt, *, rng: np.random.Generator) -> list[Start]:
    """How to begin each episode again after its first attempt, or what stands in its place.

    Args:
        played: episodes of more than one attempt; those that the environment failed in are left out.
        first: `kept` is the attempt as it was, `removed` is an empty answer, and `shuffled` another problem's first
            attempt. rng: draws whose.
    Returns:
        One start for each episode, with its task and seeds, in order.
    Raises:
        InvalidConfig: another `first`. InvalidData: shuffled, more than half of the episodes are of one task.
    """
    if first not in get_args(FirstAttempt):
        raise InvalidConfig(f'first must be one of {", ".join(get_args(FirstAttempt))}, got "{first}"')
    whole = [one for one in played if one.turns and one.stop is not Stop.ENV_ERROR]
    opening = [one.turns[0] for one in whole]
    if first == "removed":
        opening = [_saying(turn, "") for turn in opening]
    if first == "shuffled":
        donors = _donors([one.task_id for one in whole], rng)
        opening = [
            _saying(turn, whole[donor].turns[0].action.text) for turn, donor in zip(opening, donors, strict=True)
        ]
    return [
        Start(one.seed, one.task_id, sampling_seed=one.sampling_seed, prefix=(turn,))
        for one, turn in zip(whole, opening, strict=True)
    ]


def _saying(turn: Turn, text: str) -> Turn:
    """The turn with another action. What was sampled under another prompt has no probabilities here."""
    return replace(turn, action=Action(text))


def _donors(tasks: Sequence[str], rng: np.random.Generator) -> list[int]:
    """For each episode the index of one of another task, each index once."""
    if not tasks:
        return []
    most = max(Counter(tasks).values())
    if 2 * most > len(tasks):
        raise InvalidData(
            f"to shuffle first attempts, at most half of the episodes may be of one task; {most} of {len(tasks)} are"
        )
    # With equal tasks side by side, a shift by the size of the largest task leaves none within its own.
    order = sorted(map(int, rng.permutation(len(tasks))), key=lambda at: tasks[at])
    donors = [0] * len(tasks)
    for place, at in enumerate(order):
        donors[at] = order[(place + most) % len(order)]
    return donors
