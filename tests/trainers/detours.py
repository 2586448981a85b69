"""A world whose mistakes can be recovered from, by an action that its expert does not know."""

from __future__ import annotations

from typing import Any, ClassVar

from sparring.envs.base import Info
from sparring.types import ActionSet
from tests.worlds import WORDS, Copy

UNDO, LOST = "undo", "lost"
TEXTS = ("Say the word.", UNDO, LOST, "done", *WORDS)


class Detour(Copy):
    """Say each word that is shown; a wrong one leads astray, from where only `undo` leads back to it.

    The reward is 1 for having said all words. The expert never errs on a word, and astray it says the first of them.
    """

    state: ClassVar[tuple[str, ...]] = ("secret", "at", "right", "is_lost")
    is_lost = False

    def observe(self) -> tuple[str, Info]:
        text, info = super().observe()
        return LOST if self.is_lost else text, info | {"actions": ActionSet((*WORDS, UNDO))}

    def expert_action(self) -> str:
        return WORDS[0] if self.is_lost else super().expert_action()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        self.is_lost = False
        return super().reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        if self.is_lost:
            self.is_lost = action != UNDO
        elif self.at < len(self.secret):
            self.is_lost = action != self.secret[self.at]
            self.right += not self.is_lost
            self.at += not self.is_lost
        text, info = self.observe()
        done = self.at >= len(self.secret)
        return text, float(done), done, False, info
