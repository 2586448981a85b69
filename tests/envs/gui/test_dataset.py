from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from sparring.envs.gui.dataset import ScreenDataset
from sparring.envs.gui.dataset_rows import row_of
from sparring.errors import InvalidConfig, InvalidData, UnknownName
from sparring.testing import check_env

PIL = pytest.importorskip("PIL.Image")


def png(width: int = 200, height: int = 100) -> bytes:
    buffer = io.BytesIO()
    PIL.new("RGB", (width, height), (200, 30, 30)).save(buffer, format="PNG")
    return buffer.getvalue()


def folder(path: Path, rows: list[dict[str, Any]], split: str = "test") -> Path:
    path.mkdir(exist_ok=True)
    (path / "shot.png").write_bytes(png())
    (path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def play(env: ScreenDataset, task: str, action: str) -> float:
    env.reset(options={"task": task})
    return env.step(action)[1]


SCREENSPOT = {"img_filename": "shot.png", "instruction": "open mail", "bbox": [20, 10, 40, 20], "data_type": "icon"}
GUI_R1 = {
    "image": "shot.png",
    "instruction": "type it",
    "gt_action": "type",
    "gt_bbox": [0, 0],
    "gt_input_text": "red hat",
}
GUI_R1_CLICK = GUI_R1 | {"gt_action": "click", "gt_bbox": [100.0, 50.0], "gt_input_text": "no input text"}
ODYSSEY = {"image": "shot.png", "instruction": "go on", "action": "CLICK", "info": [[500, 500]]}
ODYSSEY_HOME = ODYSSEY | {"info": "KEY_HOME"}
ODYSSEY_SWIPE = ODYSSEY | {"action": "SCROLL", "info": [[500, 800], [500, 200]]}
OWN = {
    "image": "shot.png",
    "instruction": "press it",
    "action": {"action": "click", "point": [150, 200]},
    "box": [100, 100, 300, 300],
}
ALL = [SCREENSPOT, GUI_R1, GUI_R1_CLICK, ODYSSEY, ODYSSEY_HOME, ODYSSEY_SWIPE, OWN]


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    folder(tmp_path / "set", ALL, "train")
    folder(tmp_path / "set", ALL, "test")
    check_env(lambda: ScreenDataset(tmp_path / "set"))
    assert ScreenDataset(tmp_path / "set").splits == ("train", "test")


def test_the_expert_is_right_in_every_style(tmp_path: Path) -> None:
    env = ScreenDataset(folder(tmp_path / "set", ALL) / "test.jsonl")
    for task in env.task_ids("test"):
        _, info = env.reset(options={"task": task})
        assert info["image"].size == (200, 100)
        assert env.step(env.expert_action())[1] == 1.0, task


def test_what_is_right_and_wrong(tmp_path: Path) -> None:
    env = ScreenDataset(folder(tmp_path / "set", ALL))
    click = '{{"action": "click", "point": [{}, {}]}}'
    assert [play(env, "test/0", click.format(x, 150)) for x in (99, 100, 299, 300)] == [0, 1, 1, 0]  # 20 to 60 of 200
    assert play(env, "test/1", '{"action": "type", "text": "red"}') == 1.0
    assert play(env, "test/1", '{"action": "type", "text": "blue coat"}') == 0.0
    assert [play(env, "test/2", click.format(x, 500)) for x in (361, 359)] == [1, 0]  # within 0.14 of the screen
    assert play(env, "test/4", '{"action": "home"}') == 1.0
    assert play(env, "test/5", '{"action": "scroll", "direction": "down"}') == 1.0  # the finger goes up
    assert play(env, "test/5", '{"action": "scroll", "direction": "up"}') == 0.0
    env.reset(options={"task": "test/0"})
    assert "JSON" in env.step("click there")[4]["no_op"]


def test_parquet_with_the_pictures_inside(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [GUI_R1_CLICK | {"image": {"bytes": png(40, 20), "path": None}, "gt_bbox": [20.0, 10.0]}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "test.parquet")
    env = ScreenDataset(tmp_path / "test.parquet", longest_side=20)
    _, info = env.reset(options={"task": "test/0"})
    assert info["image"].size == (20, 10)
    assert env.expert_action() == '{"action": "click", "point": [500, 500]}'


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "link.png", "nothing.png", "a\0b", "x" * 5000])
def test_a_screenshot_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    path = folder(tmp_path / "set", [SCREENSPOT | {"img_filename": name}])
    (path / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InvalidData):
        ScreenDataset(path).reset(options={"task": "test/0"})


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "set", [SCREENSPOT])
    (path / "shot.png").write_bytes(png()[:60])
    with pytest.raises(InvalidData, match="no picture"):
        ScreenDataset(path).reset(options={"task": "test/0"})


@pytest.mark.parametrize(
    "row",
    [
        7,
        {},
        {"instruction": "x"},
        SCREENSPOT | {"bbox": [1, 2]},
        SCREENSPOT | {"bbox": [1, 2, "a", 4]},
        SCREENSPOT | {"bbox": [float("nan")] * 4},
        GUI_R1 | {"gt_action": "__import__"},
        ODYSSEY | {"info": []},
        ODYSSEY_SWIPE | {"info": "sideways"},
        OWN | {"image": 3},
        OWN | {"instruction": "x" * 5000},
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: Any) -> None:
    with pytest.raises((InvalidData, ValueError, KeyError, IndexError)):
        row_of(row)
    with pytest.raises(InvalidData, match="row 2"):
        ScreenDataset(folder(tmp_path / "set", [SCREENSPOT, row])).task_ids("test")


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="named after splits"):
        ScreenDataset(tmp_path)
    with pytest.raises(UnknownName):
        ScreenDataset(folder(tmp_path / "set", [SCREENSPOT])).task_ids("dev")
