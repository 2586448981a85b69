"""The page docs/algorithms.md: a trainer takes every command and option on it, and no trainer is missing."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from sparring.cli import TRAINERS
from sparring.trainers import grpo
from sparring.trainers.command import parse

PAGE = Path(__file__).parents[2] / "docs" / "algorithms.md"
COMMANDS = re.findall(r"`sparring train (\w+)([^`]*)`", PAGE.read_text())
OPTIONS = re.findall(r"^\| [^|]+ \| `(--[^`]+)` \| [^|]+ \|$", PAGE.read_text().partition("## What grpo")[2], re.M)


@pytest.mark.parametrize(("trainer", "arguments"), COMMANDS)
def test_commands_are_understood(trainer: str, arguments: str) -> None:
    config = parse(importlib.import_module(f"sparring.trainers.{trainer}").Config, trainer, shlex.split(arguments))
    assert config.run


@pytest.mark.parametrize("options", OPTIONS)
def test_options_of_grpo_are_understood(options: str) -> None:
    assert parse(grpo.Config, "grpo", shlex.split(options)) != grpo.Config()


def test_no_trainer_is_missing() -> None:
    assert {trainer for trainer, _ in COMMANDS} == set(TRAINERS)
    assert len(OPTIONS) == 11
