"""A world in which nobody can know the right way before having looked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.types import ActionSet

DOORS = ("red", "green", "blue")
HALL, EMPTY, GOLD = "hall", "empty", "gold"
TEXTS = ("Find it.", "You can also say: go back (it undoes your last step)", "take", *DOORS, HALL, EMPTY, GOLD)


class Doors(TextEnv):
    """Behind one of three doors there is gold. Whoever takes what is in a room has that, and it is over."""

    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    state: ClassVar[tuple[str, ...]] = ("right", "room", "is_over")

    def __init__(self) -> None:
        self.right = DOORS[0]
        self.room: str | None = None
        self.is_over = False

    def task_ids(self, split: str) -> Sequence[str]:
        return [f"{split}-{number}" for number in range(8)]

    @property
    def found(self) -> bool:
        return self.room == self.right

    def observe(self) -> tuple[str, Info]:
        text = HALL if self.room is None else GOLD if self.found else EMPTY
        info: Info = {"actions": ActionSet(DOORS if self.room is None else ("take",))}
        if self.is_over:
            info |= {"score": float(self.found), "success": self.found}
        return text, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        task = self.choose_task(options)
        self.right = DOORS[int(self.np_random.integers(len(DOORS)))]
        self.room, self.is_over = None, False
        text, info = self.observe()
        return text, info | {"task": task, "instruction": "Find it."}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        _, info = self.observe()
        if info["actions"].admits(action):
            self.is_over = self.room is not None
            self.room = self.room or action
        text, info = self.observe()
        return text, float(self.is_over and self.found), self.is_over, False, info
