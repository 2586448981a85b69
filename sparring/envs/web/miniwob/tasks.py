"""The tasks of the package `miniwob`: where their pages are, and how each is brought back to its beginning."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import overload

from sparring.envs.text.seeded_tasks import SeededTasks
from sparring.errors import MissingExtra

# Pages that keep something of the episode before (seen, or only in their markup): loading them again begins anew.
RELOADED = frozenset(
    (
        "book-flight", "book-flight-nodelay", "choose-date", "choose-date-easy", "choose-date-medium",
        "choose-date-nodelay", "click-menu-2", "copy-paste-2", "drag-items", "drag-items-grid", "drag-sort-numbers",
        "form-sequence", "scroll-text", "scroll-text-2", "search-engine", "simon-says", "stock-market",
        "use-autocomplete", "use-autocomplete-nodelay", "use-colorwheel", "use-colorwheel-2", "use-slider",
        "use-slider-2", "use-spinner",
    )
)  # fmt: skip


@cache
def folder() -> Path:
    """The folder `html` of the package. The package itself is not imported: it would bring Selenium along.

    Raises:
        MissingExtra: the package is not installed.
    """
    spec = importlib.util.find_spec("miniwob")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra('the package "miniwob" is needed here: pip install "sparring[web]"')
    return Path(next(iter(spec.submodule_search_locations))) / "html"


@cache
def names() -> tuple[str, ...]:
    """The names of all tasks, sorted."""
    return tuple(sorted(path.stem for path in (folder() / "miniwob").glob("*.html")))


class TaskIds(Sequence[str]):
    """The ids `click-test/train/0`, … of some tasks in one split: a seed of each task, then the next seed."""

    def __init__(self, tasks: Sequence[str], split: str, count: int) -> None:
        self._tasks, self._seeds = tuple(tasks), SeededTasks(split, count)

    def __len__(self) -> int:
        return len(self._tasks) * len(self._seeds)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        numbers = range(len(self))[at]
        return self._named(numbers) if isinstance(numbers, int) else [self._named(one) for one in numbers]

    def _named(self, number: int) -> str:
        seed, task = divmod(number, len(self._tasks))
        return f"{self._tasks[task]}/{self._seeds[seed]}"

    def __contains__(self, id: object) -> bool:
        name, _, seed = id.partition("/") if isinstance(id, str) else ("", "", "")
        return name in self._tasks and seed in self._seeds
