"""Pictures of an agent at work: what it saw, with what it did marked on it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparring.envs.gui.actions import parse
from sparring.envs.gui.geometry import to_pixel
from sparring.errors import InvalidConfig, InvalidData, need
from sparring.runs import write_atomic
from sparring.types import Observation

_MARK = (255, 0, 200)
_GAP = 6


def marked(observation: Observation, action: str, *, scale: int = 1) -> bytes:
    """The picture of an observation as PNG, a cross where the action points and a line to where it drags.

    Args:
        scale: how many times larger than seen.
    Raises:
        InvalidConfig: the observation has no picture.
    """
    if observation.image is None:
        raise InvalidConfig("this observation has no picture: take one of an environment that draws its screens")
    pillow, drawing = need("PIL.Image", "gui"), need("PIL.ImageDraw", "gui")
    with pillow.open(io.BytesIO(observation.image.png)) as found:
        picture = found.convert("RGB").resize((found.width * scale, found.height * scale), pillow.Resampling.NEAREST)
    pen = drawing.Draw(picture)
    try:
        done = parse(action)
    except InvalidData:
        return _png(picture)
    places = [to_pixel(point, picture.size) for point in (done.point, done.to) if point is not None]
    if len(places) == 2:
        pen.line((*places[0], *places[1]), fill=_MARK, width=2)
    for x, y in places:
        pen.line((x - 7, y, x + 7, y), fill=_MARK, width=2)
        pen.line((x, y - 7, x, y + 7), fill=_MARK, width=2)
    return _png(picture)


def write_strip(pictures: Sequence[bytes], path: Path) -> Path:
    """Put pictures side by side into one file, atomically."""
    pillow = need("PIL.Image", "gui")
    opened = [pillow.open(io.BytesIO(one)) for one in pictures]
    width = sum(one.width + _GAP for one in opened) - _GAP
    strip = pillow.new("RGB", (max(width, 1), max((one.height for one in opened), default=1)), (90, 90, 90))
    at = 0
    for one in opened:
        strip.paste(one, (at, 0))
        at += one.width + _GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, _png(strip))
    return path


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
