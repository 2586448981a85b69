"""Small environments for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.types import ActionSet

WORDS = ("red", "green", "blue", "grey", "pink", "teal", "gold", "plum")


class Copy(TextEnv):
    """Say each word that is shown; the reward is the share said right."""

    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    state: ClassVar[tuple[str, ...]] = ("secret", "at", "right")

    def __init__(self, words: int = 2, loud: bool = False) -> None:
        self.words, self.loud = words, loud
        self.secret: list[str] = []
        self.at = self.right = 0

    def task_ids(self, split: str) -> Sequence[str]:
        if split not in self.splits:
            return super().task_ids(split)
        return [f"{split}-{number}" for number in range(8)]

    def observe(self) -> tuple[str, Info]:
        done = self.at >= len(self.secret)
        text = "done" if done else self.secret[self.at]
        info: Info = {"actions": ActionSet(WORDS), "instruction": "Say the word."}
        if done:
            info |= {"score": self.right / self.words, "success": self.right == self.words}
        return text.upper() if self.loud else text, info

    def expert_action(self) -> str:
        return self.secret[self.at]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        task = self.choose_task(options)
        self.secret = [WORDS[int(self.np_random.integers(len(WORDS)))] for _ in range(self.words)]
        self.at = self.right = 0
        text, info = self.observe()
        return text, info | {"task": task}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        if self.at >= len(self.secret):
            text, info = self.observe()
            return text, 0.0, True, False, info | {"no_op": "the episode is over"}
        right = action == self.secret[self.at]
        self.right += right
        self.at += 1
        text, info = self.observe()
        if action not in WORDS:
            info["no_op"] = f"{action[:40]!r} is none of the words"
        return text, right / self.words, self.at >= len(self.secret), False, info


class Password(Copy):
    """Say two words, the same ones in every episode, that are never shown; the share said right is paid at the end."""

    def observe(self) -> tuple[str, Info]:
        _, info = super().observe()
        return ("first", "second", "done")[self.at], info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        _, info = super().reset(seed=seed, options=options)
        self.secret = ["gold", "plum"]
        text, now = self.observe()
        return text, info | now

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        text, _, terminated, truncated, info = super().step(action)
        return text, self.right / self.words if terminated else 0.0, terminated, truncated, info
