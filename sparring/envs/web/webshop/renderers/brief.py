"""Only what the conversation has not shown yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

from sparring.envs.base import EnvType, Info
from sparring.envs.web.webshop.renderers.instruction import ReadsInstruction
from sparring.envs.web.webshop.renderers.screen import NOTHING_NEW, Field, Screen

_CONSTANT = frozenset(("WebShop", "Instruction:", "Rating: N.A.", "Search", *(
    "Back to Search", "< Prev", "Next >", "Description", "Features", "Reviews", "Attributes", "Buy Now",
)))  # fmt: skip
_UNTOLD = frozenset(("WebShop", "Instruction:"))  # constant and said by nothing but the page's frame
_THANKS, _SCORE = "Thank you for shopping with us!", "Your score (min 0.0, max 1.0)"


class NewObservationOnly(ReadsInstruction):
    """Show what the conversation has not shown yet (`webshop-brief`).

    The instruction and the labels that every page repeats (buttons, `Rating: N.A.`) appear once an episode. A page
    that is shown again at once, as after choosing an option, gives the fields that are new, or `(nothing new)`. The
    receipt is cut to its thanks and the score. Fields stand on lines of their own, in lower case, so that a word is
    the same in a title and in the instruction (whose own case stays). Made for memory styles that keep
    the whole conversation; under others the instruction still opens each prompt.
    """

    state: ClassVar[tuple[str, ...]] = ("_instruction", "_known", "_page")

    def __init__(self, env: EnvType) -> None:
        super().__init__(env)
        self._known: frozenset[str] = frozenset()
        self._page: frozenset[str] = frozenset()

    def begin(self, info: Info) -> None:
        """Nothing has been shown yet."""
        super().begin(info)
        self._known, self._page = frozenset(), frozenset()

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Drop what was shown before, and remember what is shown now."""
        return self._shorten(text), info

    def _shorten(self, text: str) -> str:
        fields = [_on_one_line(field) for field in Screen.read(text).fields]
        if fields and fields[0].text == _THANKS:
            return _receipt(fields)
        instruction = _one_line(self._instruction)
        constant = _CONSTANT | {instruction}
        content = {str(field) for field in fields if field.text not in constant}
        seen = self._page if len(content & self._page) * 2 > len(content) else frozenset()
        hidden = self._known | _UNTOLD | seen
        shown = [field for field in fields if field.text not in hidden and str(field) not in hidden]
        self._page = frozenset(content)
        self._known |= {field.text for field in fields if field.text in constant}
        lines = [str(field) if field.text == instruction else str(field).lower() for field in shown]
        return Screen((), "\n").join(lines) if lines else NOTHING_NEW


def _one_line(text: str) -> str:
    """Line breaks as spaces. Other spaces stay: an option's name has to stay what can be clicked."""
    return " ".join(text.splitlines()).strip()


@lru_cache(maxsize=4096)  # the fields of a page recur on every page
def _on_one_line(field: Field) -> Field:
    return replace(field, text=_one_line(field.text))


def _receipt(fields: Sequence[Field]) -> str:
    texts = [field.text for field in fields]
    score = texts[texts.index(_SCORE) + 1] if _SCORE in texts[:-1] else ""
    return f"{_THANKS} Score: {score}"
