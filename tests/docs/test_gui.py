"""The Python of docs/gui.md runs, and what it says is there is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from sparring.registration import env_ids
from sparring.trainers import sft

pytest.importorskip("PIL")

PAGE = (Path(__file__).parents[2] / "docs" / "gui.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_environments_of_the_page_are_registered() -> None:
    named = set(re.findall(r"`(\w+-v1)`", PAGE))
    assert len(named) == 7
    assert {f"sparring/{one}" for one in named} <= set(env_ids())


def test_the_training_command_of_the_page_is_understood() -> None:
    (command,) = re.findall(r"^sparring train sft (.*?)\n```", PAGE, re.MULTILINE | re.DOTALL)
    config = tyro.cli(sft.Config, args=shlex.split(command.replace("\\\n", " ")))
    assert (config.model, config.tiny.picture, config.env.options["step"]) == ("tiny-vision", 48, "100")
