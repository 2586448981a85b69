"""What a check reports."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Literal

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 160
_short.maxlist = _short.maxtuple = _short.maxdict = 8


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one named check; `message` says what failed and how to mend it, or why it was skipped."""

    check: str
    outcome: Literal["passed", "failed", "skipped"]
    message: str = ""


class Skipped(Exception):
    """Raised in a check that does not apply; carries the reason."""


def brief(value: object) -> str:
    """A value as it may stand in a message: its repr, cut in the middle where it is long."""
    return _short.repr(value)
