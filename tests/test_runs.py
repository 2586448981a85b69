"""The run folder: nothing half-written is ever read, and a resumed run continues its own history."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from sparring.errors import InvalidConfig, InvalidData
from sparring.runs import RunFolder, from_plain, to_plain, write_atomic, write_folder
from sparring.settings import EnvConfig


@dataclass(frozen=True, slots=True)
class Config:
    lr: float = 1e-3
    mode: Literal["a", "b"] = "a"
    env: EnvConfig = field(default_factory=EnvConfig)
    model: Path | None = None


def test_config_survives_toml(tmp_path: Path) -> None:
    config = Config(3e-4, "b", EnvConfig(options={"goals": "human"}, wrappers=("expert",), max_turns=7), Path("m"))
    run = RunFolder.create(tmp_path / "run", "sft", config)
    assert RunFolder.open(run.path).config(Config) == config
    assert run.trainer == "sft"
    assert from_plain(Config, to_plain(Config())) == Config()  # None fields are left out and come back as None


def test_unknown_and_wrong_settings_are_named() -> None:
    with pytest.raises(InvalidConfig, match=r"learning_rate"):
        from_plain(Config, {"learning_rate": 1})
    with pytest.raises(InvalidConfig, match=r"config\.lr"):
        from_plain(Config, {"lr": "fast"})


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "sft", Config())
    with pytest.raises(InvalidConfig, match="--resume"):
        RunFolder.create(tmp_path, "sft", Config())
    with pytest.raises(InvalidConfig, match="a run of sft"):
        RunFolder.create(tmp_path, "grpo", Config(), resume=True)
    RunFolder.create(tmp_path, "sft", Config(), resume=True)


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="holds no run"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.toml").write_text("= broken")
    with pytest.raises(InvalidConfig, match="no TOML"):
        _ = RunFolder.open(tmp_path).plain_config


def test_metrics_rewind_to_a_checkpoint(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "sft", Config())
    for step in range(5):
        run.log({"step": step, "loss": 1 / (step + 1)})
    run.rewind_metrics(2)
    assert [row["step"] for row in run.metrics()] == [0, 1, 2]


def test_a_line_cut_short_by_a_crash_is_dropped_but_a_broken_one_is_named(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "sft", Config())
    run.log({"step": 0})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 1, "lo')
    assert run.metrics() == [{"step": 0}]
    with run.metrics_path.open("a") as file:
        file.write('\n{"step": 2}\n')
    with pytest.raises(InvalidData, match="line 2"):
        run.metrics()


def test_checkpoints_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "sft", Config())
    assert run.latest_checkpoint() is None
    with run.checkpoint(1) as folder:
        (folder / "weights").write_text("one")
    with pytest.raises(RuntimeError), run.checkpoint(2) as folder:
        (folder / "weights").write_text("half")
        raise RuntimeError("killed")
    assert list(run.checkpoints()) == [1]
    for step in (10, 9):
        with run.checkpoint(step, keep=2) as folder:
            (folder / "weights").write_text(str(step))
    assert list(run.checkpoints()) == [9, 10]
    assert run.latest_checkpoint() == (10, run.path / "checkpoints" / "step-10")


def test_atomic_writes_replace_whole_files_and_folders(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_atomic(target, "old")
    write_atomic(target, b"new")
    assert target.read_text() == "new"
    with write_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("1")
    with write_folder(tmp_path / "folder") as folder:
        (folder / "b").write_text("2")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
