"""The run folder: what a training run leaves behind, written so that nothing is ever half there.

    runs/<name>/
      config.toml                 the resolved settings; `--config runs/<name>/config.toml` replays them
      metrics.jsonl               one JSON object a logged step
      trajectories/*.jsonl.zst    episodes, one JSON object a line
      checkpoints/step-N/         a Hugging Face folder, with the optimiser's and generators' state beside it
      curve.png, report.md        what there is to see

A file is written under another name and then renamed, so that a killed run leaves the last whole version.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import cattrs
import tomli_w

from sparring.errors import InvalidConfig, InvalidData, UnknownName, unknown

ConfigT = TypeVar("ConfigT")

_converter = cattrs.Converter(forbid_extra_keys=True)
_converter.register_unstructure_hook(Path, str)
_converter.register_structure_hook(Path, lambda value, _: Path(value))


def cache_folder() -> Path:
    """Where generated files are kept: `$SPARRING_CACHE`, else `sparring` in the user's cache folder."""
    own = os.environ.get("SPARRING_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sparring"


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader (or a crash) sees the old version or the new one, never a part."""
    partial = path.with_name(path.name + ".partial")
    data = content.encode() if isinstance(content, str) else content
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


@contextlib.contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Fill a folder so that it appears whole: yields a partial folder, renamed to `path` on a clean exit."""
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)


def to_plain(config: object) -> dict[str, Any]:
    """A config dataclass as nested dictionaries of plain values; fields that are None are left out."""

    def without_none(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: without_none(item) for key, item in value.items() if item is not None}
        return [without_none(item) for item in value] if isinstance(value, (list, tuple)) else value

    plain: dict[str, Any] = without_none(_converter.unstructure(config))
    return plain


def from_plain(kind: type[ConfigT], plain: Mapping[str, Any], source: str = "config") -> ConfigT:
    """The inverse of `to_plain`.

    Raises:
        InvalidConfig: a key that `kind` does not have, or a value of the wrong type; the message says which.
    """
    try:
        return _converter.structure(plain, kind)
    except cattrs.BaseValidationError as error:
        raise InvalidConfig(f"{source}: " + "; ".join(cattrs.transform_error(error, path="config"))) from error


def unknown_run(path: Path, hint: str = "") -> UnknownName:
    """The error for a folder that holds no run, naming the nearest beside it that does."""
    beside = [str(config.parent) for config in path.parent.glob("*/config.toml")]
    return unknown("run", path, beside, f"A run is a folder with a config.toml in it. {hint}".strip())


class RunFolder:
    """Reads and writes one run folder.

    Use `create` for a run of one's own and `open` to read somebody's.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: Path, trainer: str, config: object, *, resume: bool = False) -> RunFolder:
        """Begin a run, or continue one.

        Args:
            trainer: name of the trainer, written into config.toml. config: its frozen dataclass.
            resume: continue what the folder holds; a folder that does not exist yet simply begins.
        Raises:
            InvalidConfig: the folder already holds a run and `resume` was not asked for, or it holds another
                trainer's.
        """
        run = cls(path)
        if run.config_path.exists():
            if not resume:
                raise InvalidConfig(
                    f"{path} already holds a run. Continue it with --resume, or name another folder with --run"
                )
            found = run.trainer
            if found != trainer:
                raise InvalidConfig(f"{path} holds a run of {found}, which {trainer} can't continue")
        run.path.mkdir(parents=True, exist_ok=True)
        write_atomic(run.config_path, tomli_w.dumps({"trainer": trainer, "config": to_plain(config)}))
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open an existing run.

        Raises:
            InvalidConfig: the folder holds no run.
        """
        run = cls(path)
        if not run.config_path.exists():
            raise InvalidConfig(f"{path} holds no run: there is no config.toml in it")
        return run

    @property
    def config_path(self) -> Path:
        return self.path / "config.toml"

    @property
    def plain_config(self) -> dict[str, Any]:
        """The settings as nested dictionaries."""
        return dict(self._read().get("config", {}))

    @property
    def trainer(self) -> str:
        """Name of the trainer that made this run."""
        return str(self._read().get("trainer", ""))

    def config(self, kind: type[ConfigT]) -> ConfigT:
        """The settings as the trainer's dataclass.

        Raises:
            InvalidConfig: they do not fit it.
        """
        return from_plain(kind, self.plain_config, str(self.config_path))

    def _read(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.config_path.read_text())
        except tomllib.TOMLDecodeError as error:
            raise InvalidConfig(f"{self.config_path} is no TOML: {error}") from error

    # Metrics

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one row to metrics.jsonl; it holds at least `step`."""
        with self.metrics_path.open("a") as file:
            file.write(json.dumps(dict(row)) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All rows so far. A last line that a crash cut short is left out."""
        if not self.metrics_path.exists():
            return []
        rows = []
        lines = self.metrics_path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                if number < len(lines):
                    raise InvalidData(f"{self.metrics_path}, line {number}: {error}") from error
        return rows

    def rewind_metrics(self, step: int) -> None:
        """Drop the rows after `step`, which a resumed run will write again."""
        kept = [row for row in self.metrics() if row["step"] <= step]
        write_atomic(self.metrics_path, "".join(json.dumps(row) + "\n" for row in kept))

    # Checkpoints

    @contextlib.contextmanager
    def checkpoint(self, step: int, *, keep: int | None = None) -> Iterator[Path]:
        """Yield a folder to write a checkpoint into; it becomes `checkpoints/step-N` on a clean exit.

        Args:
            keep: afterwards delete all but the newest `keep` checkpoints; None keeps them all.
        """
        with write_folder(self.path / "checkpoints" / f"step-{step}") as folder:
            yield folder
        if keep is not None:
            for old in list(self.checkpoints().values())[:-keep]:
                shutil.rmtree(old)

    def checkpoints(self) -> dict[int, Path]:
        """Whole checkpoints by step, oldest first."""
        found = {}
        for path in (self.path / "checkpoints").glob("step-*"):
            match = re.fullmatch(r"step-(\d+)", path.name)
            if match:
                found[int(match[1])] = path
        return dict(sorted(found.items()))

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        """Step and folder of the newest checkpoint, None where there is none."""
        found = self.checkpoints()
        if not found:
            return None
        step = max(found)
        return step, found[step]

    # Trajectories

    def trajectories_path(self, name: str) -> Path:
        """Where the trajectories called `name` belong."""
        return self.path / "trajectories" / f"{name}.jsonl.zst"
