"""Gymnasium's FrozenLake on random maps, in text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv, is_valid

from sparring.envs.text.gymnasium_text import GymnasiumText
from sparring.envs.text.repeats import light_copy
from sparring.envs.text.seeded_tasks import draw_world
from sparring.errors import InvalidConfig
from sparring.types import SnapshotKind

ACTIONS = ("left", "down", "right", "up")

Map = tuple[str, ...]

_SHOWN = {"S": ".", "F": ".", "H": "O", "G": "G"}
# Close to 1, so that the expert prefers a sure way to a short one, and among equally sure ones the shortest.
_DISCOUNT = 0.999


class Lake(FrozenLakeEnv):
    """Gymnasium's environment with cheap copies: they share the map and its transitions, which never change."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Lake:
        return light_copy(self)


class FrozenLake(GymnasiumText):
    """Cross a frozen lake from the upper left to the goal at the lower right without falling into a hole.

    The task is a map, drawn at random among those that have a way; no map is in two splits. On slippery ice a move
    goes where it was meant to with probability `success_rate`, else to one of the two sides; the slips are drawn
    from the seed of `reset`. The reward is 1 at the goal, as in Gymnasium's environment, and so is the score.

    Args:
        size: cells a side.
        hole_share: how likely each cell is a hole.
        slippery, success_rate: whether and how moves slip.
        turn_limit: the most turns of an episode.
        train_tasks, dev_tasks, test_tasks: how many maps each split has.
    Raises:
        InvalidConfig: a setting out of range.
    """

    def __init__(
        self,
        size: int = 4,
        hole_share: float = 0.2,
        slippery: bool = False,
        success_rate: float = 1 / 3,
        turn_limit: int = 40,
        train_tasks: int = 1_000,
        dev_tasks: int = 100,
        test_tasks: int = 100,
    ) -> None:
        if size < 3 or not 0 <= hole_share <= 0.4 or not 0 < success_rate <= 1 or turn_limit < 1:
            raise InvalidConfig(
                "size must be at least 3, hole_share within 0 and 0.4, success_rate within 0 and 1 and turn_limit at "
                f"least 1, got {size}, {hole_share}, {success_rate} and {turn_limit}"
            )
        self._size, self._hole_share = size, hole_share
        self._ice = slippery, success_rate
        slips = "\nthe ice is slippery: a move can go to its side" if slippery else ""
        super().__init__(
            lambda: lake(("SF", "FG"), *self._ice),
            ACTIONS,
            self._picture,
            f"walk to G on the ice and not into a hole O, you are @{slips}\nactions: {', '.join(ACTIONS)}",
            turn_limit=turn_limit,
            train_tasks=train_tasks,
            dev_tasks=dev_tasks,
            test_tasks=test_tasks,
            snapshots=SnapshotKind.COPY,
        )

    def begin(self, task: str) -> Any:
        """Lay out the task's map, with a luck of its own."""
        self.inner = light_copy(lake(lake_map(task, self._size, self._hole_share), *self._ice))
        observation, _ = self.inner.reset(seed=int(self.np_random.integers(2**31)))
        return observation

    def _picture(self, cell: int) -> str:
        """The map with the walker in it, where that is, and how it ended if it did."""
        row, column = divmod(int(cell), self._size)
        rows = [[_SHOWN[letter] for letter in line] for line in lake_map(self._task, self._size, self._hole_share)]
        under, rows[row][column] = rows[row][column], "@"
        lines = [" ".join(line) for line in rows]
        lines.append(
            {"O": "you fell into a hole", "G": "you reached the goal"}.get(under, f"row {row} column {column}")
        )
        return "\n".join(lines)

    def expert_action(self) -> str:
        """The move that most likely leads to the goal in the end, by value iteration: a shortest way on ice that holds.

        It takes no account of the turns left, so that on slippery ice it is the best only where they are many.
        """
        inner: Any = self.inner
        return ACTIONS[best_moves(lake_map(self._task, self._size, self._hole_share), *self._ice)[inner.s]]


@lru_cache(maxsize=4_096)
def lake_map(task: str, size: int, hole_share: float) -> Map:
    """The rows of a task's map, in Gymnasium's letters: S start, F frozen, H hole, G goal."""

    def draw(rng: np.random.Generator) -> Map:
        while True:
            board = np.where(rng.random((size, size)) < hole_share, "H", "F")
            board[0, 0], board[-1, -1] = "S", "G"
            if is_valid(board.tolist(), size):
                return tuple("".join(row) for row in board)

    return draw_world(task, draw, "\n".join)


@lru_cache(maxsize=512)
def lake(rows: Map, slippery: bool, success_rate: float) -> Lake:
    """The environment on a map, to be copied: building one takes longer than an episode."""
    return Lake(desc=list(rows), is_slippery=slippery, success_rate=success_rate)


@lru_cache(maxsize=512)
def best_moves(rows: Map, slippery: bool, success_rate: float) -> tuple[int, ...]:
    """The best action in each cell, by value iteration over the environment's own transitions."""
    transitions: dict[int, dict[int, list[tuple[float, int, float, bool]]]] = lake(rows, slippery, success_rate).P
    cells = len(transitions)
    reward, onward = np.zeros((cells, len(ACTIONS))), np.zeros((cells, len(ACTIONS), cells))
    for cell, moves in transitions.items():
        for move, outcomes in moves.items():
            for probability, to, gain, ends in outcomes:
                reward[cell, move] += probability * gain
                onward[cell, move, to] += 0.0 if ends else probability
    value = np.zeros(cells)
    while True:
        worth = reward + _DISCOUNT * onward @ value
        if np.abs(worth.max(1) - value).max() < 1e-9:
            # Rounded, so that moves of equal worth tie and the first one is taken on every machine.
            return tuple(int(move) for move in worth.round(7).argmax(1))
        value = worth.max(1)
