"""From the turns so far to the messages of a prompt, by a named memory style.

| style | the prompt holds |
|---|---|
| `full_history` | every observation and action so far |
| `window(k)` | the instruction, the last k turns, and the current observation |
| `last_observation` | the instruction and the current observation |

Under `full_history` the prompt of turn t+1 extends that of turn t plus its action message by message, so an
engine keeps its cache and a trainer packs an episode into one sequence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sparring.errors import InvalidConfig
from sparring.types import Message, Observation, Turn

STYLES = ("full_history", "window(k)", "last_observation")


def history_length(memory: str) -> int | None:
    """How many past turns the style `memory` shows; None for all of them.

    Raises:
        InvalidConfig: no such style.
    """
    if memory == "full_history":
        return None
    if memory == "last_observation":
        return 0
    match = re.fullmatch(r"window\((\d+)\)", memory)
    if match and int(match[1]) > 0:
        return int(match[1])
    raise InvalidConfig(f'no memory style "{memory}". Expected one of: {", ".join(STYLES)} (k at least 1)')


def extends(memory: str) -> bool:
    """Whether each prompt under `memory` extends the one before it."""
    return history_length(memory) is None


def build(
    turns: Sequence[Turn],
    observation: Observation,
    *,
    memory: str = "full_history",
    instruction: str = "",
    system: str | None = None,
) -> tuple[Message, ...]:
    """Write the messages of a prompt.

    Args:
        turns: the turns so far. observation: what the policy sees now.
        memory: a style of this module's table.
        instruction: put in front of the first observation shown, unless that observation says it already.
        system: a system message to open with, or None.
    Returns:
        Messages, the current observation last. Assistant messages carry the actions as sampled.
    """
    shown = history_length(memory)
    recent = turns if shown is None else turns[len(turns) - shown :] if shown else ()
    messages = [Message("system", system)] if system else []
    for turn in recent:
        messages.append(Message("user", turn.observation.text, image=turn.observation.image))
        messages.append(Message("assistant", turn.action.text, turn.action))
    messages.append(Message("user", observation.text, image=observation.image))
    first = 1 if system else 0
    opening = messages[first].content
    if instruction and instruction not in opening:
        messages[first] = Message("user", f"{instruction}\n{opening}", image=messages[first].image)
    return tuple(messages)
