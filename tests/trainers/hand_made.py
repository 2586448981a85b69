"""Episodes written by hand, for tests of credit: their actions are spelled when they are laid out."""

from __future__ import annotations

from collections.abc import Sequence

from sparring.types import Action, Observation, Stop, Trajectory, Turn


def episode(
    rewards: Sequence[float],
    seen: Sequence[str],
    *,
    said: Sequence[str] | None = None,
    memory: str = "full_history",
    stop: Stop = Stop.TERMINATED,
) -> Trajectory:
    """One turn for each reward.

    Args:
        seen: what each turn shows. said: its action; by default "red" and a different number of words each.
    """
    words = said or [" ".join(["red", *["blue"] * (at % 3)]) for at in range(len(rewards))]
    turns = tuple(
        Turn(Observation(text), Action(word), reward, terminated=at + 1 == len(rewards) and stop is Stop.TERMINATED)
        for at, (reward, text, word) in enumerate(zip(rewards, seen, words, strict=True))
    )
    return Trajectory("tests/Copy-v1", "train-0", 0, "Say the word.", turns, stop, Observation("done"), memory=memory)
