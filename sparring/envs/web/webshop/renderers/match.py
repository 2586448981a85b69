"""What is shown beside what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sparring.envs.base import EnvType, Info
from sparring.envs.web.webshop import pages
from sparring.envs.web.webshop.matching import asked_for, shared_words, stems_of, words_of
from sparring.envs.web.webshop.renderers.instruction import ReadsInstruction
from sparring.envs.web.webshop.renderers.screen import (
    ABOVE,
    ASKED,
    BUTTON_TAGS,
    MOST,
    MOST_MATCHES,
    NOTHING_NEW,
    Field,
    Screen,
    actions_of,
)
from sparring.types import ActionSet, Form


class MatchCounts(ReadsInstruction):
    """Show how things agree with the instruction (`webshop-match`).

    Behind each product's price stands the number of different words of its title that the instruction contains, `=3`,
    compared by stem without stop words and at most 9; those with the most on the page are marked `(most)`, where
    products that `webshop-price` (put inside of it) marks `(above)` don't count. Options that the instruction names
    and that are not chosen yet are marked `(asked)`, and shown again where `webshop-brief` has left them out. The
    search form takes words of the instruction only (`Form.words`), less those that search ignores; of an expert's
    search the other words are dropped. Prices are not compared: that is `webshop-price`.
    """

    state: ClassVar[tuple[str, ...]] = ("_instruction", "_groups", "_chosen")

    def __init__(self, env: EnvType) -> None:
        super().__init__(env)
        self._groups: dict[str, str] = {}
        self._chosen: dict[str, str] = {}

    def begin(self, info: Info) -> None:
        """Nothing has been chosen yet."""
        super().begin(info)
        self._groups, self._chosen = {}, {}

    def action(self, text: str) -> str:
        """Remember a chosen option, which takes the place of another one of its group."""
        value = text.removeprefix("click[").removesuffix("]")
        if text == f"click[{value}]" and value in self._groups:
            self._chosen[self._groups[value]] = value
        return text

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Add counts and marks, and limit the search form."""
        actions = actions_of(info)
        screen = Screen.read(text)
        fields = list(screen.fields)
        if f"click[{pages.NEXT_PAGE}]" in actions.choices:
            counts = {at: shared_words(fields[at + 1].text, self._instruction) for at in screen.products(actions)}
            in_reach = {at: count for at, count in counts.items() if ABOVE not in fields[at + 2].notes}
            most = max(in_reach.values(), default=0)
            for at, count in counts.items():
                fields[at + 2] = fields[at + 2].noted(f"={min(count, MOST_MATCHES)}")
                if in_reach.get(at) == most > 0:
                    fields[at + 2] = fields[at + 2].noted(MOST)
        if f"click[{pages.BUY_NOW}]" in actions.choices:
            fields = self._mark_options(fields, actions)
        elif f"click[{pages.PREVIOUS_PAGE}]" not in actions.choices or f"click[{pages.NEXT_PAGE}]" in actions.choices:
            self._groups, self._chosen = {}, {}  # search and results pages forget what was chosen
        words = tuple(word for word in words_of(self._instruction) if stems_of(word))
        forms = tuple(Form(form.prefix, form.suffix, words or None) for form in actions.forms)
        limited: Info = {**info, "actions": ActionSet(actions.choices, forms)}
        if words and str(info.get("expert", "")).startswith("search["):
            limited["expert"] = _within_words(str(info["expert"]), words)
        return Screen(tuple(fields), screen.separator).write(), limited

    def _mark_options(self, fields: Sequence[Field], actions: ActionSet) -> list[Field]:
        values = [choice[len("click[") : -1] for choice in actions.choices if choice not in BUTTON_TAGS]
        group = ""
        for field in fields:
            if field.text in values:
                self._groups.setdefault(field.text, group)
            else:
                group = field.text
        asked = asked_for(values, self._instruction) - frozenset(self._chosen.values())
        shown = {field.text for field in fields}
        missing = [Field(value, notes=(ASKED,)) for value in values if value in asked and value not in shown]
        marked = [field.noted(ASKED) if field.text in asked else field for field in fields]
        return missing if missing and shown == {NOTHING_NEW} else marked + missing


def _within_words(search: str, words: tuple[str, ...]) -> str:
    kept = [word for word in search.removeprefix("search[").removesuffix("]").split() if word in words]
    return f"search[{' '.join(kept or words)}]"
