"""Rows of screenshot data sets, in the styles that are about, as tasks of one kind.

| style | recognised by | right answer |
|---|---|---|
| sparring | `image`, `action` (an object of `envs.gui.actions`), [`box`] | the action, a click anywhere in `box` |
| ScreenSpot | `img_filename`, `bbox` (x, y, width, height in pixels) | a click in the box |
| GUI-R1, AndroidControl | `image`, `gt_action`, `gt_bbox` (2 or 4 pixels), `gt_input_text` | that action |
| GUI-Odyssey | `image`, `action` (a word), `info` (thousandths, a text or a key) | that action |

Every row has an `instruction`. Sources: arXiv:2401.10935, 2504.10458, 2406.03679, 2406.08451. Boxes of numbers from 0
to 1 are taken as shares of the screen. Rows are untrusted: what does not fit raises `InvalidData`, which names the row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparring.envs.gui.actions import DIRECTIONS, NAMES_ELSEWHERE, POINTED, GuiAction, Kind, from_fields
from sparring.envs.gui.geometry import Box, Point, Size, from_thousandths
from sparring.envs.gui.rewards import NO_TEXT, token_f1
from sparring.errors import InvalidData, need

NEAR = 0.14  # of the screen, as in AndroidControl's evaluation (arXiv:2406.03679)
LONGEST_INSTRUCTION = 4_000
_MOST_ROWS = 1_000_000
_TEXTUAL = (Kind.TYPE, Kind.SELECT, Kind.OPEN_APP, Kind.ANSWER)
_ODYSSEY_KEYS = {"KEY_HOME": Kind.HOME, "KEY_BACK": Kind.BACK, "KEY_APPSELECT": Kind.RECENTS}


@dataclass(frozen=True, slots=True)
class Row:
    """One step of a data set.

    Attributes:
        instruction: what is asked for. picture: the screenshot's path in the folder, or the bytes of its file.
        right: the right action. places: its box (four numbers) or point (two), where it has one; in pixels of the
            screenshot where `in_pixels`, else in shares.
    """

    instruction: str
    picture: str | bytes
    right: GuiAction
    places: tuple[float, ...] = ()
    in_pixels: bool = False

    def sized(self, size: Size) -> Row:
        """The same with places in shares, now that the screenshot's size is known."""
        if not self.in_pixels:
            return self
        width, height = size
        scale = (width, height, width, height)
        places = tuple(at / side for at, side in zip(self.places, scale, strict=False))
        return replace(self, places=places, in_pixels=False)

    @property
    def box(self) -> Box | None:
        """Where a click must lie, if that is a box."""
        return Box(*self.places) if len(self.places) == 4 else None

    @property
    def answer(self) -> GuiAction:
        """The right action, at the middle of its box."""
        if self.right.kind not in POINTED or not self.places:
            return self.right
        point: Any = self.box.centre if self.box else self.places
        return replace(self.right, point=(min(max(point[0], 0.0), 1.0), min(max(point[1], 0.0), 1.0)))

    def accepts(self, action: GuiAction) -> bool:
        """Whether an action is right: its kind, and a click by its place, a text by half its words, a scroll by its
        direction, pressed keys by their names."""
        right = self.right
        if action.kind is not right.kind:
            return False
        if right.kind in POINTED:
            return action.point is not None and self._hit(action.point)
        if right.kind in _TEXTUAL:
            return token_f1(action.text, right.text) >= 0.5
        return action.direction == right.direction and action.keys == right.keys

    def _hit(self, point: Point) -> bool:
        if len(self.places) == 2:
            return math.dist(point, self.places) <= NEAR
        return self.box is None or self.box.contains(point)


def read_rows(path: Path) -> list[Row]:
    """The rows of a `.jsonl`, `.json` or `.parquet` file.

    Raises:
        InvalidData: a row that is none of the styles; the message names it.
        MissingExtra: pyarrow is not installed, and the file is a Parquet one.
    """
    found = []
    for number, plain in enumerate(_plain_rows(path), start=1):
        if number > _MOST_ROWS:
            raise InvalidData(f"{path} has more than {_MOST_ROWS:,} rows")
        try:
            found.append(row_of(plain))
        except (InvalidData, TypeError, ValueError, KeyError, IndexError) as error:
            raise InvalidData(f"{path}, row {number}: {error}") from error
    return found


