"""Progress: what a turn was worth is how much likelier success is after it than before it.

Source: MRT (meta reinforcement fine-tuning), arXiv:2503.07572. The bonus of part j of a thought is J(after it) -
J(before it), J being how well an answer forced at that point does; paying it makes for low cumulative regret over the
turns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparring.trainers.exploration import Player, sampling_seeds
from sparring.trainers.session import entropy
from sparring.types import Trajectory

Floats = npt.NDArray[np.float64]


def progress_bonus(before: float, after: float, weight: float) -> float:
    """Compute weight (J after - J before)."""
    return weight * (after - before)


def cumulative_regret(values_T: Floats, best: float) -> float:
    """Sum over turns of how far J lies below the best that can be had.

    Args:
        values_T: J after each turn, shape [T]. best: J of the best policy.
    """
    return float(np.sum(best - np.asarray(values_T, dtype=np.float64)))


def drawn_turns(episodes: list[Trajectory], seed: int, step: int) -> list[int]:
    """One turn of each episode, drawn uniformly; each has one at least."""
    rng = np.random.default_rng(entropy(seed, step, "progress"))
    return [int(rng.integers(len(one.turns))) for one in episodes]


def progress(
    player: Player, episodes: list[Trajectory], *, probes: int, weight: float, seed: int, step: int
) -> list[dict[int, float]]:
    """The bonus of one turn of each episode, by its number.

    J is the mean score of `probes` episodes in which the policy goes on from there; after a last turn, the score
    itself. Where nothing could be gone on from, there is no bonus.

    Args:
        episodes: of the player's split, with at least one turn each. probes: at least 1.
    """
    turns = drawn_turns(episodes, seed, step)
    places = [(number, turn + after) for number, turn in enumerate(turns) for after in (0, 1)]
    open_places = [(number, turn) for number, turn in places if turn < len(episodes[number].turns)]
    owners = [place for place in open_places for _ in range(probes)]
    seeds = sampling_seeds(seed, step, "probes", len(owners))
    starts = [
        player.again(episodes[number], turns=turn, sampling_seed=one)
        for (number, turn), one in zip(owners, seeds, strict=True)
    ]
    scores: dict[tuple[int, int], list[float]] = {}
    played = player.play(starts, expected=[episodes[number] for number, _ in owners])
    for place, one in zip(owners, played, strict=True):
        if one is not None:
            scores.setdefault(place, []).append(one.score)
    found: list[dict[int, float]] = []
    for number, (turn, episode) in enumerate(zip(turns, episodes, strict=True)):
        before, after = scores.get((number, turn)), scores.get((number, turn + 1))
        if turn + 1 == len(episode.turns):
            after = [episode.score]
        if before is None or after is None:
            found.append({})
        else:
            found.append({turn: progress_bonus(float(np.mean(before)), float(np.mean(after)), weight)})
    return found
