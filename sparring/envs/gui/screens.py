"""Screens drawn from a seed, with the boxes of everything on them: grounding tasks without a data set.

    screen = draw(arrange(np.random.default_rng(7), Style(size=(320, 240), widgets=6)))
    screen.image, screen.target.box, screen.instruction   # "click the green circle"

What is on a screen is arranged first (`Screen`, plain data, from which the text of the observation and the split of a
task are made), and drawn by Pillow afterwards.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sparring.envs.gui.geometry import Box, Size
from sparring.errors import InvalidConfig, need
from sparring.types import Image

WidgetKind = Literal["button", "field", "checkbox", "label", "icon"]
KINDS: tuple[WidgetKind, ...] = ("button", "field", "checkbox", "label", "icon")
COLOURS = {
    "red": (214, 40, 40),
    "green": (42, 157, 73),
    "blue": (38, 84, 214),
    "yellow": (240, 200, 30),
    "purple": (128, 50, 170),
    "orange": (240, 130, 20),
    "black": (25, 25, 25),
    "cyan": (40, 190, 210),
}
SHAPES = ("circle", "square", "triangle", "cross")
WORDS = (
    *("Save", "Open", "Send", "Delete", "Search", "Name", "Mail", "Print", "Help", "Next", "Back", "Login"),
    *("Copy", "Paste", "Undo", "City", "Date", "Total", "Share", "Reply", "Close", "Edit", "Start", "Stop"),
)
_PAPER = (246, 246, 246)


@dataclass(frozen=True, slots=True)
class Widget:
    """One thing on a screen: `word` is what is written on it (or the shape of an icon); edges in pixels."""

    kind: WidgetKind
    word: str
    colour: str
    left: int
    top: int
    right: int
    bottom: int

    @property
    def name(self) -> str:
        """What an instruction calls it."""
        if self.kind == "icon":
            return f"{self.colour} {self.word}"
        return f'{self.kind} "{self.word}"'


@dataclass(frozen=True, slots=True)
class Style:
    """What screens are like.

    Attributes:
        size: width and height in pixels. widgets: how many there are.
        kinds: of what. colours: how many of `COLOURS` are used. side: of an icon, in pixels.
    """

    size: Size = (320, 240)
    widgets: int = 6
    kinds: tuple[WidgetKind, ...] = KINDS
    colours: int = len(COLOURS)
    side: int = 28

    def __post_init__(self) -> None:
        if not self.kinds or any(kind not in KINDS for kind in self.kinds):
            raise InvalidConfig(f"kinds must be of {', '.join(KINDS)}, got {', '.join(self.kinds) or 'none'}")
        if not 2 <= self.colours <= len(COLOURS) or self.widgets < 1 or self.side < 6:
            raise InvalidConfig(
                f"colours must be 2 to {len(COLOURS)}, widgets at least 1 and side at least 6, got {self.colours}, "
                f"{self.widgets} and {self.side}"
            )
        names = len(WORDS) if self.kinds != ("icon",) else self.colours
        if self.widgets > names:
            raise InvalidConfig(f"with these kinds and colours there are only {names} names for {self.widgets} widgets")


@dataclass(frozen=True, slots=True)
class Screen:
    """What is on a screen, and which of it is asked for. No two widgets overlap or share a name."""

    size: Size
    widgets: tuple[Widget, ...]
    asked: int

    @property
    def target(self) -> Widget:
        return self.widgets[self.asked]

    @property
    def instruction(self) -> str:
        return f"click the {self.target.name}"

    def box(self, widget: Widget) -> Box:
        """Where a widget is, as shares of the screen."""
        return Box.from_pixels(widget.left, widget.top, widget.right, widget.bottom, self.size)

    def describe(self) -> str:
        """All of it in words, for those who don't see: one widget a line, with its box in thousandths."""
        lines = []
        for widget in self.widgets:
            box = self.box(widget)
            edges = (round(1000 * edge) for edge in (box.left, box.top, box.right, box.bottom))
            lines.append(f"{widget.name} at {' '.join(map(str, edges))}")
        return "\n".join(lines)


