"""The page docs/new-environment.md, followed to the letter in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "new-environment.md"


def blocks() -> list[tuple[str, str, str]]:
    """Language, file name (or nothing), and content of each fenced block, in order."""
    found = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [(language, name, content) for language, name, content in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's files in it."""
    for _, name, content in blocks():
        if name:
            assert Path(name).name == name
            (tmp_path / name).write_text(content)
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    """Run a command as the reader would, with what pip installed on the path."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "site"), "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install(folder: Path) -> str:
    """`pip install` into a folder instead of the tests' own environment, and without the network."""
    where = ["--target", str(folder / "site"), "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    return run([sys.executable, "-m", "pip", "install", *where, "."], folder)


def test_the_page_from_top_to_bottom(folder: Path) -> None:
    output: dict[str, str] = {}
    for language, name, content in blocks():
        if language == "python" and not name:
            run([sys.executable, "-c", content], folder)
        for line in content.splitlines() if language == "sh" else ():
            program, *arguments = shlex.split(line)
            if program == "pip":
                assert arguments == ["install", "-e", "."]
                output[line] = install(folder)
            else:
                assert program == "sparring"
                output[line] = run([str(Path(sys.executable).with_name("sparring")), *arguments], folder)
    assert "acme/Guess-v1" in output["sparring envs"]
    assert "failed" not in output["sparring check acme/Guess-v1"]
    assert "skipped" not in output["sparring check acme/Guess-v1"]
    report = json.loads((folder / "runs/guess/report.json").read_text())
    scores = {row["agent"]: row["score"]["estimate"] for row in report["rows"]}
    # Halving finds one of 100 numbers in at most 7 turns of the 10; ten random guesses find it in about a tenth.
    assert scores["oracle"] == 1.0
    assert scores["random"] < 0.4 < scores["expert:0.5"]


def test_the_class_is_as_short_as_promised() -> None:
    (code,) = (content for _, name, content in blocks() if name == "acme_guess.py")
    assert len([line for line in code.splitlines() if line.strip()]) <= 40


def test_the_page_says_how_many_checks_there_are() -> None:
    from sparring.testing.environment import CHECKS

    assert len(CHECKS) == 14 and "thirteen checks more" in PAGE.read_text()
