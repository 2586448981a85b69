"""Tags for everything clickable."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from sparring.envs.base import EnvType, Info, TextWrapper
from sparring.envs.web.webshop.renderers.screen import (
    ASKED,
    BUTTON_TAGS,
    BUTTONS,
    MOST,
    TAGS,
    Screen,
    actions_of,
    click_on,
)
from sparring.types import ActionSet

_FIRST_MARKED = 40


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
        actions, screen = actions_of(info), Screen.read(text)
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
    products = {click_on(screen.fields[at]) for at in screen.products(actions) if MOST in screen.fields[at + 2].notes}
    return frozenset(products | {click_on(field) for field in screen.fields if ASKED in field.notes})


def _tag(choices: tuple[str, ...], marked: frozenset[str], seed: int) -> dict[str, str]:
    """Plain choice → tag."""
    generator = random.Random(f"{seed} {choices}")
    low = generator.sample(TAGS[len(BUTTONS) : _FIRST_MARKED], _FIRST_MARKED - len(BUTTONS))
    high = generator.sample(TAGS[_FIRST_MARKED:], len(TAGS) - _FIRST_MARKED)
    tags: dict[str, str] = {}
    for choice in choices:
        drawn = (high or low) if choice in marked else (low or high)
        if choice in BUTTON_TAGS:
            tags[choice] = BUTTON_TAGS[choice]
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
