"""Prices beside the bound that the instruction states."""

from __future__ import annotations

import re

from sparring.envs.base import Info
from sparring.envs.web.webshop.renderers.instruction import ReadsInstruction
from sparring.envs.web.webshop.renderers.screen import ABOVE, PERHAPS, WITHIN, Screen, actions_of

_NUMBER = re.compile(r"\$(\d[\d,]*(?:\.\d+)?)")
_BOUND = re.compile(r"price lower than (\d[\d,]*(?:\.\d+)?) dollars")


class PriceMarks(ReadsInstruction):
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
        prices = {at + 2 for at in screen.products(actions_of(info))}
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
