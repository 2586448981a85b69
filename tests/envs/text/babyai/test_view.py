from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparring.envs.text.babyai.levels import Level, make_level
from sparring.envs.text.babyai.view import HIDDEN, MOST_THINGS, full_map, in_words, window, window_map

pytest.importorskip("minigrid")
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from minigrid.core.world_object import Ball, Box, Door, Goal, Key, Lava
from minigrid.minigrid_env import MiniGridEnv


def corner() -> Level:
    """An empty room of 6 by 6, the agent in the upper left corner of it, facing east."""
    level = make_level("MiniGrid-Empty-8x8-v0")
    level.reset(seed=0)
    level.see_through_walls = False  # as in all levels but the empty ones
    return level


@pytest.mark.parametrize(
    "name",
    [
        "MiniGrid-DoorKey-8x8-v0",
        "MiniGrid-LavaCrossingS9N2-v0",
        "MiniGrid-MultiRoom-N4-S5-v1",
        "MiniGrid-MemoryS13-v0",
        "BabyAI-BossLevel-v0",
    ],
)
def test_the_window_holds_what_minigrid_shows_and_hides(name: str) -> None:
    level = make_level(name)
    rng = np.random.default_rng(0)
    for seed in range(3):
        level.reset(seed=seed)
        for _ in range(60):
            image = MiniGridEnv.gen_obs(level)["image"]
            seen = window(level)
            size = len(seen)
            for ahead in range(size):
                for at in range(size):
                    if (ahead, at) == (0, size // 2):
                        continue  # there MiniGrid draws what the agent carries
                    assert encoded(seen[ahead][at]) == image[at, size - 1 - ahead, :2].tolist()
            _, _, terminated, _, _ = level.step(int(rng.integers(6)))
            if terminated:
                break


def encoded(cell: Any) -> list[int]:
    if cell is HIDDEN:
        return [OBJECT_TO_IDX["unseen"], 0]
    if cell is None:
        return [OBJECT_TO_IDX["empty"], 0]
    return [OBJECT_TO_IDX[cell.type], COLOR_TO_IDX[getattr(cell, "color", "grey")]]


def test_things_are_named_with_their_place_the_nearest_first() -> None:
    level = corner()
    level.grid.set(3, 1, Ball("red"))
    level.grid.set(1, 2, Key("yellow"))
    level.grid.set(4, 3, Box("grey"))
    level.carrying = Ball("blue")
    assert in_words(level).split("\n") == [
        "facing east, carrying a blue ball",
        "wall 6 ahead, 1 left",
        "a yellow key 1 right",
        "a red ball 2 ahead",
        "a grey box 3 ahead and 2 right",
    ]


def test_what_lies_behind_a_closed_door_is_hidden_and_doors_say_how_they_are() -> None:
    level = corner()
    door = Door("purple", is_locked=True)
    level.grid.vert_wall(3, 1, 6)
    level.grid.set(3, 1, door)
    level.grid.set(5, 1, Goal())
    assert in_words(level).split("\n")[1:] == ["wall 1 left", "a locked purple door 2 ahead"]
    door.is_locked = False
    assert "a closed purple door 2 ahead" in in_words(level)
    door.is_open = True
    assert in_words(level).split("\n")[1:] == ["wall 6 ahead, 1 left", "an open purple door 2 ahead", "goal 4 ahead"]


def test_lava_is_named_and_many_things_are_counted() -> None:
    level = corner()
    for x in range(2, 7):
        level.grid.set(x, 2, Lava())
        level.grid.set(x, 3, Ball("green"))
    lines = in_words(level).split("\n")
    assert lines[2] == "lava 1 ahead and 1 right"
    assert len(lines) == 2 + MOST_THINGS + 1
    assert lines[-1] == f"{10 - MOST_THINGS} more things further off"


def test_the_maps() -> None:
    level = corner()
    level.grid.set(2, 1, Door("yellow"))
    level.grid.set(1, 3, Key("red"))
    assert full_map(level).split("\n")[:5] == [
        "facing east, carrying nothing",
        "## ## ## ## ## ## ## ##",
        "## >> dy .. .. .. .. ##",
        "## .. .. .. .. .. .. ##",
        "## kr .. .. .. .. .. ##",
    ]
    level.agent_dir = 1  # facing south, so east is to the left
    assert window_map(level).split("\n")[-3:] == [
        ".. .. .. kr ## ?? ??",
        ".. .. .. .. ## ?? ??",
        "?? ?? dy ^^ ## ?? ??",
    ]
