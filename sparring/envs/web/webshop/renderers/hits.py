"""Fewer products on a results page."""

from __future__ import annotations

from sparring.envs.base import Info, TextWrapper
from sparring.envs.web.webshop.renderers.screen import Screen, actions_of, click_on
from sparring.types import ActionSet

HITS = 5


class FirstHits(TextWrapper):
    """Show only the first five products of a results page (`webshop-top5`); the others can't be clicked.

    An expert that would click a hidden product clicks the first one shown instead, so it does not know the way to
    every goal any more (on the built-in catalogue, to 98 % of the synthetic ones).
    """

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Drop the other products from the text and from the choices."""
        actions = actions_of(info)
        screen = Screen.read(text)
        shown, dropped = (links := list(screen.products(actions)))[:HITS], links[HITS:]
        if not dropped:
            return text, info
        unclickable = {click_on(screen.fields[at]) for at in dropped}
        hidden = {at + offset for at in dropped for offset in range(3)}
        kept = tuple(field for at, field in enumerate(screen.fields) if at not in hidden)
        choices = tuple(choice for choice in actions.choices if choice not in unclickable)
        fewer: Info = {**info, "actions": ActionSet(choices, actions.forms)}
        if info.get("expert") in unclickable:
            fewer["expert"] = click_on(screen.fields[shown[0]])
        return Screen(kept, screen.separator).write(), fewer