def arrange(rng: np.random.Generator, style: Style) -> Screen:
    """Place widgets at random.

    Raises:
        InvalidConfig: they don't fit.
    """
    for _ in range(200):
        placed: list[Widget] = []
        words = [str(word) for word in rng.permutation(WORDS)]
        colours = [str(colour) for colour in rng.permutation(list(COLOURS)[: style.colours])]
        for number in range(style.widgets):
            widget = _place(rng, style, placed, words[number % len(words)], colours[number % len(colours)])
            if widget is None:
                break
            placed.append(widget)
        if len(placed) == style.widgets and len({one.name for one in placed}) == style.widgets:
            return Screen(style.size, tuple(placed), int(rng.integers(style.widgets)))
    raise InvalidConfig(f"{style.widgets} widgets don't fit on a screen of {style.size[0]} × {style.size[1]}")


def _place(rng: np.random.Generator, style: Style, placed: list[Widget], word: str, colour: str) -> Widget | None:
    kind: WidgetKind = style.kinds[int(rng.integers(len(style.kinds)))]
    if kind == "icon":
        word, width, height = SHAPES[int(rng.integers(len(SHAPES)))], style.side, style.side
    else:
        width = {"field": 150, "checkbox": 26 + 8 * len(word)}.get(kind, 16 + 8 * len(word))
        height = 24
    columns, rows = style.size
    if width > columns or height > rows:
        return None
    for _ in range(40):
        left, top = int(rng.integers(columns - width + 1)), int(rng.integers(rows - height + 1))
        widget = Widget(kind, word, colour, left, top, left + width, top + height)
        if all(_apart(widget, other) for other in placed):
            return widget
    return None


def _apart(one: Widget, other: Widget) -> bool:
    return one.right < other.left or other.right < one.left or one.bottom < other.top or other.bottom < one.top


def draw(screen: Screen) -> Image:
    """The picture of a screen.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    pillow, drawing = need("PIL.Image", "gui"), need("PIL.ImageDraw", "gui")
    picture = pillow.new("RGB", screen.size, _PAPER)
    pen = drawing.Draw(picture)
    for widget in screen.widgets:
        _draw_widget(pen, widget)
    return png_of(picture)


def png_of(picture: Any) -> Image:
    """A Pillow picture as an `Image`."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return Image(buffer.getvalue())


def _draw_widget(pen: Any, widget: Widget) -> None:
    colour = COLOURS[widget.colour]
    left, top, right, bottom = widget.left, widget.top, widget.right - 1, widget.bottom - 1
    if widget.kind == "icon":
        _draw_shape(pen, widget.word, colour, left, top, right, bottom)
        return
    if widget.kind == "button":
        pen.rounded_rectangle((left, top, right, bottom), 4, fill=colour)
        ink = (20, 20, 20) if sum(colour) > 380 else (255, 255, 255)
        pen.text((left + 8, top + 6), widget.word, fill=ink)
    elif widget.kind == "field":
        pen.rectangle((left, top, right, bottom), fill=(255, 255, 255), outline=colour)
        pen.text((left + 6, top + 6), widget.word, fill=(150, 150, 150))
    elif widget.kind == "checkbox":
        pen.rectangle((left + 3, top + 5, left + 16, top + 18), fill=(255, 255, 255), outline=colour, width=2)
        pen.text((left + 22, top + 6), widget.word, fill=(20, 20, 20))
    else:
        pen.text((left + 8, top + 6), widget.word, fill=colour)


def _draw_shape(
    pen: Any, shape: str, colour: tuple[int, int, int], left: int, top: int, right: int, bottom: int
) -> None:
    middle, third = (left + right) // 2, (right - left) // 3
    if shape == "circle":
        pen.ellipse((left, top, right, bottom), fill=colour)
    elif shape == "square":
        pen.rectangle((left, top, right, bottom), fill=colour)
    elif shape == "triangle":
        pen.polygon(((middle, top), (right, bottom), (left, bottom)), fill=colour)
    else:
        pen.rectangle((left + third, top, right - third, bottom), fill=colour)
        pen.rectangle((left, top + third, right, bottom - third), fill=colour)
