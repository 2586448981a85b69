"""Renderings of WebShop for small models: wrappers that use nothing but the visible text.

Each is named in every result that used it. The usual order, innermost first, is

    wrappers=("webshop-brief", "webshop-top5", "webshop-price", "webshop-match", "webshop-index")

| name | what it does | what it spares the model |
|---|---|---|
| `webshop-brief` | drops what the conversation has shown already | tokens |
| `webshop-top5` | shows only the first five products of a results page | tokens |
| `webshop-match` | counts shared words, marks the most and options asked for, limits search words | comparing words |
| `webshop-price` | says whether a price is within the bound that the instruction states | comparing numbers |
| `webshop-index` | gives everything clickable a tag, which then is the whole action | copying names |

They read the observation modes `text` and `text_rich`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import gymnasium

from sparring.envs.base import EnvType, Info, TextWrapper
from sparring.envs.web.webshop import pages
from sparring.envs.web.webshop.matching import asked_for, shared_words, stems_of, words_of
from sparring.errors import InvalidConfig
from sparring.types import ActionSet, Form

TAGS = tuple(f"[{number}]" for number in range(64))
MOST_MATCHES = 9
HITS = 5
ASKED, MOST = "(asked)", "(most)"
WITHIN, ABOVE, PERHAPS = "(within)", "(above)", "(perhaps)"
NOTHING_NEW = "(nothing new)"
_NOTES = (*(f"={count}" for count in range(MOST_MATCHES + 1)), ASKED, MOST, WITHIN, ABOVE, PERHAPS)

_BUTTONS = (
    pages.BACK_TO_SEARCH, pages.PREVIOUS_PAGE, pages.NEXT_PAGE, *pages.SUB_PAGES, pages.BUY_NOW,
)  # fmt: skip
_FIRST_MARKED = 40
_BUTTON_TAGS = {f"click[{name}]": tag for name, tag in zip(_BUTTONS, TAGS, strict=False)}
_CONSTANT = frozenset(("WebShop", "Instruction:", "Rating: N.A.", "Search", *(
    "Back to Search", "< Prev", "Next >", "Description", "Features", "Reviews", "Attributes", "Buy Now",
)))  # fmt: skip
_UNTOLD = frozenset(("WebShop", "Instruction:"))  # constant and said by nothing but the page's frame
_RICH = re.compile(r"\[(clicked )?button\] (.*) \[(?:clicked )?button_\]", re.DOTALL)
_NUMBER = re.compile(r"\$(\d[\d,]*(?:\.\d+)?)")
_BOUND = re.compile(r"price lower than (\d[\d,]*(?:\.\d+)?) dollars")
_THANKS, _SCORE = "Thank you for shopping with us!", "Your score (min 0.0, max 1.0)"


def special_tokens() -> tuple[str, ...]:
    """The texts for which a small model's tokenizer should have a token each: tags and marks."""
    return (*TAGS, *_NOTES, NOTHING_NEW)


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
                if name not in _BUTTONS and f"click[{name}]" in actions.choices:
                    yield at


@lru_cache(maxsize=4096)  # pages recur within and between episodes, and each wrapper reads them again
def _read(text: str) -> Screen:
    separator = pages.SEPARATOR if pages.SEPARATOR in text else "\n"
    parts = text.split(separator)
    if separator == "\n":
        parts = [part.strip() for part in parts if part.strip()]
    return Screen(tuple(_field(part) for part in parts), separator)


def _field(part: str) -> Field:
    notes: list[str] = []
    while (cut := part.rfind(" ")) > 0 and part[cut + 1 :] in _NOTES:
        notes.insert(0, part[cut + 1 :])
        part = part[:cut]
    rich = _RICH.fullmatch(part.strip())
    if rich is None:
        return Field(part, notes=tuple(notes))
    return Field(rich[2], True, rich[1] is not None, tuple(notes))


