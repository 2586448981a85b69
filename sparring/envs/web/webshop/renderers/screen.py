"""An observation taken apart into its fields, and the marks that renderers put behind them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from sparring.envs.base import Info
from sparring.envs.web.webshop import pages
from sparring.errors import InvalidConfig
from sparring.types import ActionSet

TAGS = tuple(f"[{number}]" for number in range(64))
MOST_MATCHES = 9
ASKED, MOST = "(asked)", "(most)"
WITHIN, ABOVE, PERHAPS = "(within)", "(above)", "(perhaps)"
NOTHING_NEW = "(nothing new)"
NOTES = (*(f"={count}" for count in range(MOST_MATCHES + 1)), ASKED, MOST, WITHIN, ABOVE, PERHAPS)

BUTTONS = (
    pages.BACK_TO_SEARCH, pages.PREVIOUS_PAGE, pages.NEXT_PAGE, *pages.SUB_PAGES, pages.BUY_NOW,
)  # fmt: skip
BUTTON_TAGS = {f"click[{name}]": tag for name, tag in zip(BUTTONS, TAGS, strict=False)}
_RICH = re.compile(r"\[(clicked )?button\] (.*) \[(?:clicked )?button_\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Field:
    """One text node of an observation: `text` without the marks of `text_rich`, `notes` put behind it."""

    text: str
    button: bool = False
    clicked: bool = False
    notes: tuple[str, ...] = ()

    def noted(self, note: str) -> Field:
        """The field with one more note behind it."""
        return Field(self.text, self.button, self.clicked, (*self.notes, note))

    def __str__(self) -> str:
        mark = "clicked button" if self.clicked else "button"
        shown = f"[{mark}] {self.text} [{mark}_]" if self.button else self.text
        return " ".join((shown, *self.notes))


@dataclass(frozen=True, slots=True)
class Screen:
    """An observation taken apart into fields, and how they were joined."""

    fields: tuple[Field, ...]
    separator: str

    @staticmethod
    def read(text: str) -> Screen:
        """Take an observation apart: `text` at its separators, `text_rich` and shortened ones at line ends."""
        return _read(text)

    def write(self) -> str:
        """Join the fields again."""
        return self.join(map(str, self.fields))

    def join(self, lines: Iterable[str]) -> str:
        """Join lines as the fields were joined.

        Lines of their own begin with a space, so that tokenizers which tie a space to the word after it read a
        line's first word as they read it elsewhere.
        """
        return " " + "\n ".join(lines) if self.separator == "\n" else self.separator.join(lines)

    def products(self, actions: ActionSet) -> Iterator[int]:
        """The positions of product links, each followed by title and price."""
        if f"click[{pages.NEXT_PAGE}]" in actions.choices:
            for at, field in enumerate(self.fields[:-2]):
                name = field.text.lower()
                if name not in BUTTONS and f"click[{name}]" in actions.choices:
                    yield at


@lru_cache(maxsize=4096)  # pages recur within and between episodes, and each wrapper reads them again
def _read(text: str) -> Screen:
    separator = pages.SEPARATOR if pages.SEPARATOR in text else "\n"
    parts = text.split(separator)
    if separator == "\n":
        parts = [part.strip() for part in parts if part.strip()]
    return Screen(tuple(_field(part) for part in parts), separator)


@lru_cache(maxsize=32768)  # a wrapper changes few fields of a page, and the next one reads them all
def _field(part: str) -> Field:
    notes: list[str] = []
    while (cut := part.rfind(" ")) > 0 and part[cut + 1 :] in NOTES:
        notes.insert(0, part[cut + 1 :])
        part = part[:cut]
    rich = _RICH.fullmatch(part.strip())
    if rich is None:
        return Field(part, notes=tuple(notes))
    return Field(rich[2], True, rich[1] is not None, tuple(notes))


def actions_of(info: Info) -> ActionSet:
    actions = info.get("actions")
    if not isinstance(actions, ActionSet):
        raise InvalidConfig('WebShop\'s renderers need info["actions"]; put them around sparring/WebShop-v1')
    return actions


def click_on(link: Field) -> str:
    return f"click[{link.text.lower()}]"
