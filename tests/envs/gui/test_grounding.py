from __future__ import annotations

import io

import numpy as np
import pytest

from sparring import trajectories
from sparring.agents.load import load_agent
from sparring.envs.gui.geometry import to_pixel
from sparring.envs.gui.grounding import ScreenGrounding
from sparring.envs.gui.screens import COLOURS, Style, arrange, draw
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting, Start, rollout
from sparring.settings import EnvConfig
from sparring.testing import check_env
from sparring.types import Image

PIL = pytest.importorskip("PIL.Image")


def test_it_keeps_the_contract() -> None:
    check_env(lambda: ScreenGrounding(width=64, height=64, widgets=2, kinds="icon", side=16))


def test_the_expert_hits_and_a_corner_misses() -> None:
    env = ScreenGrounding()
    for task in env.task_ids("test")[:40]:
        env.reset(options={"task": task})
        _, reward, terminated, _, info = env.step(env.expert_action())
        assert (reward, terminated, info["success"]) == (1.0, True, True)
        env.reset(options={"task": task})
        assert env.step('{"action": "click", "point": [1000, 1000]}')[1] == 0.0
        env.reset(options={"task": task})
        assert env.step('{"action": "wait"}')[4]["no_op"] == "here only a click counts, got wait"


def test_a_coarse_expert_hits_too() -> None:
    env = ScreenGrounding(width=48, height=48, widgets=2, kinds="icon", side=14, step=100)
    for task in env.task_ids("train")[:100]:
        env.reset(options={"task": task})
        action = env.expert_action()
        assert env.step(action)[1] == 1.0


def test_golden_screen() -> None:
    text, info = ScreenGrounding().reset(options={"task": "test/0"})
    assert info["instruction"].splitlines()[0] in {f"click the {line.split(' at ')[0]}" for line in text.splitlines()}
    again, more = ScreenGrounding().reset(seed=5, options={"task": "test/0"})
    assert (again, more["image"], more["instruction"]) == (text, info["image"], info["instruction"])


def test_what_is_described_is_drawn_there() -> None:
    for seed in range(20):
        screen = arrange(np.random.default_rng(seed), Style(size=(80, 80), widgets=3, kinds=("icon",), side=16))
        with PIL.open(io.BytesIO(draw(screen).png)) as picture:
            for widget in screen.widgets:
                assert picture.getpixel(to_pixel(screen.box(widget).centre, screen.size)) == COLOURS[widget.colour]


def test_no_screen_is_in_two_splits() -> None:
    env = ScreenGrounding(width=48, height=48, widgets=1, kinds="icon", side=14, colours=2)
    seen: list[set[tuple[str, str]]] = []
    for split in env.splits:
        found = set()
        for task in env.task_ids(split)[:300]:
            text, info = env.reset(options={"task": task})
            found.add((text, info["instruction"]))
        seen.append(found)
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_pictures_survive_a_file_of_trajectories(tmp_path: object) -> None:
    config = EnvConfig("sparring/ScreenGrounding-v1", wrappers=("expert",))
    with EnvPool(config.maker(), 2) as pool:
        played = rollout(load_agent("expert").policy, pool, [Start(0), Start(1)], Setting(config.full_id))
    back = [trajectories.from_json(trajectories.to_json(one)) for one in played]
    assert back == played
    assert isinstance(back[0].turns[0].observation.image, Image)
    assert back[0].turns[0].observation.image.size == (320, 240)


def test_settings_out_of_range_are_refused() -> None:
    for settings in ({"width": 5}, {"kinds": "icon,window"}, {"colours": 1}, {"widgets": 99}, {"step": 0}):
        with pytest.raises(InvalidConfig):
            ScreenGrounding(**settings)  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="don't fit"):
        ScreenGrounding(width=40, height=40, widgets=6, kinds="button").reset(seed=0)
    with pytest.raises(ValueError, match="no PNG"):
        assert Image(b"GIF89a").size
