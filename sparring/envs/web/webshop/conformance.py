"""Check this shop against recordings of the original.

    python -m sparring.envs.web.webshop.conformance --items items_shuffle_1000.json \\
        --attributes items_ins_v2_1000.json --human items_human_ins.json --nouns nouns.json VECTORS.json …

Prints for each file how many comparisons were made and how many differ, with the first difference in full. Entries
recorded on another data set are counted apart. The exit code is 1 if anything differs or a file can't be read.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparring.envs.web.webshop.build import build
from sparring.envs.web.webshop.catalogue import Catalogue
from sparring.envs.web.webshop.recordings import Check, Subject, check_file
from sparring.errors import SparringError


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sparring.envs.web.webshop.conformance",
        description="Compare this shop with recordings of the original.",
        epilog="Without --nouns a noun table among the vectors is used, or else spaCy.",
    )
    parser.add_argument("--items", type=Path, required=True, help="items_shuffle*.json of the recorded data set")
    parser.add_argument("--attributes", type=Path, required=True, help="its items_ins_v2*.json")
    parser.add_argument("--human", type=Path, help="its items_human_ins.json")
    parser.add_argument("--nouns", type=Path, help="JSON of title nouns, by ASIN or title, also by data set")
    parser.add_argument("--dataset", help="the vectors' name for the data set; told by its ASINs if left out")
    parser.add_argument("vectors", type=Path, nargs="+", help="files of recorded vectors")
    return parser.parse_args(arguments)


def check(path: Path, subject: Subject) -> bool:
    """Check one file, print the outcome, and return whether all is the same."""
    checked = other = 0
    differing: list[Check] = []
    try:
        for result in check_file(json.loads(path.read_text(encoding="utf-8")), subject):
            if not isinstance(result, Check):
                other += 1
                continue
            checked += 1
            if not result.same:
                differing.append(result)
    except (SparringError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
            ArithmeticError, RecursionError) as error:  # fmt: skip
        # A malformed file fails in a place of its own; whatever it is, the other files are still to be checked.
        why = f"{type(error).__name__}: {_show(str(error))}"
        print(f"{path.name}: {checked} checked, then it can't be read further: {why}")
        return False
    aside = f" ({other} not applicable: recorded on another data set)" if other else ""
    print(f"{path.name}: {checked} checked, {len(differing)} mismatches{aside}")
    if differing:
        first = differing[0]
        print(f"  first mismatch: {_show(first.what)}")
        print(f"    expected: {_show(first.expected)}\n    got:      {_show(first.got)}")
    return not differing


def _show(value: object) -> str:
    """The value on one line, with what a terminal would obey or not show (controls, odd blanks) spelt out."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def _noun_table(paths: Sequence[Path]) -> Path | None:
    """The first file of title nouns among the vectors."""
    for path in paths:
        data: Any = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        tables = list(data.values()) if isinstance(data, dict) else []
        if tables and all(isinstance(table, dict) and table for table in tables):
            values = [value for table in tables for value in table.values()]
            if all(isinstance(value, list) and all(isinstance(one, str) for one in value) for value in values):
                return path
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    given = _arguments(arguments)
    try:
        nouns = given.nouns or _noun_table(given.vectors)
        if nouns is not None and given.nouns is None:
            print(f"title nouns are taken from {nouns.name}")
        with tempfile.TemporaryDirectory(prefix="webshop-conformance-") as folder:
            build(given.items, given.attributes, given.human, nouns, Path(folder) / "catalogue")
            subject = Subject(Catalogue(Path(folder) / "catalogue"), given.dataset)
            outcomes = [check(path, subject) for path in given.vectors]
    except (SparringError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
