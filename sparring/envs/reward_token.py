"""Asking for good answers by a token: a wrapper that ends every observation by `<|good|>` (`reward-token`).

A model that was trained on its own answers, each behind the word on it (`sparring.trainers.leti`), is asked for an
answer as they were when they were good. Source: LeTI, arXiv:2305.10314.
"""

from __future__ import annotations

from sparring.envs.base import Info, TextWrapper

GOOD, BAD = "<|good|>", "<|bad|>"


def special_tokens() -> tuple[str, ...]:
    """The texts for which a small model's tokenizer should have a token each."""
    return GOOD, BAD


def unmarked(text: str) -> str:
    """An observation without the token at its end."""
    return text.removesuffix(f"\n{GOOD}")


def judged(text: str, *, is_good: bool, feedback: str = "") -> str:
    """The observation that an answer was given on, with the word on that answer in the place of the token.

    Args:
        text: as shown. feedback: what was said about a bad answer; empty for nothing.
    """
    word = GOOD if is_good else f"{BAD} {feedback}".strip()
    return f"{unmarked(text)}\n{word}"


class RewardToken(TextWrapper):
    """End every observation that asks for an action by `<|good|>` (`reward-token`, outermost)."""

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Add the token, except at the end of an episode."""
        return (text, info) if "score" in info else (f"{text}\n{GOOD}", info)
