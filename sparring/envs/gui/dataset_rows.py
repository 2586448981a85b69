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
from sparring.errors import InvalidData, SparringError, need

NEAR = 0.14  # of the screen, as in AndroidControl's evaluation (arXiv:2406.03679)
LONGEST_INSTRUCTION = 4_000
_MOST_ROWS = 1_000_000
_LARGEST_SHARE = 1.01  # shares are written rounded, so that a box at an edge may end a little beyond it
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
        """The same with places in shares, now that the screenshot's size is known.

        Raises:
            InvalidData: the place is no box, or lies outside the screenshot, where nobody can click.
        """
        row = self
        if self.in_pixels:
            scale = (*size, *size)
            places = tuple(at / side for at, side in zip(self.places, scale, strict=False))
            row = replace(self, places=places, in_pixels=False)
        if not row.accepts(row.answer):
            raise InvalidData(f"its place {self.places} lies outside the screenshot of {size[0]} × {size[1]}")
        return row

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
        """Whether an action is right: its kind, and a click by its place, a drag by both ends, a text by half its
        words, a scroll by its direction, pressed keys by their names."""
        right = self.right
        if action.kind is not right.kind:
            return False
        if right.kind in POINTED:
            return action.point is not None and self._hit(action.point)
        if right.kind in _TEXTUAL:
            return token_f1(action.text, right.text) >= 0.5
        if right.kind is Kind.DRAG:
            return _near(action.point, right.point) and _near(action.to, right.to)
        return action.direction == right.direction and _lower(action.keys) == _lower(right.keys)

    def _hit(self, point: Point) -> bool:
        if len(self.places) == 2:
            return _near(point, self.places)
        return self.box is None or self.box.contains(point)


def _near(point: Point | None, right: tuple[float, ...] | None) -> bool:
    return point is not None and right is not None and math.dist(point, right) <= NEAR


def _lower(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key.lower() for key in keys)


def read_rows(path: Path) -> list[Row]:
    """The rows of a `.jsonl`, `.json` or `.parquet` file.

    Raises:
        InvalidData: the file can't be read, or a row is none of the styles; the message names it.
        MissingExtra: pyarrow is not installed, and the file is a Parquet one.
    """
    found = []
    for number, plain in enumerate(_plain_rows(path), start=1):
        if number > _MOST_ROWS:
            raise InvalidData(f"{path} has more than {_MOST_ROWS:,} rows")
        try:
            found.append(row_of(plain))
        except InvalidData as error:
            raise InvalidData(f"{path}, row {number}: {error}") from error
    return found


def _plain_rows(path: Path) -> Iterator[Any]:
    try:
        if path.suffix == ".parquet":
            for batch in need("pyarrow.parquet", "gui").ParquetFile(path).iter_batches(batch_size=256):
                yield from batch.to_pylist()
            return
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            whole = _decoded(text, str(path))
            yield from whole if isinstance(whole, list) else [whole]
            return
        # Not splitlines(): JSON texts may hold U+2028 and other characters at which that splits.
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield _decoded(line, f"{path}, line {number},")
    except SparringError:
        raise
    except Exception as error:  # a broken file makes pyarrow raise a dozen kinds
        raise InvalidData(f"{path} can't be read: {error}") from error


def _decoded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"{where} is no JSON: {error}") from error


def row_of(plain: Any) -> Row:
    """The task that a decoded row stands for.

    Raises:
        InvalidData: it is none of the styles.
    """
    try:
        return _row_of(plain)
    except InvalidData:
        raise
    except KeyError as error:
        raise InvalidData(f"it has no column {error}") from error
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise InvalidData(f"a value is not what its column holds: {error}") from error


def _row_of(plain: Any) -> Row:
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
    said = plain["action"]
    if isinstance(said, Mapping):  # in a Parquet file, None is what another row's action has and this one does not
        said = {name: value for name, value in said.items() if value is not None}
    right, edges = from_fields(said), plain.get("box")
    box = right.point or () if edges is None else tuple(at / 1000 for at in _numbers(edges, 4))
    return Row(instruction, _picture(plain.get("image")), right, box)


def _gui_r1(instruction: str, plain: Mapping[str, Any]) -> Row:
    kind = _kind(plain["gt_action"])
    said = str(plain.get("gt_input_text") or "")
    text = "" if said == NO_TEXT else said
    places = tuple(_numbers(plain["gt_bbox"])) if kind in POINTED else ()
    right = GuiAction(kind) if kind in POINTED else _unpointed(kind, text)
    return Row(instruction, _picture(plain.get("image")), right, places, bool(places) and _are_pixels(places))


def _unpointed(kind: Kind, text: str) -> GuiAction:
    """An action that is all in a text: what to type, the direction of a scroll, or keys such as `ctrl+s`."""
    if kind is Kind.DRAG:
        raise InvalidData("a drag needs the points at which it starts and ends, which this style does not give")
    if kind is Kind.SCROLL:
        return GuiAction(kind, direction=_direction(text))
    if kind is Kind.PRESS:
        return from_fields({"action": "press", "keys": [one.strip() for one in text.split("+")]})
    return GuiAction(kind, text=text)


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
            return Row(instruction, picture, _unpointed(Kind.SCROLL, info))
        points: Any = info
        (x1, y1), (x2, y2) = (_numbers(point, 2) for point in points)
        return Row(instruction, picture, GuiAction(Kind.SCROLL, direction=_swiped(x2 - x1, y2 - y1)))
    return Row(instruction, picture, _unpointed(kind, info if isinstance(info, str) else ""))


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
    return max(places) > _LARGEST_SHARE


def _picture(found: Any) -> str | bytes:
    if isinstance(found, Mapping):
        found = found.get("bytes") or found.get("path")
    if not isinstance(found, (str, bytes)) or not found:
        raise InvalidData("a row needs its screenshot: a path in the folder, or the bytes of its file")
    return found
