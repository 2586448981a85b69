"""Explaining before trying again: a wrapper that asks what was wrong after every wrong attempt (`explain`).

    4 7 + 8 5                                    ->  1 3 3
    That is wrong. … Explain what was wrong.     ->  place 1 from the right
    Answer again.                                ->  1 3 2

It fits environments of attempts, which say by `info["correct"]` whether one was right. The explanation is a turn of its
own: any text, worth nothing to the environment, which never hears of it. Source: Self-Debug, arXiv:2304.05128.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sparring.envs.base import EnvType, Info, TextWrapper
from sparring.types import ActionSet, Form

ASK = "Explain what was wrong."
GO_ON = "Answer again."
ANYTHING = ActionSet(forms=(Form("", ""),))


class Explain(TextWrapper):
    """Ask for an explanation after every wrong attempt that another can follow (`explain`, outermost).

    A turn that is an explanation has `info["explanation"]`, and no `info["correct"]`.
    """

    state: ClassVar[tuple[str, ...]] = ("_waiting",)

    def __init__(self, env: EnvType) -> None:
        super().__init__(env)
        self._waiting: Info | None = None  # while an explanation is asked for: what goes with the next attempt

    def begin(self, info: Info) -> None:
        """Nothing is wrong yet."""
        self._waiting = None

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Ask for an explanation in the place of another attempt."""
        if info.get("correct") is not False or "score" in info:
            return text, info
        self._waiting = {name: info[name] for name in ("actions", "expert") if name in info}
        return f"{text}\n{ASK}", {**info, "actions": ANYTHING}

    def step(self, action: str) -> tuple[str, Any, bool, bool, Info]:
        if self._waiting is None:
            return super().step(action)
        info, self._waiting = self._waiting, None
        self._shown = GO_ON, {**info, "explanation": True}
        return GO_ON, 0.0, False, False, {**info, "explanation": True}
