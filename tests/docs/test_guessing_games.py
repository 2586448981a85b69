"""The Python of docs/guessing-games.md runs, and its figures are those of the files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from sparring.envs.text.guess_my_city import GuessMyCity
from sparring.envs.text.twenty_questions import TwentyQuestions

PAGE = (Path(__file__).parents[2] / "docs" / "guessing-games.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_worlds_are_as_large_as_the_page_says() -> None:
    objects, cities = TwentyQuestions().knowledge, GuessMyCity().knowledge
    assert f"({len(objects.items)} common objects, {len(objects.attributes)} attributes)" in PAGE
    countries = {item.group for item in cities.items}
    assert f"({len(cities.items)} cities of {len(countries)} countries, {len(cities.attributes)}" in PAGE
