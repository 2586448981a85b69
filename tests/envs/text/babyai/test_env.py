from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from sparring.envs.base import restore, snapshot
from sparring.envs.text.babyai.env import MiniGrid
from sparring.envs.text.babyai.levels import layout_text
from sparring.errors import InvalidConfig, SparringError, UnknownName
from sparring.registration import make
from sparring.testing import check_env

pytest.importorskip("minigrid")
from minigrid.core.world_object import Door, Goal, Key


@pytest.mark.parametrize(
    "options",
    [
        {"level": "MiniGrid-DoorKey-5x5-v0", "admissible": "effective", "view": "full"},
        {"level": "BabyAI-GoToLocalS6N2-v0", "view": "window"},
        {"level": "MiniGrid-Fetch-5x5-N2-v0"},
    ],
)
def test_levels_keep_the_contract(options: dict[str, Any]) -> None:
    check_env(lambda: make("MiniGrid-v1", **options))


def test_an_episode_by_hand() -> None:
    env = MiniGrid("MiniGrid-DoorKey-5x5-v0")
    _, info = env.reset(seed=0)
    assert info["instruction"] == "use the key to open the door and then get to the goal"
    level = env.level
    level.grid.wall_rect(0, 0, 5, 5)
    level.grid.vert_wall(2, 0)
    for x, y, cell in ((1, 1, None), (1, 2, None), (1, 3, Key("yellow")), (2, 1, Door("yellow", is_locked=True))):
        level.grid.set(x, y, cell)
    level.agent_pos, level.agent_dir = (1, 2), 3
    said = [env.observe()[0]]
    actions = ["turn left", "turn left", "pick up", "turn left", "turn left", "move forward", "turn right", "toggle"]
    for action in [*actions, "move forward", "move forward", "turn right", "move forward"]:
        text, reward, terminated, truncated, info = env.step(action)
        said.append(text)
        assert (reward, terminated, truncated) == (0.0, False, False)
    assert said[0].split("\n") == [
        "facing north, carrying nothing",
        "wall 2 ahead, 1 left, 1 right",
        "a locked yellow door 1 ahead and 1 right",
    ]
    assert said[2].endswith("a yellow key 1 ahead")
    assert said[3].startswith("facing south, carrying a yellow key")
    assert said[7].split("\n")[1:] == ["wall 1 left, 3 right", "a locked yellow door 1 ahead"]
    assert said[8].split("\n")[1:] == [
        "wall 3 ahead, 1 left, 3 right",
        "an open yellow door 1 ahead",
        "goal 2 ahead and 2 right",
    ]
    _, reward, terminated, _, info = env.step("move forward")
    assert isinstance(level.grid.get(3, 3), Goal)
    # The package's reward: 1 - 0.9 * steps / limit, with 13 of 250 steps taken.
    assert terminated and reward == pytest.approx(1 - 0.9 * 13 / 250)
    assert info["score"] == reward and info["success"] is True


def test_the_limit_of_steps_truncates_and_nonsense_passes_the_turn() -> None:
    env = MiniGrid("MiniGrid-DoorKey-5x5-v0", max_steps=3)
    before, _ = env.reset(seed=0)
    text, reward, terminated, truncated, info = env.step("fly")
    assert (text, reward, terminated, truncated) == (before, 0.0, False, False)
    assert info["no_op"].startswith("'fly' is not among: turn left, turn right")
    env.step("turn left")
    _, reward, terminated, truncated, info = env.step("fly")
    assert (reward, terminated, truncated, info["score"], info["success"]) == (0.0, False, True, 0.0, False)


def test_only_what_has_an_effect_is_listed_where_asked_for() -> None:
    env = MiniGrid("MiniGrid-DoorKey-5x5-v0", admissible="effective")
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(300):
        choices = env.observe()[1]["actions"].choices
        for action in ("move forward", "pick up", "drop", "toggle", "done"):
            saved = env.snapshot()
            before = env._see(env.level), layout_text(env.level)
            _, _, terminated, _, _ = env.step(action)
            changed = terminated or (env._see(env.level), layout_text(env.level)) != before
            assert changed == (action in choices)
            env.restore(saved)
        _, _, terminated, truncated, _ = env.step(choices[int(rng.integers(len(choices)))])
        if terminated or truncated:
            env.reset()


def test_no_layout_is_in_two_splits() -> None:
    env = MiniGrid("MiniGrid-DoorKey-5x5-v0")
    layouts: dict[str, set[str]] = {}
    for split in env.splits:
        layouts[split] = set()
        for task in env.task_ids(split)[:300]:
            env.reset(options={"task": task})
            layouts[split].add(layout_text(env.level))
    assert not layouts["train"] & layouts["dev"] and not layouts["train"] & layouts["test"]
    assert not layouts["dev"] & layouts["test"]
    # 3 places of the agent, 2 of the key, 4 directions, 2 places of the door make 48 layouts in all.
    assert sum(map(len, layouts.values())) == 48


def test_a_level_of_one_layout_refuses_disjoint_splits_and_says_what_to_do() -> None:
    env = MiniGrid("MiniGrid-Empty-5x5-v0")
    with pytest.raises(InvalidConfig, match=r'MiniGrid-Empty-5x5-v0.*disjoint="seeds"'):
        for split in env.splits:
            env.reset(options={"split": split})
    by_seed = MiniGrid("MiniGrid-Empty-5x5-v0", disjoint="seeds")
    assert by_seed.reset(options={"task": "test/3"})[1]["task"] == "test/3"


@pytest.mark.parametrize(
    "level", ["BabyAI-PutNextLocal-v0", "BabyAI-BossLevel-v0", "MiniGrid-Dynamic-Obstacles-6x6-v0"]
)
def test_a_pickled_snapshot_goes_on_exactly_in_another_environment(level: str) -> None:
    env, other = (MiniGrid(level, disjoint="seeds") for _ in range(2))
    rng = np.random.default_rng(0)
    env.reset(seed=1)
    for _ in range(20):
        env.step(env._names[int(rng.integers(len(env._names)))])
    saved = pickle.loads(pickle.dumps(snapshot(env)))  # noqa: S301 - written a moment ago
    other.reset(seed=2)
    assert restore(other, saved)[0] == env.observe()[0]
    for _ in range(60):
        action = env._names[int(rng.integers(len(env._names)))]
        assert env.step(action) == other.step(action)
    with pytest.raises(InvalidConfig, match=level):
        MiniGrid().restore(saved)


def test_settings_that_do_not_exist_are_refused_by_name() -> None:
    with pytest.raises(UnknownName, match="MiniGrid-DoorKey-5x5-v0"):
        MiniGrid("MiniGrid-DoorKey-5x5")
    for options in ({"view": "picture"}, {"admissible": "some"}, {"disjoint": "no"}, {"max_steps": 0}):
        with pytest.raises(SparringError, match=next(iter(options))):
            MiniGrid(**options)  # type: ignore[arg-type]
