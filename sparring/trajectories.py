"""Trajectories on disk: one JSON object a line, compressed with Zstandard.

The lines hold exactly the fields of `sparring.types.Trajectory`, so a file can be read by anything that reads
JSON lines (`zstdcat file | head -1`). Other records that are made of trajectories are kept in the same way.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import cattrs
import zstandard

from sparring.errors import InvalidData
from sparring.runs import write_atomic
from sparring.types import Image, Trajectory

_converter = cattrs.Converter(omit_if_default=True)
# info holds plain scalars only, which cattrs would otherwise try to coerce.
_converter.register_structure_hook(Any, lambda value, _: value)
_converter.register_unstructure_hook(Image, lambda image: base64.b64encode(image.png).decode())
_converter.register_structure_hook(Image, lambda text, _: Image(base64.b64decode(text, validate=True)))


RecordT = TypeVar("RecordT")


def to_json(record: Any) -> str:
    """One line of JSON for a trajectory, or a dataclass that holds some; fields at their defaults are left out."""
    return json.dumps(_converter.unstructure(record), ensure_ascii=False)


def from_json(line: str) -> Trajectory:
    """The inverse of `to_json`.

    Raises:
        InvalidData: the line is no trajectory; the message names the field.
    """
    return parse(line, Trajectory, "trajectory")


def parse(line: str, kind: type[RecordT], name: str) -> RecordT:
    """The inverse of `to_json` for any dataclass.

    Args:
        name: what a message calls the record.
    Raises:
        InvalidData: the line is no such record; the message names the field.
    """
    try:
        return _converter.structure(json.loads(line), kind)
    except json.JSONDecodeError as error:
        raise InvalidData(f"no JSON: {error}") from error
    except cattrs.BaseValidationError as error:
        raise InvalidData("; ".join(cattrs.transform_error(error, path=name))) from error


def write(path: Path, trajectories: Iterable[Trajectory]) -> int:
    """Write a whole file atomically and return how many trajectories it holds."""
    return write_lines(path, map(to_json, trajectories))


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write a file of lines atomically, compressed, and return their number."""
    whole = list(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, zstandard.ZstdCompressor().compress("".join(line + "\n" for line in whole).encode()))
    return len(whole)


def read(path: Path) -> Iterator[Trajectory]:
    """Read the trajectories of a file, or of all the `.jsonl.zst` files of a folder in the order of their names.

    Raises:
        InvalidData: nothing is there, or a line is no trajectory; the message names file, line and field.
    """
    return read_lines(path, from_json, "trajectories")


def read_lines(path: Path, parse_line: Callable[[str], RecordT], records: str) -> Iterator[RecordT]:
    """Read the lines of a file, or of all the `.jsonl.zst` files of a folder in the order of their names.

    Args:
        parse_line: makes a record of a line, or raises InvalidData. records: what a message calls them.
    Raises:
        InvalidData: nothing is there, or a line does not parse; the message names file and line.
    """
    files = sorted(path.glob("*.jsonl.zst")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise InvalidData(f"no {records} at {path}: expected a .jsonl.zst file, or a folder of them")
    for file in files:
        try:
            with file.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
                for number, line in enumerate(io.TextIOWrapper(stream, "utf-8"), 1):
                    try:
                        yield parse_line(line)
                    except InvalidData as error:
                        raise InvalidData(f"{file}, line {number}: {error}") from error
        except zstandard.ZstdError as error:
            raise InvalidData(f"{file} is cut short or no Zstandard file: {error}") from error
