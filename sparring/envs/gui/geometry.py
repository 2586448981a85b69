"""Points and boxes on a screen, as shares of its width and height, and how they are written elsewhere.

    point = from_pixel((410, 96), (640, 480))   # the middle of that pixel: (0.6414…, 0.2010…)
    to_thousandths(point)                        # (641, 201), as models are asked to write it
    to_pixel(point, (1280, 960))                 # the same place on a larger copy of the screen

A point is stored as shares alone, so that it means the same on a screenshot of any size: the one that was taken, and
the one that a model was shown after its processor had resized it (`smart_resize`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparring.errors import InvalidConfig, InvalidData

Point = tuple[float, float]
Size = tuple[int, int]

THOUSAND = 1000
# What a product of two shares may lose: 0.29 * 100 is 28.999999999999996, and the pixel is 29.
_ROUNDING = 1e-9
_LAST = math.nextafter(1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, as shares of the screen's width and height; `left < right` and `top < bottom`."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        sides = (self.left, self.top, self.right, self.bottom)
        if not all(map(math.isfinite, sides)) or self.left >= self.right or self.top >= self.bottom:
            raise InvalidData(f"a box must have left < right and top < bottom, got {sides}")

    @classmethod
    def from_pixels(cls, left: float, top: float, right: float, bottom: float, size: Size) -> Box:
        """The box between pixel edges, on a screen of that width and height."""
        width, height = size
        return cls(left / width, top / height, right / width, bottom / height)

    @property
    def centre(self) -> Point:
        return ((self.left + self.right) / 2, (self.top + self.bottom) / 2)

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)

    def contains(self, point: Point) -> bool:
        """Whether a point lies in the box, its left and upper edge included.

        As for `to_pixel`, a point on the screen's right or lower edge belongs to the pixels before it.
        """
        x, y = min(point[0], _LAST), min(point[1], _LAST)
        return self.left <= x < self.right and self.top <= y < self.bottom

    def iou(self, other: Box) -> float:
        """Area of the intersection over area of the union, within 0 and 1."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        shared = max(width, 0.0) * max(height, 0.0)
        return shared / (self.area + other.area - shared)


def to_pixel(point: Point, size: Size) -> tuple[int, int]:
    """The pixel that a point lies in; a point on the right or lower edge belongs to the last pixel."""
    return tuple(min(int(share * side + _ROUNDING), side - 1) for share, side in zip(point, size, strict=True))  # type: ignore[return-value]


def from_pixel(pixel: tuple[float, float], size: Size) -> Point:
    """The middle of a pixel.

    Raises:
        InvalidData: it lies outside the screen.
    """
    if not all(0 <= at < side for at, side in zip(pixel, size, strict=True)):
        raise InvalidData(f"the pixel {pixel} lies outside a screen of {size[0]} × {size[1]}")
    return ((pixel[0] + 0.5) / size[0], (pixel[1] + 0.5) / size[1])


def to_thousandths(point: Point) -> tuple[int, int]:
    """The point in thousandths of the screen's sides, 0 to 1000, rounded."""
    return round(point[0] * THOUSAND), round(point[1] * THOUSAND)


def from_thousandths(point: tuple[float, float]) -> Point:
    """The inverse of `to_thousandths`, up to its rounding.

    Raises:
        InvalidData: a coordinate outside 0 to 1000.
    """
    if not all(0 <= at <= THOUSAND for at in point):
        raise InvalidData(f"coordinates are thousandths of the screen, 0 to {THOUSAND}, got {list(point)}")
    return point[0] / THOUSAND, point[1] / THOUSAND


def smart_resize(
    size: Size, *, factor: int = 28, least_pixels: int = 56 * 56, most_pixels: int = 14 * 14 * 4 * 1280
) -> Size:
    """The size in which Qwen's vision models see a picture: sides that `factor` divides, and a bounded area.

    Args:
        size: width and height of the picture. factor: patch size times merge size.
        least_pixels, most_pixels: bounds of the area, before rounding to whole multiples.
    Raises:
        InvalidConfig: a side of no pixels, or one more than 200 times the other, which those models refuse.
    Source: Qwen2-VL, arXiv:2409.12191, naive dynamic resolution.
    """
    width, height = size
    if min(size) < 1 or max(size) / min(size) > 200:
        raise InvalidConfig(f"a picture must have sides of at least 1 pixel in a ratio of at most 200, got {size}")
    columns, rows = round(width / factor) * factor, round(height / factor) * factor
    if columns * rows > most_pixels:
        shrink = math.sqrt(width * height / most_pixels)
        columns = max(factor, math.floor(width / shrink / factor) * factor)
        rows = max(factor, math.floor(height / shrink / factor) * factor)
    elif columns * rows < least_pixels:
        grow = math.sqrt(least_pixels / (width * height))
        columns, rows = math.ceil(width * grow / factor) * factor, math.ceil(height * grow / factor) * factor
    return columns, rows
