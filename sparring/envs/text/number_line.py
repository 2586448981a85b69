"""Move a number to a target by + and -: the NumberLine of gym-cards (Zhai et al. 2024, arXiv:2405.10292), in text.

Rewards, limits and the turn limit of twice the line's length are theirs. Start and target always differ here, and
come from the seed: theirs come from a global generator and may be equal.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.errors import InvalidConfig, unknown
from sparring.types import ActionSet

_MOVES = {"-": -1, "+": 1}
_ACTIONS = ActionSet(tuple(_MOVES))


class NumberLine(TextEnv):
    """A number from 0 to `max_position`, changed by 1 a turn until it is the target.

    The reward is 1 at the target, else 0 for a move towards it and -1 for everything else, one against the end of
    the line and one that means nothing included. The score is 1 where the target was reached within
    2 `max_position` turns. A task is a pair such as `0-to-3`: of ten pairs eight are for training.

    Args:
        max_position: the greatest number, at least 2.
    Raises:
        InvalidConfig: a smaller one.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "dev", "test")
    state: ClassVar[tuple[str, ...]] = ("position", "target", "turns")

    def __init__(self, max_position: int = 5) -> None:
        if max_position < 2:
            raise InvalidConfig(f"max_position must be at least 2, got {max_position}")
        self.max_position = max_position
        numbers = range(max_position + 1)
        pairs = [(start, target) for start in numbers for target in numbers if start != target]
        self._tasks: dict[str, dict[str, tuple[int, int]]] = {split: {} for split in self.splits}
        for at, (start, target) in enumerate(pairs):
            split = {0: "test", 5: "dev"}.get(at % 10, "train")
            self._tasks[split][f"{start}-to-{target}"] = start, target
        self.position, self.target, self.turns = 0, 1, 0

    def task_ids(self, split: str) -> list[str]:
        """The pairs of a split.

        Raises:
            UnknownName: no such split.
        """
        if split not in self._tasks:
            raise unknown("split", split, self.splits)
        return list(self._tasks[split])

    def observe(self) -> tuple[str, Info]:
        """The target and the number."""
        return f"target {self.target}\nnumber {self.position}", {"actions": _ACTIONS}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        task = self.choose_task(options)
        self.position, self.target = next(pairs[task] for pairs in self._tasks.values() if task in pairs)
        self.turns = 0
        text, info = self.observe()
        return text, info | {"task": task, "instruction": "bring the number to the target\nactions: - (less), + (more)"}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        self.turns += 1
        before = abs(self.target - self.position)
        self.position = min(max(self.position + _MOVES.get(action, 0), 0), self.max_position)
        distance = abs(self.target - self.position)
        reached = distance == 0
        out_of_turns = not reached and self.turns >= 2 * self.max_position
        text, info = self.observe()
        if action not in _MOVES:
            info["no_op"] = f"{action[:20]!r} is neither - nor +"
        if reached or out_of_turns:
            info |= {"score": float(reached), "success": reached}
        reward = 1.0 if reached else 0.0 if distance < before else -1.0
        return text, reward, reached, out_of_turns, info

    def expert_action(self) -> str:
        """Towards the target."""
        return "+" if self.position < self.target else "-"
