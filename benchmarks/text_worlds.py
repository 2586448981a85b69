"""What the text worlds cost and how hard they are: steps per CPU second, milliseconds a reset, oracle and random score.

    python benchmarks/text_worlds.py                         # every text world that is installed
    python benchmarks/text_worlds.py --worlds TextCraft-v1 Gem-v1
    python benchmarks/text_worlds.py --rom lamp.z3           # Jericho, which ships no games, on this one

A world whose package is not installed is passed over, and figures of it from an earlier run are kept. Results are
written after each world. CPU time is this process's and that of the Java process which ScienceWorld starts.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from record import RESULTS, record

import sparring
from sparring.agents.scripted import random_action
from sparring.envs.base import TextEnv
from sparring.errors import EnvFailed, MissingExtra
from sparring.registration import describe, env_ids
from sparring.types import ActionSet, Form, Observation, Prompt

_MOST_CPU_S = 25.0  # after which an agent begins no further episode in a world; the figures say how many it played
_ANYTHING = ActionSet(forms=(Form("", ""),))
NOTES = (
    "CPU seconds of reset and step alone, of this process and of the Java process that ScienceWorld starts; what "
    "asking the oracle costs is not in them. "
    "score is a mean over the episodes, of the reported score or the clipped return where an episode was cut off. "
    "random draws from what the world lists as admissible; gem's games from gem's own random actions. A world that "
    "lists no actions gets random letters, which says little more than that it stands them."
)


@dataclass(slots=True)
class Played:
    """What one agent's episodes took and reached."""

    reset_s: list[float] = field(default_factory=list)
    step_s: float = 0.0
    steps: int = 0
    scores: list[float] = field(default_factory=list)
    successes: list[bool] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        return {
            "episodes": len(self.scores),
            "steps": self.steps,
            "steps_per_cpu_s": round(self.steps / self.step_s, 1) if self.step_s else None,
            "reset_cpu_ms_median": round(median(self.reset_s) * 1e3, 3),
            "score": round(mean(self.scores), 3),
            "success": round(mean(self.successes), 3),
        }


def cpu_s(env: Any) -> float:
    """CPU seconds of this process and of the Java process of an environment that has one."""
    spent = time.process_time()
    simulator = getattr(env.unwrapped, "_simulator", None)
    if simulator is not None and simulator.close.alive:
        ticks = Path(f"/proc/{simulator._process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        spent += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return spent


def play(
    env: Any, agent: Callable[[str, dict[str, Any], np.random.Generator], str], split: str, episodes: int
) -> Played:
    """Play `episodes` tasks spread over the split, or fewer if they take too long."""
    played = Played()
    tasks = env.unwrapped.task_ids(split)
    env.reset(seed=0, options={"split": split})  # what is loaded once is loaded here
    started = cpu_s(env)
    for number in range(min(episodes, len(tasks))):
        rng = np.random.default_rng(number)
        began = cpu_s(env)
        text, info = env.reset(seed=number, options={"task": tasks[number * len(tasks) // min(episodes, len(tasks))]})
        played.reset_s.append(cpu_s(env) - began)
        known, total, over = dict(info), 0.0, False
        while not over:
            action = agent(text, known, rng)
            began = cpu_s(env)
            text, reward, terminated, truncated, info = env.step(action)
            played.step_s += cpu_s(env) - began
            played.steps += 1
            total, over, known = total + reward, terminated or truncated, known | info
        played.scores.append(float(info.get("score", min(max(total, 0.0), 1.0))))
        played.successes.append(bool(info.get("success", False)))
        if cpu_s(env) - started > _MOST_CPU_S:
            break
    return played


def measure(id: str, options: dict[str, Any], episodes: int) -> dict[str, Any]:
    """All figures of one world."""
    max_turns = None if describe(id).max_turns else 50
    env: Any = sparring.make(id, max_turns=max_turns, **options)
    core: TextEnv = env.unwrapped
    split = core.splits[-1]

    def at_random(text: str, info: dict[str, Any], rng: np.random.Generator) -> str:
        if hasattr(core, "sample_action"):
            return str(core.sample_action())
        seen = Observation(text, info.get("actions", _ANYTHING))
        return random_action(Prompt((), seen, str(info.get("instruction", ""))), rng)

    try:
        figures: dict[str, Any] = {"split": split, "tasks": len(core.task_ids(split)), "options": _plain(options)}
        figures["random"] = play(env, at_random, split, episodes).figures()
        if type(core).expert_action is not TextEnv.expert_action:
            figures["oracle"] = play(env, lambda *_: core.expert_action(), split, episodes).figures()
        return figures
    finally:
        env.close()


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value.name if isinstance(value, Path) else value for name, value in options.items()}


def worlds(rom: Path | None, walkthrough: str, max_score: int | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """The text worlds of the registry, and those that take options; by the name that results go under."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for id in env_ids():
        if describe(id).cls.__module__.startswith("sparring.envs.text."):
            found[id.removeprefix("sparring/")] = (id, {})
    found.pop("Jericho-v1", None)
    if rom:
        given = {"rom": rom, "walkthrough": tuple(filter(None, walkthrough.split("/"))), "max_score": max_score}
        found[f"Jericho-v1 {rom.name}"] = ("sparring/Jericho-v1", given | {"actions": "words"})
    for game in ("game:Mastermind-v0-easy", "game:Minesweeper-v0-easy", "game:Game2048-v0-easy"):
        found[f"Gem-v1 {game}"] = ("sparring/Gem-v1", {"game": game})
    for game in ("Mastermind-v0", "FrozenLake-v0", "Sudoku-v0"):
        found[f"TextArena-v1 {game}"] = ("sparring/TextArena-v1", {"game": game})
    found["ScienceWorld-v1 listed, easy"] = ("sparring/ScienceWorld-v1", {"actions": "list", "simplification": "easy"})
    return found


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="*", help="names as in the results; by default all")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--rom", type=Path, help="a story file for Jericho")
    parser.add_argument("--walkthrough", default="", help="its commands, separated by /")
    parser.add_argument("--max-score", type=int)
    given = parser.parse_args()
    earlier = RESULTS / "text_worlds.json"
    figures: dict[str, Any] = json.loads(earlier.read_text())["figures"] if earlier.exists() else {}
    for name, (id, options) in worlds(given.rom, given.walkthrough, given.max_score).items():
        if given.worlds and name not in given.worlds:
            continue
        try:
            figures[name] = measure(id, options, given.episodes)
        except (MissingExtra, EnvFailed) as error:
            print(f"{name}: {error}")
            continue
        print(name, json.dumps(figures[name]), flush=True)
        record("text_worlds", dict(sorted(figures.items())), seeds=list(range(given.episodes)), notes=NOTES)


if __name__ == "__main__":
    main()
