"""One action schema for every graphical interface: a JSON object, parsed strictly and never evaluated.

    parse('{"action": "click", "point": [641, 201]}')   # points in thousandths of the screen's width and height
    parse('{"action": "type", "text": "pasta"}').text   # "pasta"
    write(GuiAction(Kind.SCROLL, direction="down"))     # '{"action": "scroll", "direction": "down"}'

| action | fields, optional ones in brackets | meaning |
|---|---|---|
| click, double_click, right_click, long_press | point | with a pointer or a finger |
| drag | point, to | press at `point`, move, let go at `to` (a swipe is one) |
| scroll | direction, [point] | up, down, left or right: where new content comes from |
| type | text, [point] | keys of a text, after a click at `point` where there is one |
| press | keys | one key, or several held together: ["ctrl", "s"] |
| select | text, [point] | an option of a list or drop-down |
| open_app | app | by its name |
| back, home, recents, enter, close, rotate, wait | | of the system; wait does nothing for a moment |
| answer | text | say an answer, which ends the task |
| complete, impossible | | end the task as done, or as one that can't be done |

The space unites those of GUI-R1 (arXiv:2504.10458), AndroidControl and desktop agents; `NAMES_ELSEWHERE` maps theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, get_args

from sparring.envs.gui.geometry import THOUSAND, Point, from_thousandths, to_thousandths
from sparring.errors import InvalidData

Direction = Literal["up", "down", "left", "right"]
DIRECTIONS: tuple[str, ...] = get_args(Direction)

LONGEST_ACTION = 4_000
LONGEST_TEXT = 1_000
MOST_KEYS = 4


class Kind(StrEnum):
    """What an action does."""

    CLICK = "click"
    DOUBLE_CLICK = "double_click"
    RIGHT_CLICK = "right_click"
    LONG_PRESS = "long_press"
    DRAG = "drag"
    SCROLL = "scroll"
    TYPE = "type"
    PRESS = "press"
    SELECT = "select"
    OPEN_APP = "open_app"
    BACK = "back"
    HOME = "home"
    RECENTS = "recents"
    ENTER = "enter"
    CLOSE = "close"
    ROTATE = "rotate"
    WAIT = "wait"
    ANSWER = "answer"
    COMPLETE = "complete"
    IMPOSSIBLE = "impossible"


POINTED = (Kind.CLICK, Kind.DOUBLE_CLICK, Kind.RIGHT_CLICK, Kind.LONG_PRESS)
ENDINGS = (Kind.ANSWER, Kind.COMPLETE, Kind.IMPOSSIBLE)

# Required fields first, then the optional ones.
FIELDS: Mapping[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **{kind: ((), ()) for kind in Kind},
    **{kind: (("point",), ()) for kind in POINTED},
    Kind.DRAG: (("point", "to"), ()),
    Kind.SCROLL: (("direction",), ("point",)),
    Kind.TYPE: (("text",), ("point",)),
    Kind.PRESS: (("keys",), ()),
    Kind.SELECT: (("text",), ("point",)),
    Kind.OPEN_APP: (("app",), ()),
    Kind.ANSWER: (("text",), ()),
}

# What data sets and other agents call the same actions.
NAMES_ELSEWHERE: Mapping[str, Kind] = {
    "tap": Kind.CLICK,
    "left_click": Kind.CLICK,
    "long_tap": Kind.LONG_PRESS,
    "longpress": Kind.LONG_PRESS,
    "swipe": Kind.DRAG,
    "input": Kind.TYPE,
    "input_text": Kind.TYPE,
    "text": Kind.TYPE,
    "key": Kind.PRESS,
    "hotkey": Kind.PRESS,
    "press_back": Kind.BACK,
    "navigate_back": Kind.BACK,
    "press_home": Kind.HOME,
    "navigate_home": Kind.HOME,
    "press_appselect": Kind.RECENTS,
    "press_recent": Kind.RECENTS,
    "press_enter": Kind.ENTER,
    "keyboard_enter": Kind.ENTER,
    "close/delete": Kind.CLOSE,
    "status": Kind.COMPLETE,
    "finished": Kind.COMPLETE,
    "infeasible": Kind.IMPOSSIBLE,
    "incomplete": Kind.IMPOSSIBLE,
}


# What a live screen says of them to agents.
HOW = """answer with one JSON object, points in thousandths of width and height:
{"action": "click", "point": [500, 250]} (also right_click, double_click, long_press)
{"action": "drag", "point": [100, 250], "to": [500, 250]}
{"action": "type", "text": "hello", "point": [500, 250]} (the point is clicked first; it can be left out)
{"action": "press", "keys": ["ctrl", "s"]}
{"action": "scroll", "direction": "down", "point": [500, 250]}
{"action": "wait"}, {"action": "complete"}, {"action": "impossible"}"""


@dataclass(frozen=True, slots=True)
class GuiAction:
    """One action; fields that its kind does not have are None or empty.

    Attributes:
        point, to: places on the screen, as shares of its width and height.
        text: of type, select and answer, and the app's name of open_app.
        direction: of scroll. keys: of press, the one that is held longest first.
    """

    kind: Kind
    point: Point | None = None
    to: Point | None = None
    text: str = ""
    direction: Direction | None = None
    keys: tuple[str, ...] = ()


def parse(text: str) -> GuiAction:
    """Read an action.

    Raises:
        InvalidData: this is no JSON object, or none of this module's table; the message says what was expected.
    """
    if len(text) > LONGEST_ACTION:
        raise InvalidData(f"an action has at most {LONGEST_ACTION} characters, got {len(text)}")
    try:
        found = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_number)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidData(f'an action is a JSON object such as {{"action": "wait"}}: {error}') from error
    return from_fields(found)


def from_fields(found: Any) -> GuiAction:
    """The action of a decoded JSON object (`parse`).

    Raises:
        InvalidData: it is none of this module's table.
    """
    if not isinstance(found, dict):
        raise InvalidData(f"an action is a JSON object, got {type(found).__name__}")
    fields = dict(found)
    name = fields.pop("action", None)
    if not isinstance(name, str) or name not in set(Kind):
        raise InvalidData(f'"action" must be one of {", ".join(Kind)}; got {str(name)[:40]!r}')
    kind = Kind(name)
    required, optional = FIELDS[kind]
    for field in required:
        if field not in fields:
            raise InvalidData(f'the action {kind} needs "{field}"')
    for field in fields:
        if field not in (*required, *optional):
            raise InvalidData(
                f'the action {kind} has no "{field[:40]}"; it has: {", ".join((*required, *optional)) or "nothing"}'
            )
    return GuiAction(
        kind,
        point=_point(fields, "point"),
        to=_point(fields, "to"),
        text=_text(fields),
        direction=_direction(fields),
        keys=_keys(fields),
    )


def write(action: GuiAction) -> str:
    """The JSON of an action, as `parse` reads it: points in whole thousandths, fields in the table's order."""
    values: dict[str, Any] = {
        "point": None if action.point is None else list(to_thousandths(action.point)),
        "to": None if action.to is None else list(to_thousandths(action.to)),
        "text": action.text,
        "app": action.text,
        "direction": action.direction,
        "keys": list(action.keys),
    }
    required, optional = FIELDS[action.kind]
    fields = {name: values[name] for name in required}
    fields |= {name: values[name] for name in optional if values[name]}
    return json.dumps({"action": str(action.kind), **fields}, ensure_ascii=False)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidData("an action names each field once")
    return found


