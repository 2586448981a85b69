"""Preferences between an expert and the agent: of whole episodes (ETO), and of what is left of them (IPR).

ETO: arXiv:2403.02502. IPR: arXiv:2406.11176.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparring.trainers.collect import is_usable
from sparring.trainers.preferences import Pair, outcome_pairs, up_to
from sparring.types import Trajectory


def cut(trajectory: Trajectory, turns: int) -> Trajectory:
    """The trajectory, of which at most the first `turns` turns are kept."""
    return up_to(trajectory, turns - 1) if len(trajectory.turns) > turns else trajectory


def expert_pairs(both: Sequence[tuple[Trajectory, Trajectory]], *, extra_turns: int) -> list[Pair]:
    """Pair experts' episodes with the agent's by score, whichever is the better; ties make no pair.

    An agent that gets nowhere may wander for long: a failing side is cut to the turns of the expert's and
    `extra_turns` more, lest its length rule the loss.

    Args:
        both: the expert's and the agent's episode of a task and seed.
    """
    found = []
    for expert, explored in both:
        for pair in outcome_pairs([[expert, explored]], worth=_score):
            rejected = cut(pair.rejected, len(expert.turns) + extra_turns)
            found.append(Pair(pair.chosen, rejected, margin=pair.margin))
    return found


def _score(trajectory: Trajectory) -> float:
    return trajectory.score


@dataclass(frozen=True, slots=True)
class Fork:
    """A turn of an expert's episode from which the agent played on by itself.

    Attributes:
        expert, explored: their whole episodes. turn: the first in which they may differ.
        expert_step, explored_step: what the action of each in that turn is worth: the mean score of episodes that go on
            from it.
    """

    expert: Trajectory
    explored: Trajectory
    turn: int
    expert_step: float
    explored_step: float


def is_pair(
    expert_step: float, explored_step: float, expert_outcome: float, explored_outcome: float, tau: float
) -> bool:
    """Whether an expert's suffix is to be preferred to the agent's: the better step, and the better end.

    Steps of .8 and .25 under tau .5 and outcomes of 1 and 0 are a pair, .8 and .35 are none.

    Args:
        tau: by more than this the expert's step must be worth more, so that chance makes no pairs.
    """
    return expert_step - explored_step > tau and expert_outcome > explored_outcome


def step_pairs(forks: Sequence[Fork], tau: float) -> list[Pair]:
    """The pairs of suffixes among the forks (`is_pair`); what went before is shared, and out of the loss."""
    return [
        Pair(
            fork.expert,
            fork.explored,
            first=fork.turn,
            margin=fork.expert_step - fork.explored_step,
        )
        for fork in forks
        if is_usable(fork.explored)
        and len(fork.explored.turns) > fork.turn
        and is_pair(fork.expert_step, fork.explored_step, fork.expert.score, fork.explored.score, tau)
    ]


def next_actions_differ(expert: Trajectory, explored: Trajectory, turn: int) -> bool:
    """Whether both acted in a turn, and not alike: else their steps are worth the same."""
    return (
        min(len(expert.turns), len(explored.turns)) > turn
        and expert.turns[turn].action.text != explored.turns[turn].action.text
    )