def _actions(info: Info) -> ActionSet:
    actions = info.get("actions")
    if not isinstance(actions, ActionSet):
        raise InvalidConfig('WebShop\'s renderers need info["actions"]; put them around sparring/WebShop-v1')
    return actions


class IndexClicks(TextWrapper):
    """Give everything clickable a tag such as `[7]`, which then is the whole action (`webshop-index`).

    The tag stands behind the text that it names, for a product behind its price, and the ASIN is left out. Buttons
    have the same tag on every page (`[0]` is Back to Search, `[7]` Buy Now). Products and options draw theirs anew for
    each page of each episode (a page seen again in an episode keeps its tags): were the third option always `[10]`, a
    small model would learn by heart which number suits which product, and read nothing. Those that `webshop-match`
    marks draw from `[40]` to `[63]`, the others from `[8]` on, so that one look at a tag tells which kind it is of.
    What finds no tag left keeps its plain action. `search[…]` stays. `info["actions"]` and `info["expert"]` are
    translated too. It belongs outside of the other renderers.

    The draw depends on the seed of `reset` and on what can be clicked, so that equal seeds and actions give equal
    episodes; a reset without a seed counts on from the one before.
    """

    state: ClassVar[tuple[str, ...]] = ("_choices", "_tags", "_seed")

    def __init__(self, env: EnvType) -> None:
        super().__init__(env)
        self._choices: tuple[str, ...] = ()
        self._tags: dict[str, str] = {}
        self._seed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Begin an episode, with tags of its own."""
        self._seed = self._seed + 1 if seed is None else seed
        return super().reset(seed=seed, options=options)

    def action(self, text: str) -> str:
        """The plain action behind a tag; other actions pass as they are."""
        return next((choice for choice, tag in self._tags.items() if tag == text), text)

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Tag the text, the choices and the expert's action."""
        actions, screen = _actions(info), Screen.read(text)
        if actions.choices != self._choices:  # choosing an option leaves the page, and so its tags, as they are
            self._choices = actions.choices
            self._tags = _tag(actions.choices, _marked(screen, actions), self._seed)
        tags = self._tags
        choices = tuple(tags.get(choice, choice) for choice in actions.choices)
        translated: Info = {**info, "actions": ActionSet(choices, actions.forms)}
        if "expert" in info:
            translated["expert"] = tags.get(info["expert"], info["expert"])
        return _show_tags(screen, actions, tags), translated


def _marked(screen: Screen, actions: ActionSet) -> frozenset[str]:
    """The choices that stand beside a mark of `webshop-match`."""
    products = {_click(screen.fields[at]) for at in screen.products(actions) if MOST in screen.fields[at + 2].notes}
    return frozenset(products | {_click(field) for field in screen.fields if ASKED in field.notes})


def _tag(choices: tuple[str, ...], marked: frozenset[str], seed: int) -> dict[str, str]:
    """Plain choice → tag."""
    generator = random.Random(f"{seed} {choices}")
    low = generator.sample(TAGS[len(_BUTTONS) : _FIRST_MARKED], _FIRST_MARKED - len(_BUTTONS))
    high = generator.sample(TAGS[_FIRST_MARKED:], len(TAGS) - _FIRST_MARKED)
    tags: dict[str, str] = {}
    for choice in choices:
        drawn = (high or low) if choice in marked else (low or high)
        if choice in _BUTTON_TAGS:
            tags[choice] = _BUTTON_TAGS[choice]
        elif drawn:
            tags[choice] = drawn.pop()
    return tags


