"""A world in which the second look tells what the first could not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.types import ActionSet
from tests.worlds import WORDS

SOME = WORDS[:4]
TEXTS = ("Say the word.", "first", "done", *WORDS)


class Hinted(TextEnv):
    """Guess a word out of four; then the word is shown, and there is another attempt.

    The first attempt is right once in four times whatever is said, the second can always be right.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    state: ClassVar[tuple[str, ...]] = ("secret", "said")

    def __init__(self, shown: bool = True, stop_when_right: bool = False) -> None:
        self.shown, self.stop_when_right = shown, stop_when_right
        self.secret = SOME[0]
        self.said: tuple[str, ...] = ()

    def task_ids(self, split: str) -> Sequence[str]:
        return [f"{split}-{number}" for number in range(8)]

    @property
    def is_over(self) -> bool:
        return len(self.said) == 2 or (self.stop_when_right and self.secret in self.said)

    def observe(self) -> tuple[str, Info]:
        text = "done" if self.is_over else "first" if not self.said or not self.shown else self.secret
        info: Info = {"actions": ActionSet(SOME), "instruction": "Say the word."}
        if self.said:
            right = self.said[-1] == self.secret
            info |= {"correct": right, "attempt": len(self.said)}
            if self.is_over:
                info |= {"score": float(right), "success": right}
        return text, info

    def expert_action(self) -> str:
        return self.secret

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        task = self.choose_task(options)
        self.secret, self.said = SOME[int(self.np_random.integers(len(SOME)))], ()
        text, info = self.observe()
        return text, info | {"task": task}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        self.said = (*self.said, action)
        text, info = self.observe()
        return text, float(info["correct"]), self.is_over, False, info
