from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from sparring.envs.gui.actions import parse
from sparring.envs.gui.dataset import ScreenDataset
from sparring.envs.gui.dataset_rows import row_of
from sparring.errors import InvalidConfig, InvalidData, UnknownName
from sparring.testing import check_env

PIL = pytest.importorskip("PIL.Image")


def png(width: int = 200, height: int = 100) -> bytes:
    buffer = io.BytesIO()
    PIL.new("RGB", (width, height), (200, 30, 30)).save(buffer, format="PNG")
    return buffer.getvalue()


def claim(width: int, height: int) -> bytes:
    """The beginning of a PNG file, which says how large it will be."""
    found = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b"")):
        found += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return found


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


def test_parquet_of_our_own_style_with_different_actions(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    typed = {"image": "shot.png", "instruction": "type it", "action": {"action": "type", "text": "red hat"}}
    path = folder(tmp_path / "set", [])
    (path / "test.jsonl").unlink()
    parquet.write_table(pyarrow.Table.from_pylist([OWN, typed]), path / "test.parquet")
    env = ScreenDataset(path)
    for task in env.task_ids("test"):
        env.reset(options={"task": task})
        assert env.step(env.expert_action())[1] == 1.0


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
        {name: value for name, value in SCREENSPOT.items() if name != "bbox"},
        GUI_R1_CLICK | {"gt_bbox": [10**400, 5]},
        GUI_R1 | {"gt_action": "swipe"},
        GUI_R1 | {"gt_action": "hotkey", "gt_input_text": ""},
        OWN | {"instruction": "x" * 5000},
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: Any) -> None:
    with pytest.raises(InvalidData):
        row_of(row)
    with pytest.raises(InvalidData, match="row 2"):
        ScreenDataset(folder(tmp_path / "set", [SCREENSPOT, row])).task_ids("test")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidData, match="no column 'bbox'"):
        row_of({name: value for name, value in SCREENSPOT.items() if name != "bbox"})


@pytest.mark.parametrize(
    "row",
    [
        SCREENSPOT | {"bbox": [20, 10, 0, 20]},
        SCREENSPOT | {"bbox": [300, 10, 40, 20]},
        GUI_R1_CLICK | {"gt_bbox": [100.0, 5000.0]},
        OWN | {"box": [300, 100, 100, 300]},
    ],
)
def test_a_place_where_nobody_can_click_costs_its_task_alone(tmp_path: Path, row: Any) -> None:
    env = ScreenDataset(folder(tmp_path / "set", [row, SCREENSPOT]))
    with pytest.raises(InvalidData, match=r"test.jsonl, row 1: "):
        env.reset(options={"task": "test/0"})
    env.reset(options={"task": "test/1"})
    assert env.step(env.expert_action())[1] == 1.0


def test_shares_that_end_a_little_beyond_the_edge_are_shares() -> None:
    row = row_of(SCREENSPOT | {"bbox": [0.9, 0.9, 0.1000001, 0.1]}).sized((200, 100))
    assert row.places == pytest.approx((0.9, 0.9, 1.0, 1.0))
    assert row.accepts(parse('{"action": "click", "point": [1000, 1000]}'))


def test_drags_and_keys_are_compared() -> None:
    row = row_of(OWN | {"action": {"action": "drag", "point": [100, 100], "to": [500, 500]}, "box": [0, 0, 9, 9]})
    assert row.accepts(parse('{"action": "drag", "point": [120, 100], "to": [500, 520]}'))
    assert not row.accepts(parse('{"action": "drag", "point": [120, 100], "to": [900, 520]}'))
    row = row_of(GUI_R1 | {"gt_action": "hotkey", "gt_input_text": "Ctrl+S"})
    assert row.accepts(parse('{"action": "press", "keys": ["ctrl", "s"]}'))
    assert not row.accepts(parse('{"action": "press", "keys": ["ctrl"]}'))


def test_a_line_of_json_may_hold_what_else_ends_lines(tmp_path: Path) -> None:
    path = folder(tmp_path / "set", [])
    line = json.dumps(SCREENSPOT | {"instruction": "über\u2028mail\x85"}, ensure_ascii=False)
    (path / "test.jsonl").write_text(f"{line}\r\n{line}\n", encoding="utf-8")
    assert len(ScreenDataset(path).task_ids("test")) == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("test.jsonl", b'{"instruction": "x"', "line 1"),
        ("test.jsonl", b"\xff\xfe", "can't be read"),
        ("test.json", b"[" * 100_000, "no JSON"),
        ("test.json", b"1" * 5_000, "no JSON"),
        ("test.parquet", b"PAR1 and nothing else", "can't be read"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidData, match=says) as caught:
        ScreenDataset(tmp_path).task_ids("test")
    assert name in str(caught.value)


def test_two_files_for_a_split_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "set", [SCREENSPOT])
    (path / "test.json").write_text("[]")
    with pytest.raises(InvalidConfig, match="both the split test"):
        ScreenDataset(path)


def test_giant_files_and_slivers_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "set", [SCREENSPOT])
    with (path / "shot.png").open("wb") as file:
        file.truncate(10**11)  # holes: read, it would not fit into memory
    with pytest.raises(InvalidData, match="at most 50,000,000 bytes"):
        ScreenDataset(path).reset(options={"task": "test/0"})
    path = folder(tmp_path / "other", [SCREENSPOT])
    refused = {
        (1_000, 2): "ratio of at most 200",
        (8_000, 7_000): "at most 50,000,000 pixels",
        (65_000, 65_000): "bomb",
    }
    for size, says in refused.items():
        (path / "shot.png").write_bytes(claim(*size))
        with pytest.raises(InvalidData, match=says):
            ScreenDataset(path).reset(options={"task": "test/0"})


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="named after splits"):
        ScreenDataset(tmp_path)
    with pytest.raises(UnknownName):
        ScreenDataset(folder(tmp_path / "set", [SCREENSPOT])).task_ids("dev")