def _plain_rows(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        for batch in need("pyarrow.parquet", "gui").ParquetFile(path).iter_batches(batch_size=256):
            yield from batch.to_pylist()
        return
    text = path.read_text()
    try:
        if path.suffix == ".json":
            whole = json.loads(text)
            yield from whole if isinstance(whole, list) else [whole]
        else:
            yield from (json.loads(line) for line in text.splitlines() if line.strip())
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidData(f"{path} is no JSON: {error}") from error


def row_of(plain: Any) -> Row:
    """The task that a decoded row stands for.

    Raises:
        InvalidData: it is none of the styles.
    """
    if not isinstance(plain, Mapping):
        raise InvalidData(f"a row is an object, got {type(plain).__name__}")
    instruction = plain.get("instruction")
    if not isinstance(instruction, str) or not 0 < len(instruction.strip()) <= LONGEST_INSTRUCTION:
        raise InvalidData(f'"instruction" must be a text of 1 to {LONGEST_INSTRUCTION} characters')
    if "img_filename" in plain:
        left, top, width, height = _numbers(plain["bbox"], 4)
        places = (left, top, left + width, top + height)
        return Row(instruction, _picture(plain["img_filename"]), GuiAction(Kind.CLICK), places, _are_pixels(places))
    if "gt_action" in plain:
        return _gui_r1(instruction, plain)
    if isinstance(plain.get("action"), str):
        return _odyssey(instruction, plain)
    right = from_fields(plain.get("action"))
    box = tuple(at / 1000 for at in _numbers(plain["box"], 4)) if "box" in plain else right.point or ()
    return Row(instruction, _picture(plain.get("image")), right, box)


def _gui_r1(instruction: str, plain: Mapping[str, Any]) -> Row:
    kind = _kind(plain["gt_action"])
    said = str(plain.get("gt_input_text") or "")
    text = "" if said == NO_TEXT else said
    places = tuple(_numbers(plain["gt_bbox"])) if kind in POINTED else ()
    if kind is Kind.SCROLL:
        right = GuiAction(kind, direction=_direction(text))
    else:
        right = GuiAction(kind, text=text)
    return Row(instruction, _picture(plain.get("image")), right, places, bool(places) and _are_pixels(places))


def _odyssey(instruction: str, plain: Mapping[str, Any]) -> Row:
    picture, info, kind = _picture(plain.get("image")), plain.get("info"), _kind(plain["action"])
    if isinstance(info, str) and info in _ODYSSEY_KEYS:
        return Row(instruction, picture, GuiAction(_ODYSSEY_KEYS[info]))
    if kind in POINTED:
        first: Any = info[0] if isinstance(info, list) and info and isinstance(info[0], list) else info
        x, y = _numbers(first, 2)
        return Row(instruction, picture, GuiAction(kind), from_thousandths((x, y)))
    if kind in (Kind.SCROLL, Kind.DRAG):
        if isinstance(info, str):
            return Row(instruction, picture, GuiAction(Kind.SCROLL, direction=_direction(info)))
        points: Any = info
        (x1, y1), (x2, y2) = (_numbers(point, 2) for point in points)
        return Row(instruction, picture, GuiAction(Kind.SCROLL, direction=_swiped(x2 - x1, y2 - y1)))
    return Row(instruction, picture, GuiAction(kind, text=info if isinstance(info, str) else ""))


def _swiped(right: float, down: float) -> Any:
    """Where new content comes from when a finger moves that way: the opposite side."""
    if abs(right) > abs(down):
        return "left" if right > 0 else "right"
    return "up" if down > 0 else "down"


def _kind(name: Any) -> Kind:
    plain = str(name).lower()
    if plain in set(Kind):
        return Kind(plain)
    if plain in NAMES_ELSEWHERE:
        return NAMES_ELSEWHERE[plain]
    raise InvalidData(f'no action is called "{str(name)[:40]}"')


def _direction(text: str) -> Any:
    if text.lower() not in DIRECTIONS:
        raise InvalidData(f"a scroll goes {', '.join(DIRECTIONS)}; got {text[:40]!r}")
    return text.lower()


def _numbers(found: Any, count: int | None = None) -> list[float]:
    if not isinstance(found, (list, tuple)) or (len(found) not in (2, 4) if count is None else len(found) != count):
        raise InvalidData(f"expected {count or '2 or 4'} numbers, got {str(found)[:60]}")
    numbers = [float(one) for one in found]
    if not all(map(math.isfinite, numbers)):
        raise InvalidData(f"expected finite numbers, got {str(found)[:60]}")
    return numbers


def _are_pixels(places: tuple[float, ...]) -> bool:
    return max(places) > 1


def _picture(found: Any) -> str | bytes:
    if isinstance(found, Mapping):
        found = found.get("bytes") or found.get("path")
    if not isinstance(found, (str, bytes)) or not found:
        raise InvalidData("a row needs its screenshot: a path in the folder, or the bytes of its file")
    return found
