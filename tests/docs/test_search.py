"""The page docs/search.md: its commands run, its Python runs, and its tables name what there is."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sparring import cli
from sparring.errors import InvalidConfig
from sparring.search.agent import SearchSpec
from sparring.search.rules import PRESETS
from sparring.types import Action, Prompt
from tests.search.worlds import uniform

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_worked_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line.partition(">")[0].partition("#")[0] for block in blocks("bash") for line in block.splitlines()]
    assert len(lines) == 7
    for line in lines:
        capsys.readouterr()
        program, *arguments = shlex.split(line)
        assert program == "sparring"
        cli.run(arguments)
        if arguments[0] == "search":
            shown = [" ".join(row.split()) for row in capsys.readouterr().out.splitlines()]
            for row in blocks("text")[0].splitlines()[1:-1]:
                assert " ".join(row.split()) in shown or "…" in row


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    [block] = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_all_methods_and_evaluators_are_on_the_page() -> None:
    table = set(re.findall(r"^\| `([\w-]+)`", PAGE.partition("## Training on trees")[0], re.MULTILINE))
    assert table >= set(PRESETS)
    for evaluator in table - set(PRESETS):
        hidden = "" if evaluator == "playout" else "@outcome=hidden"
        spec = SearchSpec.parse(f"search:mcts@evaluator={evaluator}{hidden}:random")
        if evaluator in ("value", "ahead"):
            with pytest.raises(InvalidConfig, match="value model of a run"):
                spec.searcher(uniform())
        else:
            assert spec.searcher(Speaker())


class Speaker:
    """Stands for a model: it says something, whatever it is asked."""

    version = 0

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        return [Action("well") for _ in prompts]
