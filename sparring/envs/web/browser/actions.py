"""What an agent can do to a page, and the strict grammar in which it says so.

| action | what it does |
|---|---|
| `click[7]`, `click[40,25]` | click the element numbered 7, or a point of the page in pixels |
| `hover[7]` | move the mouse there |
| `fill[7] some text` | replace what a field holds |
| `type[some text]`, `type[40,25] some text` | type key by key where the focus is, or after a click there |
| `select[7] Large` | choose (in a multiple list: change) an option by its label |
| `press[Enter]`, `press[Control+a]` | press a key |
| `scroll[down]`, `scroll[7] up` | scroll the page, or the element |
| `drag[7] 9`, `drag[7] 40,25`, `drag[5,5] 9` | drag from one place to another |
| `goto[address]`, `back` | navigate, within the allowed origins |
| `tab[2]`, `close_tab` | go to the second tab; close the current one |
| `wait` | let the page's time go on |
| `answer[text]`, `infeasible[reason]` | end the task with an answer, or by saying that it can't be done |

An action is data: it is taken apart by this grammar and nothing of it is ever run as code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Place = int | tuple[int, int]
Direction = Literal["up", "down", "left", "right"]

VERBS = (
    "click", "hover", "fill", "type", "select", "press", "scroll", "drag", "goto", "back", "tab", "close_tab", "wait",
    "answer", "infeasible",
)  # fmt: skip
KEYS = (
    "Enter", "Tab", "Escape", "Backspace", "Delete", "Space", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight",
    "Home", "End", "PageUp", "PageDown",
)  # fmt: skip
_MODIFIERS = ("Control", "Shift", "Alt")
_DIRECTIONS: tuple[Direction, ...] = ("up", "down", "left", "right")
_ALONE: tuple[Literal["back", "close_tab", "wait"], ...] = ("back", "close_tab", "wait")
_SHAPE = re.compile(r"([a-z_]+)(?:\[(.*)\])?", re.DOTALL)
_WITH_TEXT = re.compile(r"([a-z_]+)\[([0-9,]{1,11})\] (.+)", re.DOTALL)
_WITH_TEXT_VERBS = ("fill", "select", "scroll", "drag")
_OPTIONAL_TEXT_VERBS = ("type",)


class BadAction(ValueError):
    """The text is no action; the message says why."""


@dataclass(frozen=True, slots=True)
class Click:
    """Click a place, or only move the mouse there."""

    place: Place
    hover: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """Replace what a field holds."""

    element: int
    text: str


@dataclass(frozen=True, slots=True)
class Type:
    """Type key by key where the focus is, or after a click at a place."""

    text: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Select:
    """Choose an option by its label."""

    element: int
    option: str


@dataclass(frozen=True, slots=True)
class Press:
    """Press a key, with modifiers in front joined by `+`."""

    key: str


@dataclass(frozen=True, slots=True)
class Scroll:
    """Scroll an element, or the page."""

    direction: Direction
    element: int | None = None


@dataclass(frozen=True, slots=True)
class Drag:
    """Press the mouse in one place and let it go in another."""

    start: Place
    end: Place


@dataclass(frozen=True, slots=True)
class Goto:
    """Load an address."""

    url: str


@dataclass(frozen=True, slots=True)
class Tab:
    """Go to a tab, counted from 1."""

    number: int


@dataclass(frozen=True, slots=True)
class Simple:
    """What needs no argument."""

    verb: Literal["back", "close_tab", "wait"]


@dataclass(frozen=True, slots=True)
class Say:
    """End the task with an answer, or (`infeasible`) by saying that it can't be done."""

    text: str
    infeasible: bool = False


PageAction = Click | Fill | Type | Select | Press | Scroll | Drag | Goto | Tab | Simple | Say


def parse(text: str, *, most_chars: int = 4_000) -> PageAction:
    """Take an action apart.

    Raises:
        BadAction: it does not follow the grammar, is too long, or holds characters that no keyboard has.
    """
    if len(text) > most_chars:
        raise BadAction(f"an action has at most {most_chars} characters, this one has {len(text)}")
    if not all(character.isprintable() or character in "\n\t" for character in text):
        raise BadAction("the action holds characters that can't be typed")
    with_text = _WITH_TEXT.fullmatch(text)
    if with_text and with_text[1] in (*_WITH_TEXT_VERBS, *_OPTIONAL_TEXT_VERBS):
        return _with_text(with_text[1], _place(with_text[2]), with_text[3])
    shape = _SHAPE.fullmatch(text)
    if shape is None or shape[1] not in VERBS:
        raise BadAction(f"{text[:60]!r} is no action: write one such as click[7] or fill[7] some text")
    return _alone(shape[1]) if shape[2] is None else _with_slot(shape[1], shape[2])


def _alone(verb: str) -> PageAction:
    for one in _ALONE:
        if verb == one:
            return Simple(one)
    raise BadAction(f"{verb} needs something in brackets, such as {verb}[…]")


def _with_slot(verb: str, slot: str) -> PageAction:
    if not slot:
        raise BadAction(f"the brackets of {verb}[] are empty")
    if verb in ("click", "hover"):
        return Click(_place(slot), hover=verb == "hover")
    if verb == "type":
        return Type(slot)
    if verb == "press":
        return Press(_key(slot))
    if verb == "scroll":
        return Scroll(_direction(slot))
    if verb == "goto":
        return Goto(slot)
    if verb == "tab":
        return Tab(_element(_place(slot)))
    if verb in ("answer", "infeasible"):
        return Say(slot, verb == "infeasible")
    if verb in _WITH_TEXT_VERBS:
        raise BadAction(f"{verb} is written {verb}[number] with something behind it")
    raise BadAction(f"{verb} is written alone, without brackets")


def _with_text(verb: str, place: Place, text: str) -> PageAction:
    if verb == "drag":
        return Drag(place, _place(text))
    if verb == "type":
        return Type(text, place)
    element = _element(place)
    if verb == "fill":
        return Fill(element, text)
    if verb == "select":
        return Select(element, text)
    return Scroll(_direction(text), element)


def _place(text: str) -> Place:
    parts = text.split(",")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and len(part) <= 5 for part in parts):
        raise BadAction(f"{text[:40]!r} is neither an element's number nor a point such as 40,25")
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _element(place: Place) -> int:
    if isinstance(place, tuple):
        raise BadAction("this action needs an element's number, not a point")
    return place


def _direction(text: str) -> Direction:
    for one in _DIRECTIONS:
        if text == one:
            return one
    raise BadAction(f"{text[:40]!r} is none of {', '.join(_DIRECTIONS)}")


def _key(text: str) -> str:
    *modifiers, key = text.split("+") if text != "+" else [text]
    one_character = len(key) == 1 and key.isprintable()
    if not (one_character or key in KEYS) or not all(one in _MODIFIERS for one in modifiers) or len(modifiers) > 3:
        raise BadAction(f"{text[:40]!r} is no key: a character or {', '.join(KEYS)}, after Control+, Shift+ or Alt+")
    return text


def verb_of(action: PageAction) -> str:
    """The verb that an action was written with."""
    if isinstance(action, Click):
        return "hover" if action.hover else "click"
    if isinstance(action, Say):
        return "infeasible" if action.infeasible else "answer"
    return action.verb if isinstance(action, Simple) else type(action).__name__.lower()