def _no_number(name: str) -> float:
    raise InvalidData(f"{name} is no coordinate")


def _point(fields: Mapping[str, Any], name: str) -> Point | None:
    found = fields.get(name)
    if name not in fields:
        return None
    if (
        not isinstance(found, list)
        or len(found) != 2
        or not all(
            isinstance(one, (int, float)) and not isinstance(one, bool) and 0 <= one <= THOUSAND for one in found
        )
    ):
        raise InvalidData(
            f'"{name}" must be two numbers from 0 to {THOUSAND}, such as [500, 250]; got {str(found)[:40]}'
        )
    return from_thousandths((found[0], found[1]))


def _text(fields: Mapping[str, Any]) -> str:
    for name in ("text", "app"):
        if name in fields:
            found = fields[name]
            if not isinstance(found, str) or len(found) > LONGEST_TEXT:
                raise InvalidData(f'"{name}" must be a string of at most {LONGEST_TEXT} characters')
            return found
    return ""


def _direction(fields: Mapping[str, Any]) -> Direction | None:
    found = fields.get("direction")
    if "direction" not in fields:
        return None
    if found not in DIRECTIONS:
        raise InvalidData(f'"direction" must be one of {", ".join(DIRECTIONS)}; got {str(found)[:40]!r}')
    return found  # type: ignore[no-any-return]


def _keys(fields: Mapping[str, Any]) -> tuple[str, ...]:
    found = fields.get("keys", [])
    if (
        not isinstance(found, list)
        or ("keys" in fields and not found)
        or len(found) > MOST_KEYS
        or not all(isinstance(one, str) and 0 < len(one) <= 20 for one in found)
    ):
        raise InvalidData(f'"keys" must be 1 to {MOST_KEYS} names of keys, such as ["ctrl", "s"]')
    return tuple(found)
