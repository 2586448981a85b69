"""The page docs/new-trainer.md: its file is run by its own commands, and learns."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import sparring
from sparring.agents.models.tiny import build_tiny
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig
from tests.worlds import WORDS

PAGE = Path(__file__).parents[2] / "docs" / "new-trainer.md"


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}[^\n]*\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def reinforce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The page's file as a module."""
    path = tmp_path / "reinforce.py"
    path.write_text(block("python"))
    spec = importlib.util.spec_from_file_location("reinforce", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "reinforce", module)
    spec.loader.exec_module(module)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield module
    torch.set_num_threads(before)


def scores(reinforce: ModuleType, folder: Path) -> list[float]:
    """Mean training scores of a run on the world of `tests.worlds.Copy`, whose chance level is one in eight."""
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=5)
    model = build_tiny(
        ["Say the word.", *WORDS] * 3,
        folder / "model",
        vocabulary=300,
        hidden=32,
        layers=2,
        heads=2,
        max_context=128,
    )
    config = reinforce.Config(
        run=folder / "run",
        model=str(model),
        env=EnvConfig("tests/Copy-v1"),
        agent=AgentConfig(max_action_tokens=8),
        optim=OptimConfig(lr=3e-3, warmup_steps=3),
        loop=LoopConfig(steps=100, eval_every=0, checkpoint_every=100),
        episodes=64,
    )
    return [row["score"] for row in RunFolder(reinforce.train(config)).metrics()]


def test_the_example_learns(reinforce: ModuleType, tmp_path: Path) -> None:
    found = scores(reinforce, tmp_path)
    assert np.mean(found[:10]) == pytest.approx(1 / 8, abs=0.05)
    assert np.mean(found[-10:]) > 0.6


def test_and_nothing_without_its_advantages(
    reinforce: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reinforce.Lesson
    monkeypatch.setattr(
        reinforce, "Lesson", lambda sample, number, advantages_n: real(sample, number, 0 * advantages_n)
    )
    assert np.mean(scores(reinforce, tmp_path)[-10:]) == pytest.approx(1 / 8, abs=0.05)


def test_the_commands_of_the_page(tmp_path: Path) -> None:
    """With a few steps each; what they learn in all of theirs is a slow test's."""
    few = re.sub(r"--steps (\d+)", lambda found: f"--steps {int(found[1]) // 10}", block("sh"))
    run_commands(few, tmp_path)
    assert [row["step"] for row in RunFolder(tmp_path / "runs/reinforce").metrics()] == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_page_learn(tmp_path: Path) -> None:
    run_commands(block("sh"), tmp_path)
    rows = RunFolder(tmp_path / "runs/reinforce").metrics()
    assert [row["step"] for row in rows] == list(range(1, 41))
    assert np.mean([row["return_mean"] for row in rows[-5:]]) > np.mean([row["return_mean"] for row in rows[:5]]) + 0.5
    report = json.loads((tmp_path / "runs/compared/report.json").read_text())
    found = {row["agent"]: row["score"]["estimate"] for row in report["rows"]}
    before, after = (
        sum(found[f"runs/{run} ({mode})"] for mode in ("sampled", "greedy")) for run in ("start", "reinforce")
    )
    assert after > before


def run_commands(commands: str, tmp_path: Path) -> None:
    """The page's file and its commands, one after another, in a folder."""
    (tmp_path / "reinforce.py").write_text(block("python"))
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        command = {"python": sys.executable, "sparring": str(Path(sys.executable).with_name("sparring"))}[program]
        done = subprocess.run(
            [command, *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def test_the_file_is_as_short_as_promised() -> None:
    """What a trainer needs beside its settings is about 60 lines."""
    body = block("python").partition("def train")[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 60
