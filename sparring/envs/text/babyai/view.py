"""What the agent of a MiniGrid level sees, in words and as a small map.

The window is MiniGrid's own: seven cells by seven in front of the agent, with what walls and closed doors hide left
out. Rows count from the agent's own outwards, columns from left to right.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sparring.envs.text.babyai.levels import Level

MOST_THINGS = 7

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # by direction: east, south, west, north
_COMPASS = ("east", "south", "west", "north")
_ARROWS = (">>", "vv", "<<", "^^")
_COLOUR_LETTERS = {"red": "r", "green": "g", "blue": "b", "purple": "p", "yellow": "y", "grey": "e"}
_TYPE_LETTERS = {"key": "k", "ball": "o", "box": "b", "goal": "g", "floor": "."}


class Outside:
    """A cell beyond the edge of the grid, or one that is hidden."""

    def __init__(self, type: str) -> None:
        self.type = type


_BEYOND = Outside("wall")
HIDDEN = Outside("hidden")

Cell = Any  # a WorldObj of minigrid, an `Outside`, or None for an empty cell


def window(level: Level) -> list[list[Cell]]:
    """The cells in view, the agent's own row first; hidden ones are `HIDDEN`."""
    size: int = level.agent_view_size
    half = size // 2
    width, height, cells = level.grid.width, level.grid.height, level.grid.grid
    x, y = int(level.agent_pos[0]), int(level.agent_pos[1])
    dx, dy = _STEPS[level.agent_dir]
    rows: list[list[Cell]] = []
    for ahead in range(size):
        row = []
        for side in range(-half, half + 1):
            i, j = x + dx * ahead - dy * side, y + dy * ahead + dx * side
            row.append(cells[j * width + i] if 0 <= i < width and 0 <= j < height else _BEYOND)
        rows.append(row)
    if not level.see_through_walls:
        _hide(rows)
    return rows


def _opaque(cell: Cell) -> bool:
    return cell is not None and (cell.type == "wall" or (cell.type == "door" and not cell.is_open))


def _hide(rows: list[list[Cell]]) -> None:
    """Spread sight from the agent row by row, as MiniGrid does, and hide what it does not reach."""
    size = len(rows[0])
    seen = [[False] * size for _ in range(len(rows) + 1)]  # one row too many spares the test for the last
    seen[0][size // 2] = True
    for ahead, row in enumerate(rows):
        here, further = seen[ahead], seen[ahead + 1]
        clear = [not _opaque(cell) for cell in row]
        for at in range(size - 1):
            if here[at] and clear[at]:
                here[at + 1] = further[at + 1] = further[at] = True
        for at in range(size - 1, 0, -1):
            if here[at] and clear[at]:
                here[at - 1] = further[at - 1] = further[at] = True
        for at, visible in enumerate(here):
            if not visible:
                row[at] = HIDDEN


def in_words(level: Level) -> str:
    """The view in at most ten lines: direction and load, walls along the axes, the nearest things."""
    rows = window(level)
    lines = [_self_line(level), *_wall_lines(rows)]
    things = [
        f"{_name(cell)} {place}"
        for ahead, at, place in _nearest_first(len(rows))
        if (cell := rows[ahead][at]) is not None and cell.type not in ("wall", "hidden")
    ]
    lines += things[:MOST_THINGS]
    if len(things) > MOST_THINGS:
        lines.append(f"{len(things) - MOST_THINGS} more things further off")
    return "\n".join(lines)


def window_map(level: Level) -> str:
    """The view as a map, the agent at the bottom of it in the middle; two characters a cell."""
    rows = window(level)
    drawn = [[_code(cell) for cell in row] for row in rows]
    drawn[0][len(rows[0]) // 2] = "^^"
    return "\n".join([_self_line(level), *(" ".join(row) for row in reversed(drawn))])


def full_map(level: Level) -> str:
    """The whole grid as a map, nothing hidden; the agent is an arrow."""
    width = level.grid.width
    codes = [_code(cell) for cell in level.grid.grid]
    codes[int(level.agent_pos[1]) * width + int(level.agent_pos[0])] = _ARROWS[level.agent_dir]
    rows = (" ".join(codes[start : start + width]) for start in range(0, len(codes), width))
    return "\n".join([_self_line(level), *rows])


def _self_line(level: Level) -> str:
    carried = _name(level.carrying) if level.carrying else "nothing"
    return f"facing {_COMPASS[level.agent_dir]}, carrying {carried}"


def _wall_lines(rows: list[list[Cell]]) -> list[str]:
    """Where the view along each axis ends at a wall."""
    middle = len(rows[0]) // 2
    rays = (
        ("ahead", [row[middle] for row in rows[1:]]),
        ("left", rows[0][middle - 1 :: -1]),
        ("right", rows[0][middle + 1 :]),
    )
    found = []
    for name, ray in rays:
        for distance, cell in enumerate(ray, 1):
            if cell is not None and cell.type in ("wall", "hidden"):
                if cell.type == "wall":
                    found.append(f"{distance} {name}")
                break
    return [f"wall {', '.join(found)}"] if found else []


def _name(cell: Cell) -> str:
    state = ("open" if cell.is_open else "locked" if cell.is_locked else "closed") if cell.type == "door" else ""
    return _words(cell.type, cell.color, state)


@cache
def _words(type: str, color: str, state: str) -> str:
    if type in ("lava", "goal"):  # always of one colour
        return type
    return " ".join(word for word in ("an" if state == "open" else "a", state, color, type) if word)


def _code(cell: Cell) -> str:
    if cell is None:
        return ".."
    if cell.type == "wall":
        return "##"
    if cell.type == "hidden":
        return "??"
    if cell.type == "lava":
        return "~~"
    if cell.type == "door":
        return ("_" if cell.is_open else "l" if cell.is_locked else "d") + _COLOUR_LETTERS[cell.color]
    return _TYPE_LETTERS[cell.type] + _COLOUR_LETTERS[cell.color]


@cache
def _nearest_first(size: int) -> tuple[tuple[int, int, str], ...]:
    """All cells of the window but the agent's own: row, column and the words for the place."""
    half = size // 2
    cells = [(ahead, side) for ahead in range(size) for side in range(-half, half + 1) if ahead or side]
    cells.sort(key=lambda cell: (cell[0] + abs(cell[1]), cell[0], cell[1]))
    return tuple((ahead, half + side, _place(ahead, side)) for ahead, side in cells)


def _place(ahead: int, side: int) -> str:
    parts = [f"{ahead} ahead"] if ahead else []
    if side:
        parts.append(f"{abs(side)} {'left' if side < 0 else 'right'}")
    return " and ".join(parts)
