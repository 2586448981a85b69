"""The rules of Sokoban, a solver, and levels made by playing backwards from the solved room."""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sparring.envs.text.seeded_tasks import draw_world
from sparring.errors import InvalidConfig

ACTIONS = ("up", "down", "left", "right")
WALL, FLOOR, TARGET = "#", "-", "."

_MOST_DRAWS = 5_000

# The player's cell, and the boxes' in ascending order.
Position = tuple[int, tuple[int, ...]]


class Room(NamedTuple):
    """What never changes: cells row by row, each a wall, floor or target, with walls all around."""

    width: int
    cells: str

    @property
    def targets(self) -> list[int]:
        """The cells that boxes belong on."""
        return [at for at, cell in enumerate(self.cells) if cell == TARGET]

    def way(self, action: str) -> int:
        """How far the next cell is in the direction of an action."""
        return {"up": -self.width, "down": self.width, "left": -1, "right": 1}[action]


class Recipe(NamedTuple):
    """What levels are like: cells a side with the outer walls, boxes, share of inner walls, length of solutions."""

    size: int
    boxes: int
    wall_share: float
    least_moves: int
    most_moves: int


def moved(room: Room, position: Position, way: int) -> Position:
    """Where a move leads, pushing the box in the way: the same position where it is blocked."""
    player, boxes = position
    to = player + way
    if room.cells[to] == WALL:
        return position
    if to in boxes:
        beyond = to + way
        if room.cells[beyond] == WALL or beyond in boxes:
            return position
        boxes = tuple(sorted(beyond if box == to else box for box in boxes))
    return to, boxes


def on_targets(room: Room, position: Position) -> int:
    """How many boxes are on targets."""
    return sum(room.cells[box] == TARGET for box in position[1])


def picture(room: Room, position: Position) -> str:
    """The room in the usual letters (`$` box, `*` box on a target, `@` player, `+` player on one), spaced."""
    player, boxes = position
    cells = list(room.cells)
    for box in boxes:
        cells[box] = "*" if cells[box] == TARGET else "$"
    cells[player] = "+" if cells[player] == TARGET else "@"
    return "\n".join(" ".join(cells[at : at + room.width]) for at in range(0, len(cells), room.width))


@lru_cache(maxsize=65_536)
def solve(room: Room, position: Position) -> tuple[str, ...] | None:
    """A shortest solution in moves, by breadth-first search; None where there is none."""
    live = _live_cells(room)
    came: dict[Position, tuple[Position, str] | None] = {position: None}
    queue = deque([position])
    ways = [(action, room.way(action)) for action in ACTIONS]
    while queue:
        here = queue.popleft()
        if on_targets(room, here) == len(here[1]):
            return _moves_to(here, came)
        for action, way in ways:
            there = moved(room, here, way)
            if there not in came and live.issuperset(there[1]):
                came[there] = here, action
                queue.append(there)
    return None


def _moves_to(end: Position, came: dict[Position, tuple[Position, str] | None]) -> tuple[str, ...]:
    moves: list[str] = []
    step = came[end]
    while step is not None:
        moves.append(step[1])
        step = came[step[0]]
    return tuple(reversed(moves))


@lru_cache(maxsize=1_024)
def _live_cells(room: Room) -> frozenset[int]:
    """The cells from which a single box can be pushed onto a target, found by pulling it away from there."""
    live, queue = set(room.targets), deque(room.targets)
    while queue:
        box = queue.popleft()
        for way in map(room.way, ACTIONS):
            pulled, player = box + way, box + 2 * way
            # The player stands on `pulled`, steps back to `player`, and the box follows.
            if pulled not in live and room.cells[pulled] != WALL and room.cells[player] != WALL:
                live.add(pulled)
                queue.append(pulled)
    return frozenset(live)


@lru_cache(maxsize=4_096)
def level(task: str, recipe: Recipe) -> tuple[Room, Position]:
    """The level of a task, solvable within the recipe's moves. No level is in two splits.

    Raises:
        InvalidConfig: none of thousands of drawn rooms fits the recipe.
    """

    def draw(rng: np.random.Generator) -> tuple[Room, Position]:
        for _ in range(_MOST_DRAWS):
            room = _solved_room(rng, recipe)
            if room is None:
                continue
            position = _played_backwards(rng, room)
            if on_targets(room, position):
                continue
            solution = solve.__wrapped__(room, position)  # not cached: most of these are thrown away
            if solution is not None and recipe.least_moves <= len(solution) <= recipe.most_moves:
                return room, position
        raise InvalidConfig(
            f"of {_MOST_DRAWS} rooms drawn none fits {recipe}: widen the range of moves, or take a larger room with "
            "fewer walls"
        )

    return draw_world(task, draw, lambda one: picture(*one))


def _solved_room(rng: np.random.Generator, recipe: Recipe) -> Room | None:
    """A room of one piece with as many targets as boxes; None where the draw is too cramped."""
    size = recipe.size
    walls = np.ones((size, size), bool)
    walls[1:-1, 1:-1] = rng.random((size - 2, size - 2)) < recipe.wall_share
    floor = _piece(walls.ravel().tolist(), size, start=int(rng.integers(size * size)))
    if len(floor) < max((size - 2) ** 2 // 2, recipe.boxes + 2):
        return None
    targets = set(rng.choice(floor, recipe.boxes, replace=False).tolist())
    inside = set(floor)
    cells = (TARGET if at in targets else FLOOR if at in inside else WALL for at in range(size * size))
    return Room(size, "".join(cells))


def _piece(walls: list[bool], width: int, start: int) -> list[int]:
    """The cells that can be walked to from `start`."""
    if walls[start]:
        return []
    found, queue = {start}, deque([start])
    while queue:
        here = queue.popleft()
        for there in (here - width, here + width, here - 1, here + 1):
            if not walls[there] and there not in found:
                found.add(there)
                queue.append(there)
    return sorted(found)


def _played_backwards(rng: np.random.Generator, room: Room) -> Position:
    """Pull boxes off their targets at random: what backwards is a pull is a push forwards, so a solution is left."""
    boxes = set(room.targets)
    floor = [at for at, cell in enumerate(room.cells) if cell == FLOOR]
    player = floor[int(rng.integers(len(floor)))]
    ways = [room.way(action) for action in ACTIONS]
    for pick, pulls in zip(rng.integers(4, size=8 * len(floor)), rng.random(8 * len(floor)) < 0.75, strict=True):
        way = ways[pick]
        if room.cells[player + way] == WALL or player + way in boxes:
            continue
        if pulls and player - way in boxes:
            boxes.remove(player - way)
            boxes.add(player)
        player += way
    return player, tuple(sorted(boxes))
