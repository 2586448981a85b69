"""A lock: a long password, of which single attempts tell little."""

from __future__ import annotations

from typing import Any

from sparring.envs.base import Info
from tests.worlds import WORDS, Copy


class Combination(Copy):
    """Say `words` words, the same ones in every episode, that are never shown; what counts is to have all right."""

    def observe(self) -> tuple[str, Info]:
        _, info = super().observe()
        return f"word {self.at}", info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        _, info = super().reset(seed=seed, options=options)
        self.secret = list(WORDS[-1 : -self.words - 1 : -1])
        text, now = self.observe()
        return text, info | now

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        text, _, terminated, truncated, info = super().step(action)
        if terminated:
            info["score"] = float(info["success"])
        return text, info.get("score", 0.0), terminated, truncated, info
