"""The command line of a trainer: its config dataclass through tyro, with defaults from a file or a run."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import tyro
from rich.console import Console
from transformers.utils import logging as transformers_logging

from sparring.errors import InvalidConfig, SparringError
from sparring.runs import RunFolder, from_plain, unknown_run
from sparring.trainers.session import command_of

ConfigT = TypeVar("ConfigT", bound=Any)


def parse(kind: type[ConfigT], trainer: str, arguments: Sequence[str], description: str | None = None) -> ConfigT:
    """Read a trainer's settings.

    `--config FILE` takes the defaults from a run's config.toml; `--resume` takes them from the run that is to be
    continued; whatever else is given overrides them.

    Args:
        kind: the trainer's config dataclass. trainer: its name.
    Raises:
        InvalidConfig: a file that does not fit, or a value outside what is allowed.
        UnknownName: `--resume` of a folder that holds no run, which would otherwise begin one with all defaults.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    early.add_argument("--run", type=Path, default=next(one.default for one in fields(kind) if one.name == "run"))
    early.add_argument("--resume", action="store_true")
    known, _ = early.parse_known_args(list(arguments))
    rest = list(arguments)
    source: Path | None = None
    if known.config is not None:
        at = next(index for index, one in enumerate(rest) if one == "--config" or one.startswith("--config="))
        del rest[at : at + (1 if "=" in rest[at] else 2)]
        source = known.config
    elif known.resume and not {"-h", "--help"} & set(rest):
        source = RunFolder(known.run).config_path
        if not source.exists():
            raise unknown_run(known.run, "To begin one, leave out --resume.")
    program = command_of(trainer)
    if description:
        description = _with_examples(description, trainer)
    if source is None:
        return tyro.cli(kind, args=rest, prog=program, description=description)
    stored = _read(kind, trainer, source)
    # A dictionary that is not empty would turn `--env.options name value` into one flag for each name.
    bare = replace(stored, env=replace(stored.env, options={}))
    parsed = tyro.cli(kind, args=rest, prog=program, description=description, default=bare)
    return parsed if parsed.env.options else replace(parsed, env=replace(parsed.env, options=stored.env.options))


def _with_examples(description: str, trainer: str) -> str:
    """The docstring of a trainer's module as help: its commands as one types them, under a heading."""
    lines = description.replace(f"python -m sparring.trainers.{trainer}", command_of(trainer)).splitlines()
    first = next((at for at, line in enumerate(lines) if line.startswith("    ")), None)
    if first is not None:
        lines.insert(first, "Examples:")
    return "\n".join(lines)


def run_command(
    kind: type[ConfigT],
    trainer: str,
    train: Callable[[ConfigT], Path],
    arguments: Sequence[str],
    description: str | None = None,
) -> None:
    """Carry out a trainer's command: read its settings, and train."""
    config = parse(kind, trainer, arguments, description)
    transformers_logging.disable_progress_bar()  # loading and saving take a moment, and have no bar of their own
    train(config)


def _read(kind: type[ConfigT], trainer: str, path: Path) -> ConfigT:
    try:
        whole = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidConfig(f"{path} can't be read as a run's config.toml: {error}") from error
    if whole.get("trainer") != trainer:
        raise InvalidConfig(f'{path} holds settings of the trainer "{whole.get("trainer")}", not of {trainer}')
    return from_plain(kind, whole.get("config", {}), str(path))


def run_module(main: Callable[[Sequence[str]], None]) -> None:
    """Run a trainer's `main` as `python -m …`: an expected error is one line, and exit status 2."""
    try:
        main(sys.argv[1:])
    except SparringError as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
