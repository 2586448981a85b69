"""Rewards for answers about screens: GUI-R1's published rule, the same without its flaws, and rewards for boxes.

    answer = "[{'action': 'click', 'point': [12, 30], 'input_text': 'no input text'}]"
    guir1_compat(f"<think>…</think><answer>{answer}</answer>", Truth("click", (10, 20, 40, 60))).total   # 1.0

`guir1_compat` gives what the published function gives (GUI-R1, arXiv:2504.10458: 0.8 times accuracy plus 0.2 times
format), so that numbers can be compared; `guir1_strict` is what that rule says in words. Where they part:

| case | compat | strict |
|---|---|---|
| the action as double-quoted JSON | accuracy 0 | read |
| `close/delete` | never right | read |
| typing `a` where `pasta` is asked | right: one word is part of the other | wrong |
| a text with an apostrophe | cut there | whole |
| the wrong app in `open_app` | right: only the kind counts | compared |
| the same point, written as `[12.5, 30]` | not found, so [0, 0] | read |
| the first of several points of the answer | the last one counts | that of the first action |
| a click on an edge of the box | outside | inside |
| no `<think>` | the format is wrong, the action counts | all is wrong |
| a second `<answer>` | ignored | all is wrong |
| a line's end after `</answer>` | the format is wrong | read |
| no action: `[]` | the format is right | the format is wrong |
| a fourth key in an action | the format is right | the format is wrong |

Departures from the published code:
1. The model's text is never evaluated: Python literals are read by `ast.literal_eval`, JSON by `json`. Texts that only
   `eval` could read (function calls, comprehensions) get no format reward.
2. An answer of more than 10,000 characters gets 0.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparring.envs.gui.geometry import Box, Point

LONGEST_ANSWER = 10_000
ACCURACY_WEIGHT, FORMAT_WEIGHT = 0.8, 0.2
NEAR_PIXELS = 140.0
NO_TEXT = "no input text"
_TEXTUAL = ("type", "select", "scroll")
_OUTER = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)
_INNER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_ACTION = re.compile(r"'action':\s*'(\w+)'")
_TEXT = re.compile(r"'input_text':\s*'(.*?)'")
_PAIR = re.compile(r"\[(\d+),\s*(\d+)]\s*")


@dataclass(frozen=True, slots=True)
class Truth:
    """What the right answer is, in pixels of the picture that the model was shown.

    Attributes:
        action: its name, as the data set writes it.
        place: of a click: a box (left, top, right, bottom), or a point, near which a click must lie.
        text: what is typed or selected, a scroll's direction, or an app's name.
    """

    action: str
    place: tuple[float, ...] = ()
    text: str = NO_TEXT


@dataclass(frozen=True, slots=True)
class GuiReward:
    """A reward with its parts, each within 0 and 1."""

    accuracy: float
    format: float

    @property
    def total(self) -> float:
        """0.8 times accuracy plus 0.2 times format."""
        return ACCURACY_WEIGHT * self.accuracy + FORMAT_WEIGHT * self.format


def guir1_compat(answer: str, truth: Truth) -> GuiReward:
    """The published rule, flaws included (see the module's table)."""
    if len(answer) > LONGEST_ANSWER:
        return GuiReward(0.0, 0.0)
    return GuiReward(_compat_accuracy(answer, truth), _compat_format(answer))


def guir1_strict(answer: str, truth: Truth) -> GuiReward:
    """The rule as it is meant: JSON or Python literals, all fields compared, texts word for word."""
    actions = _actions_in(answer) if len(answer) <= LONGEST_ANSWER else None
    if actions is None:
        return GuiReward(0.0, 0.0)
    return GuiReward(float(_is_right(actions[0], truth)), float(all(map(_is_well_formed, actions))))


def point_in_box(point: Point | None, box: Box) -> float:
    """1 where a point lies in a box, else 0; None is no point. For grounding by points."""
    return float(point is not None and box.contains(point))


def iou(found: Box | None, box: Box, *, least: float = 0.0) -> float:
    """Intersection over union of two boxes, 0 below `least`; None is no box.

    For grounding by boxes, as in visual RFT (arXiv:2503.01785).
    """
    overlap = 0.0 if found is None else found.iou(box)
    return overlap if overlap >= least else 0.0


def token_f1(found: str, right: str) -> float:
    """F1 of the words of two texts, each counted as often as it stands there; case and brackets are of no concern."""
    words, wanted = _words(found), _words(right)
    shared = sum((words & wanted).values())
    total = sum(words.values()) + sum(wanted.values())
    return 2 * shared / total if total else 1.0


def _words(text: str) -> Counter[str]:
    return Counter(text.lower().replace("[", "").replace("]", "").split())


# The published rule


def _compat_accuracy(answer: str, truth: Truth) -> float:
    inner = _INNER.search(answer)
    content = inner[1].strip() if inner else ""
    named = _ACTION.search(content)
    action, right = (named[1] if named else "no action").lower(), truth.action.lower()
    if action != right:
        return 0.0
    if right == "click":
        return float(_compat_hit(_compat_point(content), truth.place))
    if right in _TEXTUAL:
        said = _TEXT.search(content)
        return float(_compat_f1(said[1] if said else NO_TEXT, truth.text) >= 0.5)
    return 1.0


def _compat_point(content: str) -> tuple[int, int]:
    r"""What `\{.*\[(\d+),\s*(\d+)]\s*.*\}` finds, without the cubic time that it takes over hostile answers.

    The published pattern takes the last pair of the first line that has one between braces; `.` ends at a line's end.
    """
    found = None
    for pair in _PAIR.finditer(content):
        line = content.rfind("\n", 0, pair.start()) + 1
        if found is not None and found[0] != line:
            break
        end = content.find("\n", pair.end())
        if "{" in content[line : pair.start()] and "}" in content[pair.end() : None if end < 0 else end]:
            found = line, pair
    try:
        return (0, 0) if found is None else (int(found[1][1]), int(found[1][2]))
    except ValueError:  # more digits than `int` reads
        return 0, 0


def _compat_hit(point: tuple[int, int], place: Sequence[float]) -> bool:
    x, y = point
    if len(place) == 2:
        try:
            return (x - place[0]) ** 2 + (y - place[1]) ** 2 < NEAR_PIXELS**2
        except OverflowError:  # an integer beyond all floats
            return False
    return len(place) == 4 and place[0] < x < place[2] and place[1] < y < place[3]


def _compat_f1(found: str, right: str) -> float:
    words, wanted = set(_words(found)), set(_words(right))
    if len(words) == 1 and len(wanted) == 1:
        (one,), (other,) = words, wanted
        if one in other or other in one:
            return 1.0
    shared = len(words & wanted)
    if not shared:
        return 0.0
    # Not 2 * shared / (len(words) + len(wanted)): rounded as published, some F1 of exactly 0.5 stay below that.
    precision, recall = shared / len(words), shared / len(wanted)
    return 2 * (precision * recall) / (precision + recall)


def _compat_format(answer: str) -> float:
    if not _OUTER.fullmatch(answer):
        return 0.0
    inner = _INNER.search(answer)
    assert inner is not None
    try:
        actions = ast.literal_eval(inner[1].strip())
        if not isinstance(actions, list):
            return 0.0
        return float(all(map(_compat_well_formed, actions)))
    except Exception:  # literal_eval and what is asked of its result raise a dozen kinds, each of which is a 0
        return 0.0


def _compat_well_formed(action: Any) -> bool:
    if not isinstance(action, dict) or not {"action", "point", "input_text"} <= action.keys():
        return False
    kind, point, text = action["action"], action["point"], action["input_text"]
    if not (isinstance(kind, str) and isinstance(text, str)):
        return False
    if not (isinstance(point[0], int) and isinstance(point[1], int)):
        return False
    if kind in ("type", "select", "open_app") and text == NO_TEXT:
        return False
    return kind != "scroll" or text in ("left", "right", "up", "down")


# The rule as it is meant


def _actions_in(answer: str) -> list[Any] | None:
    """The actions of an answer that has the outer form; None where there are none to read."""
    stripped = answer.strip()
    inner = _INNER.search(stripped)
    if not _OUTER.fullmatch(stripped) or inner is None or stripped.count("<answer>") != 1:
        return None
    content = inner[1].strip()
    found: Any = None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(content)
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return found if isinstance(found, list) and found else None


def _is_well_formed(action: Any) -> bool:
    if not isinstance(action, dict) or action.keys() != {"action", "point", "input_text"}:
        return False
    kind, text = action["action"], action["input_text"]
    if not (isinstance(kind, str) and isinstance(text, str)) or _numbers(action["point"]) is None:
        return False
    if kind in ("type", "select", "open_app") and text == NO_TEXT:
        return False
    return kind != "scroll" or text in ("left", "right", "up", "down")


def _numbers(found: Any) -> tuple[float, float] | None:
    if not isinstance(found, (list, tuple)) or len(found) != 2:
        return None
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in found):
        return None
    try:
        x, y = float(found[0]), float(found[1])
    except OverflowError:  # an integer beyond all floats
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def _is_right(action: Any, truth: Truth) -> bool:
    if not isinstance(action, dict) or not isinstance(action.get("action"), str):
        return False
    right = truth.action.lower()
    if action["action"].lower() != right:
        return False
    if right == "click" or (right == "long_press" and truth.place):
        point = _numbers(action.get("point"))
        return point is not None and _hits(point, truth.place)
    if right in (*_TEXTUAL, "open_app"):
        text = action.get("input_text")
        if not isinstance(text, str):
            return False
        exact = right in ("scroll", "open_app")
        return _words(text) == _words(truth.text) if exact else token_f1(text, truth.text) >= 0.5
    return True


def _hits(point: tuple[float, float], place: Sequence[float]) -> bool:
    if len(place) == 2:
        return math.dist(point, place) < NEAR_PIXELS
    return len(place) == 4 and place[0] <= point[0] <= place[2] and place[1] <= point[1] <= place[3]
