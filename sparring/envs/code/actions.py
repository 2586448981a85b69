"""The grammar of actions in which functions are written.

write CODE      the whole program: everything after the word, or the last fenced block in it; a fence that closes what
                was never opened ends the program, as where a model goes on as it is used to
```python …```  a fenced block alone, with whatever is said around it, is a program as well
def f(x): …     and so is a text that defines one of the functions asked for
test            run the visible tests
submit          hand the program in
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LONGEST_PROGRAM = 64 * 1024

_FENCE = re.compile(r"^```[^\n`]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_ANY_FENCE = re.compile(r"^```[^\n`]*$", re.MULTILINE)
_OPEN_FENCE = re.compile(r"^```[^\n`]*\n(.*)\Z", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Command:
    """An action that was understood; `program` is what `write` writes."""

    verb: Literal["write", "test", "submit"]
    program: str = ""


def parse(text: str, functions: Sequence[str]) -> Command | str:
    """Read an action, or say why it means nothing.

    Args:
        text: anything that a model may say.
        functions: names of the functions asked for.
    """
    if len(text) > LONGEST_PROGRAM:
        return f"an action has at most {LONGEST_PROGRAM:,} characters"
    bare = text.strip()
    if bare in ("test", "submit"):
        return Command("test" if bare == "test" else "submit")
    word, _, rest = bare.partition("\n") if bare.startswith("write\n") else bare.partition(" ")
    program = _fenced(rest if word == "write" else bare, functions)
    if program is None and word == "write":
        program = rest
    if program is None and _defines(bare, functions):
        program = bare
    if program is None:
        return f"{text[:40]!r} is none of: write CODE, test, submit"
    if not program.strip():
        return "there is no program after write"
    if "\0" in program or any("\ud800" <= one <= "\udfff" for one in program):
        return "a program holds no null bytes and no halves of characters"
    return Command("write", program if program.endswith("\n") else program + "\n")


def _fenced(text: str, functions: Sequence[str]) -> str | None:
    """The last fenced block; one that is left open goes to the end, as where an answer was cut off.

    Where one fence has no other, and what stands before the first defines a function asked for, that was the block.
    """
    before, *after = _ANY_FENCE.split(text)
    if len(after) % 2 and _defines(before, functions):
        return before.lstrip("\n")
    blocks = _FENCE.findall(text) or _OPEN_FENCE.findall(text)
    return str(blocks[-1]) if blocks else None


def _defines(text: str, functions: Sequence[str]) -> bool:
    names = "|".join(map(re.escape, functions))
    return bool(names) and re.search(rf"^(?:def (?:{names})\b|(?:{names}) *=)", text, re.MULTILINE) is not None
