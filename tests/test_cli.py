"""The command line: help everywhere, and mistakes answered in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sparring
from sparring import cli
from sparring.cli import TRAINERS, main, run
from sparring.errors import MissingExtra, UnknownName
from sparring.registration import PluginWarning, env_ids


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


def test_each_environment_has_one_line_in_a_usual_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run(["envs"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("sparring/")]
    assert len(lines) == sum(id.startswith("sparring/") for id in env_ids())
    assert [line.split() for line in lines if "WebShop-v1" in line] == [
        ["sparring/WebShop-v1", "train,", "dev,", "test", "yes", "copy", "100"]
    ]


@pytest.mark.parametrize("trainer", list(TRAINERS))
def test_help_of_a_trainer_shows_commands_as_they_are_typed(trainer: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["train", trainer, "--help"])
    out = capsys.readouterr().out
    assert "\nExamples:\n    sparring train " in out
    assert f"    sparring train {trainer} --" in out
    assert "python -m" not in out


def test_a_plug_in_that_fails_is_named_in_one_line() -> None:
    said = cli._format_warning(PluginWarning("the plug-in bad failed"), PluginWarning, "registration.py", 133)
    assert said == "warning: the plug-in bad failed\n"
    assert "x.py:7: UserWarning: else" in cli._format_warning(UserWarning("else"), UserWarning, "x.py", 7)


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
