"""Learning from experts' failures: where in a failed episode could the agent still have made it?

EEF (Exploring Expert Failures, arXiv:2504.13145). The agent plays on from states of an episode that the expert lost. A
state from which it mostly succeeds is a good one; a good state that follows a bad one shows that the expert acted well
in between, a bad one after a good one (a recovery state) that it acted badly.

Departures:
1. A state is good if more than half of `continuations` episodes from it succeed. Those few that succeed from a recovery
   state are what recovery is learned from, in the very round.
2. Of each important state at most `keep_per_state` different successes are kept, so that easy ones do not prevail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sparring.trainers.exploration import distinct
from sparring.trainers.rounds import Flagged
from sparring.types import Trajectory


@dataclass(frozen=True, slots=True)
class Important:
    """A state that successes are kept from.

    Attributes:
        probe: which of the probed states. kind: the start of a task that the expert did not solve; a state that the
            expert made good; or a recovery state, that it made bad.
    """

    probe: int
    kind: Literal["start", "beneficial", "recovery"]


def probe_turns(turns: int, states: int) -> list[int]:
    """The numbers of turns after which an episode is gone on from, spaced uniformly, from 0.

    Args:
        turns: those of the episode, at least 1. states: how many are wanted; fewer come of a shorter episode.
    """
    assert turns >= 1 and states >= 1
    return sorted({number * turns // states for number in range(states)})


def recovery_states(is_good: Sequence[bool]) -> list[int]:
    """Which states, in the order of time, are bad after a good one: [1, 1, 0, 0] has 2 alone."""
    return [at for at in range(1, len(is_good)) if is_good[at - 1] and not is_good[at]]


def important_states(is_good: Sequence[bool]) -> list[Important]:
    """The states to learn from, in the order of time: the start, what the expert made good, and what it made bad."""
    bad_now = set(recovery_states(is_good))
    found = [Important(0, "start")] if is_good else []
    for at in range(1, len(is_good)):
        if at in bad_now:
            found.append(Important(at, "recovery"))
        elif is_good[at] and not is_good[at - 1]:
            found.append(Important(at, "beneficial"))
    return found


def trained_turns(state: Important, probes: Sequence[int], turns: int) -> frozenset[int]:
    """Which turns of a success from an important state are learned from.

    Those after the state, which are the agent's own; and the expert's since the state before, where they were
    beneficial. All others are context: nothing says that they were any good.

    Args:
        probes: after how many turns each state was probed (`probe_turns`). turns: those of the success.
    """
    first = probes[state.probe - 1] if state.kind == "beneficial" else probes[state.probe]
    return frozenset(range(first, turns))


def positives(
    probes: Sequence[int],
    continuations: Sequence[Sequence[tuple[Trajectory, bool]]],
    *,
    keep_per_state: int,
) -> list[Flagged]:
    """What to learn from the probes of one failed episode.

    Args:
        probes: after how many turns each state was probed.
        continuations: for each state the whole episodes that went on from it, and whether they succeeded.
        keep_per_state: different successes that are kept of each important state, at most.
    """
    is_good = [2 * sum(success for _, success in some) > len(some) for some in continuations]
    found = []
    for state in important_states(is_good):
        successes = distinct(one for one, success in continuations[state.probe] if success)
        found += [
            Flagged(one, trained)
            for one in successes[:keep_per_state]
            if (trained := trained_turns(state, probes, len(one.turns)))
        ]
    return found
