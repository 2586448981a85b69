"""Sokoban in text: push boxes onto targets, in generated rooms that are all solvable."""

from __future__ import annotations

from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, SeededTasks
from sparring.envs.text.sokoban_levels import (
    ACTIONS,
    Position,
    Recipe,
    Room,
    level,
    moved,
    on_targets,
    picture,
    solve,
)
from sparring.errors import InvalidConfig
from sparring.types import ActionSet

_ADMITTED = ActionSet(ACTIONS)


class Sokoban(TextEnv):
    """Push every box onto a target. Boxes can't be pulled, so that a push can make a room unsolvable for good.

    Rewards are those of gym-sokoban: -0.1 a turn, +1 for a box that gets onto a target and -1 for one that leaves
    it, +10 when all are on targets, which ends the episode. The score is the share of boxes on targets. A move that
    is blocked takes its turn, and so does an action that means nothing. The default, one box in a room of 6 by 6
    cells, is RAGEN's (Wang et al. 2025, arXiv:2504.20073). Levels are made by playing backwards; a solver proves
    each solvable within the limits, and no level is in two splits.

    Args:
        size: cells a side, outer walls included.
        boxes: how many. The solver searches breadth first: beyond two in a large room levels take seconds to make.
        turn_limit: the most turns of an episode.
        least_moves, most_moves: how long shortest solutions are; by default at most `turn_limit`.
        wall_share: how likely each inner cell is a wall.
        train_tasks, dev_tasks, test_tasks: how many levels each split has.
    Raises:
        InvalidConfig: a setting out of range.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    state: ClassVar[tuple[str, ...]] = ("room", "position", "turns")

    def __init__(
        self,
        size: int = 6,
        boxes: int = 1,
        turn_limit: int = 30,
        least_moves: int = 3,
        most_moves: int | None = None,
        wall_share: float = 0.15,
        train_tasks: int = 10_000,
        dev_tasks: int = 100,
        test_tasks: int = 100,
    ) -> None:
        most_moves = turn_limit if most_moves is None else most_moves
        if not (5 <= size <= 12 and 1 <= boxes <= 4 and 0 <= wall_share <= 0.3):
            raise InvalidConfig(
                "size must be within 5 and 12, boxes within 1 and 4, and wall_share within 0 and 0.3, got "
                f"{size}, {boxes} and {wall_share}"
            )
        if not 1 <= least_moves <= most_moves <= turn_limit:
            raise InvalidConfig(
                "least_moves must be at least 1 and not above most_moves, which must not be above turn_limit, got "
                f"{least_moves}, {most_moves} and {turn_limit}"
            )
        self.turn_limit = turn_limit
        self._recipe = Recipe(size, boxes, wall_share, least_moves, most_moves)
        self._tasks = SeededSplits(train_tasks, dev_tasks, test_tasks)
        self.room: Room = Room(size, "")
        self.position: Position = (0, ())
        self.turns = 0

    def task_ids(self, split: str) -> SeededTasks:
        """The ids of a split's levels.

        Raises:
            UnknownName: no such split.
        """
        return self._tasks.tasks(split)

    def observe(self) -> tuple[str, Info]:
        """The room, one row a line."""
        return picture(self.room, self.position), {"actions": _ADMITTED}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        task = self.choose_task(options)
        self.room, self.position = level(task, self._recipe)
        self.turns = 0
        text, info = self.observe()
        instruction = (
            "push every box $ onto a target .\nyou are @ and walls are #\non a target a box is * and you are +\n"
            f"actions: {', '.join(ACTIONS)}"
        )
        return text, info | {"task": task, "instruction": instruction}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        self.turns += 1
        before = on_targets(self.room, self.position)
        understood = action in ACTIONS
        if understood:
            self.position = moved(self.room, self.position, self.room.way(action))
        now, boxes = on_targets(self.room, self.position), self._recipe.boxes
        solved = now == boxes
        out_of_turns = not solved and self.turns >= self.turn_limit
        text, info = self.observe()
        if not understood:
            info["no_op"] = f"{action[:20]!r} is none of: {', '.join(ACTIONS)}"
        if solved or out_of_turns:
            info |= {"score": now / boxes, "success": solved}
        return text, -0.1 + (now - before) + 10.0 * solved, solved, out_of_turns, info

    def expert_action(self) -> str:
        """The first move of a shortest solution; any move where a push has made the room unsolvable."""
        solution = solve(self.room, self.position)
        return solution[0] if solution else ACTIONS[0]
