"""How fast steps in a browser are: MiniWoB++ here and in BrowserGym, the same pages, random clicks, one by one.

python -m venv /tmp/peer && /tmp/peer/bin/pip install browsergym-miniwob==0.14.3 miniwob==1.1.0
python benchmarks/browser_speed.py --peer /tmp/peer/bin/python
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from process_tree import cpu_seconds
from record import record

from sparring.envs.web.browser import chromium
from sparring.envs.web.miniwob.env import MiniWoB
from sparring.errors import SparringError

# Ten tasks of different kinds: buttons, links, fields, lists, tabs, dialogs, tables, an inbox.
TASKS = (
    "click-test", "click-button", "click-link", "click-checkboxes", "click-tab-2", "click-dialog", "enter-text",
    "choose-list", "login-user", "email-inbox",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """What is measured."""

    peer: Path | None = None
    """The interpreter of an environment with browsergym-miniwob; without it only sparring is measured."""
    steps: int = 60
    """Steps of each task."""
    peer_steps: int = 8
    """Steps of each task in the peer, which is slower."""
    rounds: int = 2
    """How often everything is repeated, in turns, so that a busy moment of the machine meets both."""


def play(steps: int, screenshots: bool) -> dict[str, list[float]]:
    """Click at random on each task; seconds of each reset and step, and CPU seconds of each step with all processes."""
    resets, taken, cpus = [], [], []
    for name in TASKS:
        rng = np.random.default_rng(len(name))
        env = MiniWoB(name, verbs="click")
        done, number, info, before = True, 0, {}, 0.0
        for count in range(steps + 1):
            if done:
                began = time.perf_counter()
                _, info = env.reset(options={"task": f"{name}/train/{number}"})
                if number:  # the first loads the page and perhaps starts the browser; it is counted apart below
                    resets.append(time.perf_counter() - began)
                number, done = number + 1, False
            choices = info["actions"].choices
            # Reading /proc takes longer than a step: CPU time is read every tenth step, over ten of them.
            if count % 10 == 0:
                used = cpu_seconds()
                if count:
                    cpus.append((used - before) / 10)
                before = cpu_seconds()
            began = time.perf_counter()
            _, _, done, _, info = env.step(str(rng.choice(choices)) if choices else "wait")
            if screenshots:
                env.screenshot()
            taken.append(time.perf_counter() - began)
        env.close()
    return {"resets": resets, "steps": taken, "cpus": cpus}


def play_peer(config: Config, delay_s: float) -> dict[str, Any]:
    """The same in BrowserGym, with a delay before each observation (its own default is 0.5 s)."""
    settings = {
        "tasks": TASKS, "steps": config.peer_steps, "chromium": str(chromium.executable()),
        "options": {"pre_observation_delay": delay_s},
    }  # fmt: skip
    script = Path(__file__).with_name("browsergym_steps.py")
    command = [str(config.peer), str(script), json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peer failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds of steps and resets, CPU milliseconds of a step."""
    steps, resets, cpus = ([1000 * one for run in runs for one in run[name]] for name in ("steps", "resets", "cpus"))
    return {
        "step_ms_median": round(statistics.median(steps), 1),
        "step_ms_mean": round(statistics.fmean(steps), 1),
        "step_ms_p90": round(statistics.quantiles(steps, n=10)[-1], 1),
        "step_cpu_ms_mean": round(statistics.fmean(cpus), 1),
        "reset_ms_median": round(statistics.median(resets), 1),
        "steps": len(steps),
    }


def main(config: Config) -> None:
    """Measure, print and record."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(config.rounds):
        runs.setdefault("sparring, text", []).append(play(config.steps, screenshots=False))
        runs.setdefault("sparring, text and screenshot", []).append(play(config.steps, screenshots=True))
        if config.peer is not None:
            runs.setdefault("browsergym as it comes", []).append(play_peer(config, 0.5))
            runs.setdefault("browsergym without its delay", []).append(play_peer(config, 0.0))
    figures: dict[str, Any] = {name: summary(found) for name, found in runs.items()}
    if config.peer is not None:
        figures["browsergym version"] = runs["browsergym as it comes"][0]["version"]
        for ours in ("sparring, text", "sparring, text and screenshot"):
            for theirs in ("browsergym as it comes", "browsergym without its delay"):
                figures[f"{theirs} / {ours}"] = {
                    name: round(figures[theirs][name] / figures[ours][name], 1)
                    for name in ("step_ms_median", "step_cpu_ms_mean", "reset_ms_median")
                }
    print(json.dumps(figures, indent=2))
    notes = (
        "Random clicks on the same ten tasks of MiniWoB++. BrowserGym's observation always holds a screenshot, the DOM "
        "and the accessibility tree. CPU time is of all processes: Python, Playwright's driver and Chromium."
    )
    record("browser_speed", {"tasks": list(TASKS), **figures}, seeds=[0], notes=notes)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except SparringError as error:
        sys.exit(f"error: {error}")
