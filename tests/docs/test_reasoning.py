"""The Python of docs/reasoning.md runs, and its tables name what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from sparring.envs.text.reasoning.self_correction import Feedback, Options
from sparring.registration import env_ids

PAGE = (Path(__file__).parents[2] / "docs" / "reasoning.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    [block] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "'wrong_to_right'" in done.stdout


def test_the_tables_name_environments_and_options() -> None:
    for name in re.findall(r"`(\w+-v1)`", PAGE):
        assert f"sparring/{name}" in env_ids()
    assert all(f"`{name}`" in PAGE for name in (*Options.__annotations__, *get_args(Feedback)))
