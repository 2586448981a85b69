"""Which games there are, and where: generated once, when first played, and cached."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from sparring.envs.text.seeded_tasks import seed_of
from sparring.errors import EnvFailed, InvalidConfig, need, unknown
from sparring.runs import cache_folder

Challenge = Literal["coin_collector", "treasure_hunter", "cooking", "simple"]
Goal = Literal["route", "last"]

# The settings of each challenge, with their defaults; the package's own documentation says what they mean.
SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "coin_collector": {"level": 5},
        "treasure_hunter": {"level": 5},
        "cooking": {"recipe": 1, "take": 1, "go": 1, "open": False, "cook": False, "cut": False},
        "simple": {"rewards": "dense", "goal": "detailed"},
    }
)
# The First TextWorld Problems divide foods and their preparations in three.
_FOOD_SPLITS = {"train": "train", "dev": "valid", "test": "test"}
_GENERATION_S = 300
_GAMES_IN_MEMORY = 32


@dataclass(frozen=True, slots=True)
class GameBook:
    """The games of one challenge and its settings, one a task.

    Attributes:
        settings: pairs, sorted. goal: whether objectives name the whole route or but its last step.
    """

    challenge: str
    settings: tuple[tuple[str, Any], ...]
    goal: Goal

    @classmethod
    def of(cls, challenge: str, settings: Mapping[str, Any] | None, goal: Goal) -> GameBook:
        """Check settings, and complete them by the defaults.

        Raises:
            UnknownName: no such challenge or setting. InvalidConfig: no such goal.
        """
        if challenge not in SETTINGS:
            raise unknown("challenge", challenge, SETTINGS)
        if goal not in ("route", "last"):
            raise InvalidConfig(f"goal must be route or last, got {goal!r}")
        for name in settings or {}:
            if name not in SETTINGS[challenge]:
                raise unknown(f"setting of {challenge}", name, SETTINGS[challenge])
        return cls(challenge, tuple(sorted({**SETTINGS[challenge], **(settings or {})}.items())), goal)

    def game(self, task: str) -> Path:
        """The compiled game of a task, generated if it is not in the cache (a few seconds).

        Raises:
            EnvFailed: TextWorld can't generate it; the message ends with what it said.
        """
        self.prepare([task])
        return self._folder(task) / "game.z8"

    def prepare(self, tasks: Iterable[str]) -> None:
        """Generate the games of many tasks, those that are not in the cache yet, in one process.

        It takes less time than one by one, since a process reads a challenge's grammar, which takes longest, once.

        Raises:
            EnvFailed: as `game`.
        """
        missing = {self._folder(task): self._spec(task) for task in tasks if not self._folder(task).exists()}
        if missing:
            _generate(missing)

    def _folder(self, task: str) -> Path:
        version = str(need("textworld.version", "textworld").__version__)
        spec = json.dumps(self._spec(task), sort_keys=True)
        digest = hashlib.sha256(f"{version} {spec}".encode()).hexdigest()[:16]
        return cache_folder() / "textworld" / f"{self.challenge}-{task.replace('/', '-')}-{digest}"

    def _spec(self, task: str) -> dict[str, Any]:
        split, seed = task.partition("/")[0], seed_of(task)
        settings = dict(self.settings)
        if self.challenge == "cooking":
            settings |= {"drop": False, "recipe_seed": 0, "split": _FOOD_SPLITS[split]}
        if self.challenge == "simple":
            settings["test"] = split == "test"
        only_last = self.goal == "last"
        return {"challenge": self.challenge, "settings": settings, "seed": seed, "only_last_action": only_last}


def _generate(specs: Mapping[Path, Mapping[str, Any]]) -> None:
    """Generate aside, then rename, so that a folder is whole or not there, whoever else generates the same."""
    parent = next(iter(specs)).parent
    parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".generating-", dir=parent))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sparring.envs.text.textworld.generate"],
            input=json.dumps([[spec, str(aside / folder.name)] for folder, spec in specs.items()]),
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=_GENERATION_S * len(specs),
            check=False,
        )
        for folder in specs:
            if not (aside / folder.name / "game.z8").exists():
                said = (done.stderr or done.stdout).strip()[-400:]
                raise EnvFailed(f"TextWorld could not generate {json.dumps(specs[folder])}: {said}")
            try:
                (aside / folder.name).rename(folder)
            except OSError:
                if not folder.exists():  # another process was not simply faster
                    raise
    except subprocess.TimeoutExpired as error:
        raise EnvFailed(f"TextWorld took more than {error.timeout:.0f} s to generate {len(specs)} games") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@lru_cache(maxsize=_GAMES_IN_MEMORY)
def read_game(path: Path) -> tuple[Any, Any]:
    """A game's logic, and what puts its actions into commands; neither is ever changed."""
    textworld: Any = need("textworld", "textworld")
    inform: Any = need("textworld.generator.inform7", "textworld")
    game = textworld.Game.load(str(path.with_suffix(".json")))
    return game, inform.Inform7Game(game)
