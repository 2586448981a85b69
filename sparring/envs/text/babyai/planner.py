"""Shortest plans for MiniGrid levels: breadth-first search over a level's own rules, knowing the whole grid.

BabyAI's bot reads BabyAI's instruction objects, which the levels named MiniGrid do not have. What such a level wants
is read off its attributes here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sparring.envs.text.babyai.levels import Level

Place = tuple[int, int]

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
_OPEN, _CLOSED, _LOCKED = 0, 1, 2
_MOST_DROPS = 3
_MOST_STATES = 400_000


class State(NamedTuple):
    """All that changes in a level: `carried` is an index into `things`, -1 for none; a carried thing has no place."""

    x: int
    y: int
    direction: int
    carried: int
    doors: tuple[int, ...]
    things: tuple[Place | None, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """What does not change: walls and other cells to keep out of, and what doors and things are."""

    blocked: frozenset[Place]
    covered: frozenset[Place]  # goals and floor tiles, which can be walked on but hold no dropped thing
    door_places: tuple[Place, ...]
    door_colors: tuple[str, ...]
    thing_kinds: tuple[tuple[str, str], ...]

    def door_at(self, place: Place) -> int:
        """Index of the door in a cell, -1 where there is none."""
        return self.door_places.index(place) if place in self.door_places else -1


@dataclass(frozen=True, slots=True)
class Aim:
    """What to reach, by which last action (None where reaching it ends the episode), and what must not happen."""

    reached: Callable[[State], bool]
    last: str | None = None
    allowed: Callable[[State], bool] = lambda state: True
    toggles: bool = True


def read(level: Level) -> tuple[Map, State]:
    """The map and the present state of a level."""
    blocked, covered = set(), set()
    doors, things = [], []
    width = level.grid.width
    for at, cell in enumerate(level.grid.grid):
        place = (at % width, at // width)
        if cell is None:
            continue
        if cell.type in ("wall", "lava"):
            blocked.add(place)
        elif cell.type in ("goal", "floor"):
            covered.add(place)
        elif cell.type == "door":
            status = _OPEN if cell.is_open else _LOCKED if cell.is_locked else _CLOSED
            doors.append((place, cell.color, status))
        else:
            things.append((place, (cell.type, cell.color)))
    places: list[Place | None] = [place for place, _ in things]
    kinds = [kind for _, kind in things]
    if level.carrying is not None:
        places.append(None)
        kinds.append((level.carrying.type, level.carrying.color))
    fixed = Map(
        frozenset(blocked),
        frozenset(covered),
        tuple(one[0] for one in doors),
        tuple(one[1] for one in doors),
        tuple(kinds),
    )
    state = State(
        int(level.agent_pos[0]),
        int(level.agent_pos[1]),
        int(level.agent_dir),
        len(places) - 1 if level.carrying is not None else -1,
        tuple(one[2] for one in doors),
        tuple(places),
    )
    return fixed, state


def aim_of(level: Level, fixed: Map, state: State) -> Aim | None:
    """What a level wants, None where that is not known here."""
    if hasattr(level, "obstacles"):  # they move by chance
        return None
    if hasattr(level, "success_pos"):  # Memory
        wanted, other = level.success_pos, level.failure_pos
        return Aim(lambda now: (now.x, now.y) == wanted, allowed=lambda now: (now.x, now.y) != other, toggles=False)
    if hasattr(level, "move_type"):  # PutNear
        return _put_near(level, fixed)
    if hasattr(level, "target_pos"):  # GoToDoor, GoToObject
        x, y = (int(one) for one in level.target_pos)
        return Aim(lambda now: abs(now.x - x) + abs(now.y - y) == 1, last="done", toggles=False)
    if hasattr(level, "targetType"):  # Fetch
        kind = (level.targetType, level.targetColor)
        return Aim(
            lambda now: now.carried >= 0 and fixed.thing_kinds[now.carried] == kind,
            allowed=lambda now: now.carried < 0 or fixed.thing_kinds[now.carried] == kind,
        )
    if hasattr(level, "red_door"):  # RedBlueDoors
        red, blue = fixed.door_colors.index("red"), fixed.door_colors.index("blue")
        return Aim(
            lambda now: now.doors[blue] == _OPEN,
            allowed=lambda now: now.doors[blue] != _OPEN or now.doors[red] == _OPEN,
        )
    if getattr(level, "obj", None) is not None:  # UnlockPickup, KeyCorridor, ObstructedMaze
        return _pick_up(level, state)
    if getattr(level, "door", None) is not None:  # Unlock
        return Aim(lambda now: _OPEN in now.doors)
    goals = _goals(level)
    return Aim(lambda now: (now.x, now.y) in goals) if goals else None


def _goals(level: Level) -> frozenset[Place]:
    width = level.grid.width
    return frozenset(
        (at % width, at // width) for at, cell in enumerate(level.grid.grid) if cell is not None and cell.type == "goal"
    )


def _pick_up(level: Level, state: State) -> Aim | None:
    at = next((at for at, cell in enumerate(level.grid.grid) if cell is level.obj), None)
    if at is None:
        return None
    wanted = state.things.index((at % level.grid.width, at // level.grid.width))
    return Aim(lambda now: now.carried == wanted)


def _put_near(level: Level, fixed: Map) -> Aim:
    moved = fixed.thing_kinds.index((level.move_type, level.moveColor))
    x, y = (int(one) for one in level.target_pos)

    def near(now: State) -> bool:
        place = now.things[moved]
        return place is not None and abs(place[0] - x) <= 1 and abs(place[1] - y) <= 1

    start = level.move_pos
    return Aim(
        lambda now: near(now) and now.things[moved] != start,
        allowed=lambda now: now.carried in (-1, moved) and (now.things[moved] in (None, start) or near(now)),
    )


def moves(fixed: Map, now: State, drops: bool) -> Iterator[tuple[str, State]]:
    """What each action leads to, those left out that change nothing or end the episode."""
    x, y, direction, carried, doors, things = now.x, now.y, now.direction, now.carried, now.doors, now.things
    yield "turn left", State(x, y, (direction - 1) % 4, carried, doors, things)
    yield "turn right", State(x, y, (direction + 1) % 4, carried, doors, things)
    dx, dy = _STEPS[direction]
    front = (x + dx, y + dy)
    if front in fixed.blocked:
        return
    if front in things:
        if carried < 0:
            thing = things.index(front)
            yield "pick up", State(x, y, direction, thing, doors, (*things[:thing], None, *things[thing + 1 :]))
        return
    door = fixed.door_at(front)
    if door < 0 or doors[door] == _OPEN:
        yield "move forward", State(*front, direction, carried, doors, things)
    elif doors[door] == _CLOSED or (carried >= 0 and fixed.thing_kinds[carried] == ("key", fixed.door_colors[door])):
        yield "toggle", State(x, y, direction, carried, (*doors[:door], _OPEN, *doors[door + 1 :]), things)
    if drops and carried >= 0 and door < 0 and front not in fixed.covered:
        yield "drop", State(x, y, direction, -1, doors, (*things[:carried], front, *things[carried + 1 :]))


def plan(fixed: Map, start: State, aim: Aim) -> list[tuple[State, str]]:
    """The states to pass and the action in each: of the plans with fewest drops the shortest, of these the first.

    "First" is by the order of `moves`. From a state on the way the rest of the plan is again that state's own plan,
    so it does not matter in which states one asks. Empty where no plan is found within 400,000 states.
    """
    for drops in range(_MOST_DROPS + 1):
        found = _search(fixed, start, aim, drops)
        if found or found is None:
            return found or []
    return []


def _search(fixed: Map, start: State, aim: Aim, drops: int) -> list[tuple[State, str]] | None:
    """Breadth-first; an empty list where there is no plan with so many drops, None where the search got too large."""
    if aim.reached(start):
        return [(start, aim.last)] if aim.last else []
    before: dict[tuple[State, int], tuple[tuple[State, int], str] | None] = {(start, drops): None}
    waiting = deque([(start, drops)])
    while waiting:
        node = waiting.popleft()
        now, left = node
        for action, following in moves(fixed, now, left > 0):
            if action == "toggle" and not aim.toggles:
                continue
            reached = (following, left - (action == "drop"))
            if reached in before or not aim.allowed(following):
                continue
            before[reached] = (node, action)
            if aim.reached(following):
                return _way(before, reached, aim.last)
            waiting.append(reached)
        if len(before) > _MOST_STATES:
            return None
    return []


def _way(
    before: dict[tuple[State, int], tuple[tuple[State, int], str] | None], end: tuple[State, int], last: str | None
) -> list[tuple[State, str]]:
    steps = [(end[0], last)] if last else []
    step = before[end]
    while step is not None:
        node, action = step
        steps.append((node[0], action))
        step = before[node]
    return steps[::-1]