def _show_tags(screen: Screen, actions: ActionSet, tags: Mapping[str, str]) -> str:
    links = set(screen.products(actions))
    shown: list[str] = []
    at = 0
    while at < len(screen.fields):
        field = screen.fields[at]
        tag = tags.get(f"click[{field.text.lower()}]")
        if at in links:
            _, title, price = screen.fields[at : at + 3]
            seen = ("(seen)",) if field.clicked else ()
            shown.append(" ".join((str(title), str(price), *seen, *([tag] if tag else [field.text]))))
            at += 3
            continue
        if tag is None:
            shown.append(str(field))
        else:
            chosen = ("(chosen)",) if field.clicked else ()
            shown.append(" ".join((field.text, *field.notes, *chosen, tag)))
        at += 1
    return screen.join(shown)


class _ReadsInstruction(TextWrapper):
    """A wrapper that compares what is shown with the instruction."""

    state: ClassVar[tuple[str, ...]] = ("_instruction",)

    def __init__(self, env: EnvType) -> None:
        layer = env
        while isinstance(layer, gymnasium.Wrapper):
            if isinstance(layer, IndexClicks):
                raise InvalidConfig(f"webshop-index goes outside of {type(self).__name__}: name it after the others")
            layer = layer.env
        super().__init__(env)
        self._instruction = ""

    def begin(self, info: Info) -> None:
        """Keep the new episode's instruction."""
        self._instruction = str(info.get("instruction", ""))


class MatchCounts(_ReadsInstruction):
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
        actions = _actions(info)
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
        values = [choice[len("click[") : -1] for choice in actions.choices if choice not in _BUTTON_TAGS]
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


class FirstHits(TextWrapper):
    """Show only the first five products of a results page (`webshop-top5`); the others can't be clicked.

    An expert that would click a hidden product clicks the first one shown instead, so it does not know the way to
    every goal any more (on the built-in catalogue, to 98 % of the synthetic ones).
    """

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Drop the other products from the text and from the choices."""
        actions = _actions(info)
        screen = Screen.read(text)
        shown, dropped = (links := list(screen.products(actions)))[:HITS], links[HITS:]
        if not dropped:
            return text, info
        unclickable = {_click(screen.fields[at]) for at in dropped}
        hidden = {at + offset for at in dropped for offset in range(3)}
        kept = tuple(field for at, field in enumerate(screen.fields) if at not in hidden)
        choices = tuple(choice for choice in actions.choices if choice not in unclickable)
        fewer: Info = {**info, "actions": ActionSet(choices, actions.forms)}
        if info.get("expert") in unclickable:
            fewer["expert"] = _click(screen.fields[shown[0]])
        return Screen(kept, screen.separator).write(), fewer


def _click(link: Field) -> str:
    return f"click[{link.text.lower()}]"


class PriceMarks(_ReadsInstruction):
    """Say behind each price whether it is within the bound that the instruction states (`webshop-price`).

    `(within)` or `(above)`; for a range of prices that has the bound inside it `(perhaps)`. Without a bound in the
    instruction nothing is added.
    """

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Add the marks."""
        stated = _BOUND.search(self._instruction)
        if stated is None:
            return text, info
        bound = _dollars(stated[1])
        screen = Screen.read(text)
        prices = {at + 2 for at in screen.products(_actions(info))}
        fields = [
            field.noted(_judge(field.text, bound))
            if at in prices or field.text.lower().startswith("price: $")
            else field
            for at, field in enumerate(screen.fields)
        ]
        return Screen(tuple(fields), screen.separator).write(), info


def _dollars(number: str) -> float:
    return float(number.replace(",", ""))


def _judge(price: str, bound: float) -> str:
    values = [_dollars(number) for number in _NUMBER.findall(price)]
    if not values:
        return PERHAPS
    return WITHIN if max(values) <= bound else ABOVE if min(values) > bound else PERHAPS


class NewObservationOnly(_ReadsInstruction):
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
        fields = [replace(field, text=_one_line(field.text)) for field in Screen.read(text).fields]
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


def _receipt(fields: Sequence[Field]) -> str:
    texts = [field.text for field in fields]
    score = texts[texts.index(_SCORE) + 1] if _SCORE in texts[:-1] else ""
    return f"{_THANKS} Score: {score}"
