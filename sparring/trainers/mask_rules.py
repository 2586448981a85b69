"""Which turns of an episode are imitated, and which are only shown.

A rule goes from an episode to the numbers of the turns that `rounds.Flagged` trains.
"""

from __future__ import annotations

from sparring.types import Trajectory, Turn


def is_erroneous(turn: Turn) -> bool:
    """Whether the environment found fault with the action itself: it meant nothing there, or was a wrong answer."""
    return bool(turn.info.get("no_op")) or turn.info.get("correct") is False


def sound_turns(episode: Trajectory) -> frozenset[int]:
    """The turns that were no errors.

    What the environment said about an error, and the error itself, stay in the context: so the model learns what to do
    after one, and not to make it.

    Source: AgentRefine, arXiv:2501.01702.
    """
    return frozenset(number for number, turn in enumerate(episode.turns) if not is_erroneous(turn))
