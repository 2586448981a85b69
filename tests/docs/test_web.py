"""The page docs/web.md: its Python runs, its commands are understood, and what it counts is so."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sparring.envs.web.browser import chromium
from sparring.envs.web.browser.actions import parse
from sparring.envs.web.browser.limits import Limits
from sparring.envs.web.browser.pool import CONTEXTS_BEFORE_RECYCLING
from sparring.envs.web.miniwob import tasks
from sparring.envs.web.miniwob.experts import EXPERTS
from sparring.errors import MissingExtra
from sparring.registration import full_id

PAGE = (Path(__file__).parents[2] / "docs" / "web.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    try:
        chromium.executable()
    except MissingExtra as missing:
        pytest.skip(str(missing))
    [block] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr


def test_its_commands_and_actions_are_understood() -> None:
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
    named = [shlex.split(line) for line in lines if line.startswith(("sparring play", "sparring bench"))]
    assert len(named) == 3
    for _, _, id, *_ in named:
        assert full_id(id)
    table = PAGE.partition("| action | |")[2].partition("\n\n")[0]
    actions = [one for cell in re.findall(r"^\| ([^|]+) \|", table, re.M) for one in re.findall(r"`([^`]+)`", cell)]
    assert len(actions) > 15 and all(parse(one) for one in actions)


def test_what_it_counts_is_so() -> None:
    pytest.importorskip("playwright")
    assert f"All {len(tasks.names())} tasks" in PAGE
    assert f"{len(tasks.RELOADED)} pages keep something" in PAGE
    assert f"{len(EXPERTS)} tasks have a scripted expert" in PAGE
    assert Limits().dialogs == 20 and Limits().tabs == 5 and Limits().settle_s == 5
    assert f"replaced after {CONTEXTS_BEFORE_RECYCLING} contexts" in PAGE
