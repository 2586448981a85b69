"""The command line: help everywhere, and mistakes answered in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sparring
from sparring.cli import main, run
from sparring.errors import MissingExtra, UnknownName


@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["train", "--help"], ["webshop", "--help"], ["--version"]],
    ids=lambda a: "_".join(a) or "bare",
)
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run(arguments)
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    "command", [["envs"], ["play"], ["check"], ["bench"], ["webshop", "build"], ["webshop", "generate"]]
)
def test_every_command_has_help_with_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run([*command, "--help"])
    assert f"sparring {' '.join(command)}" in capsys.readouterr().out.split("Example")[1]


def test_unknown_commands_are_corrected() -> None:
    with pytest.raises(UnknownName, match='Did you mean "bench"'):
        run(["bnech"])
    with pytest.raises(UnknownName, match=r'no trainer "gropo".*Did you mean "grpo"'):
        run(["train", "gropo"])
    with pytest.raises(UnknownName, match='Did you mean "build"'):
        run(["webshop", "buidl"])


def test_errors_are_one_line_and_exit_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["sparring", "play", "Nowhere-v1"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert 'no environment "Nowhere-v1"' in capsys.readouterr().err


def test_envs_lists_what_is_registered(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    sparring.register("tests/Gone-v0", "tests.no_such_module:Gone")
    run(["envs"])
    out = capsys.readouterr().out
    assert "sparring/WebShop-v1" in out
    assert "does not import" in out  # one broken entry hides no other


def test_importing_sparring_brings_nothing_heavy() -> None:
    code = (
        "import sparring, sys; print([m for m in ('torch', 'transformers', 'zstandard', 'tyro') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_brackets_in_messages_are_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They are what extras and actions are written with, and what rich takes for its markup."""

    def missing(arguments: object) -> None:
        raise MissingExtra('pip install "sparring[train]", then click[buy now] [/red]')

    monkeypatch.setattr("sparring.cli.run", missing)
    with pytest.raises(SystemExit):
        main()
    assert '"sparring[train]", then click[buy now] [/red]' in capsys.readouterr().err
