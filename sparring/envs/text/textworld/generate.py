"""Generates games of TextWorld; run by `games` in a process of its own.

    echo '[[{"challenge": "cooking", …}, "FOLDER"], …]' | python -m sparring.envs.text.textworld.generate

TextWorld's cooking games depend on the order of sets of strings, which differs from process to process unless
`PYTHONHASHSEED` is set before Python starts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sparring.errors import need


def generate(spec: dict[str, Any], folder: Path) -> None:
    """Write `game.z8` and `game.json` into a folder.

    Args:
        spec: `challenge`, its `settings`, `seed`, and whether the objective names the `only_last_action`.
    """
    textworld: Any = need("textworld", "textworld")
    challenges: Any = need("textworld.challenges", "textworld").CHALLENGES
    options = textworld.GameOptions()
    options.seeds = spec["seed"]
    options.path = str(folder / "game.z8")
    options.grammar.only_last_action = spec["only_last_action"]
    _, make, _ = challenges[f"tw-{spec['challenge']}"]
    textworld.generator.compile_game(make(spec["settings"], options), options)


if __name__ == "__main__":
    for wanted, place in json.load(sys.stdin):
        generate(wanted, Path(place))
