"""Levels of the package minigrid: made without a picture a step, told apart, copied exactly."""

from __future__ import annotations

import copy
import os
from typing import Any

import gymnasium

from sparring.errors import need, unknown

# A level's own object, the `MiniGridEnv` inside; the package is optional, so its types can't be named here.
Level = Any

# Cells that nothing ever changes, so that copies share them.
_FIXED = frozenset({"wall", "floor", "goal", "lava"})
# What a level keeps that no step changes, or that draws pictures.
_NO_STATE = frozenset({"action_space", "observation_space", "spec", "window", "clock", "gen_obs"})


class _Owner:
    """Stands in a saved state for the level that it is put into; pickled, it is still the one `_OWNER`."""

    def __reduce__(self) -> str:
        return "_OWNER"


_OWNER = _Owner()


def make_level(name: str, max_steps: int | None = None) -> Level:
    """Make a level of minigrid, with its drawing of a picture at every step taken out.

    Args:
        name: id of a MiniGrid or BabyAI level. max_steps: its limit of steps; None for its own.
    Raises:
        MissingExtra: minigrid is not installed.
        UnknownName: no such level; the message names the nearest.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    minigrid = need("minigrid", "minigrid")
    if "MiniGrid-Empty-5x5-v0" not in gymnasium.registry:  # somebody emptied the registry after minigrid filled it
        minigrid.register_minigrid_envs()
    # It prints every layout that it rejects; a name of the module hides the builtin in there alone.
    need("minigrid.envs.babyai.core.roomgrid_level", "minigrid").print = _silent  # type: ignore[attr-defined]
    names = [id for id in gymnasium.registry if id.startswith(("MiniGrid-", "BabyAI-"))]
    if name not in names:
        raise unknown("level", name, names)
    options = {} if max_steps is None else {"max_steps": max_steps}
    level: Level = gymnasium.make(name, disable_env_checker=True, **options).unwrapped
    level.gen_obs = _no_picture
    return level


def _silent(*_: object) -> None:
    pass


def _no_picture() -> None:
    return None


def layout_text(level: Level) -> str:
    """A text that is equal for equal beginnings: cells, the agent's place and direction, the mission."""
    x, y = (int(one) for one in level.agent_pos)
    return f"{level.grid.encode().tobytes().hex()} {x} {y} {level.agent_dir} {level.mission}"


def save(level: Level) -> dict[str, Any]:
    """An independent copy of everything that a step can change."""
    state = {name: value for name, value in vars(level).items() if name not in _NO_STATE}
    return _copied(state, {id(level): _OWNER})


def load(level: Level, saved: dict[str, Any]) -> None:
    """Put a saved state into a level of the same name."""
    level.__dict__.update(_copied(saved, {id(_OWNER): level}))


def _copied(state: dict[str, Any], replaced: dict[int, Any]) -> dict[str, Any]:
    memo = dict(replaced)
    for cell in state["grid"].grid:
        if cell is not None and cell.type in _FIXED:
            memo[id(cell)] = cell
    return copy.deepcopy(state, memo)
