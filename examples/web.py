"""Train a tiny agent on pages in Chromium, by imitation and then by reward, and film it at work.

    python examples/web.py
    python examples/web.py --tasks click-button,click-option --rl-steps 60 --out runs/web-names

A demonstrator that errs at two steps of five plays a few tasks of MiniWoB++, and a model of a few hundred thousand
weights imitates it for a short while. From there it learns by its own reward, in 32 pages at once. A random agent, the
demonstrator, the imitation and the trained agent then play the same tasks with seeds that nobody trained on; of the
trained agent a film of each task is kept in `films/` in its run folder.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from sparring.agents.load import Agent, load_agent
from sparring.bench import BenchConfig, bench
from sparring.envs.pool import EnvPool
from sparring.envs.web.browser.film import Film
from sparring.errors import SparringError
from sparring.report import Report
from sparring.rollout import Setting, Start, rollout
from sparring.settings import EnvConfig
from sparring.summary import Comparison

RANDOM, DEMONSTRATOR, IMITATION, RL = "random", "demonstrator", "imitation", "imitation + RL"
ENV, MAX_TURNS = "MiniWoB-v1", 5


@dataclass(frozen=True)
class Demo:
    """How the example runs."""

    out: Path = Path("runs/web")
    """The run folder of the trained agent; the imitation lies beside it."""
    tasks: str = "click-test-2,click-button-sequence,click-dialog,focus-text-2"
    """Tasks of MiniWoB++ for which there is an expert, separated by commas."""
    seed: int = 0
    demonstrations: int = 300
    error_rate: float = 0.4
    """How often the demonstrator errs, each turn."""
    imitation_steps: int = 60
    rl_steps: int = 40
    test_tasks: int = 120

    @property
    def options(self) -> dict[str, str]:
        """Of the environment: what can be clicked gets a number, and clicking is all there is to do."""
        return {"task": self.tasks, "ids": "interactive", "verbs": "click"}

    @property
    def imitation(self) -> Path:
        """The run folder of the imitation."""
        return self.out.with_name(self.out.name + "-imitation")


def commands(demo: Demo) -> list[list[str]]:
    """The two commands that train."""
    options = [part for pair in demo.options.items() for part in pair]
    env = ["--env.id", ENV, "--env.options", *options, "--env.max-turns", str(MAX_TURNS)]
    agent = ["--agent.memory", "last_observation", "--agent.max-action-tokens", "12", "--eval-every", "0"]
    imitation = [
        "sft", "--run", str(demo.imitation), *env, *agent, "--seed", str(demo.seed),
        "--demos.agent", f"expert:{demo.error_rate}", "--demos.episodes", str(demo.demonstrations),
        "--tiny.heads", "2", "--optim.lr", "4e-3", "--optim.decay", "linear", "--steps", str(demo.imitation_steps),
    ]  # fmt: skip
    reinforcement = [
        "grpo", "--run", str(demo.out), *env, *agent, "--seed", str(demo.seed), "--model", str(demo.imitation),
        "--advantage", "rloo", "--groups", "8", "--group-size", "4", "--optim.lr", "1.5e-3", "--optim.decay", "linear",
        "--optim.warmup-steps", "3", "--steps", str(demo.rl_steps), "--checkpoint-every", "10",
        "--save-episodes-every", "0",
    ]  # fmt: skip
    return [imitation, reinforcement]


def train(demo: Demo) -> None:
    """Imitate, then learn by reward. A run folder that is there already is gone on with."""
    for arguments in commands(demo):
        trainer, flag, folder, *rest = arguments
        settings = ["--resume"] if (Path(folder) / "config.toml").exists() else rest
        print(f"\n$ sparring train {' '.join([trainer, flag, folder, *settings])}", flush=True)
        if subprocess.run([sys.executable, "-m", "sparring", "train", trainer, flag, folder, *settings]).returncode:
            raise SystemExit("the run above failed")


def agents(demo: Demo) -> list[Agent]:
    """Everyone who plays the held-out tasks."""
    named = {
        RANDOM: load_agent("random"),
        DEMONSTRATOR: load_agent(f"expert:{demo.error_rate}"),
        IMITATION: load_agent(str(demo.imitation)),
        RL: load_agent(str(demo.out)),
    }
    return [replace(agent, name=name) for name, agent in named.items()]


def score(demo: Demo, players: Sequence[Agent]) -> tuple[Report, list[Comparison]]:
    """Let everyone play the same tasks; the report, and what learning by reward has added, task by task."""
    options = {**demo.options, "test_tasks": str(-(-demo.test_tasks // len(demo.tasks.split(","))))}
    config = BenchConfig(EnvConfig(ENV, options, max_turns=MAX_TURNS), "test", demo.test_tasks, concurrent_episodes=8)
    report, found = None, []
    for way in ("greedy", "sampled"):
        report = bench(
            players,
            config,
            demo.out / "bench",
            baseline=f"{IMITATION} ({way})",
            resume=True,
            show_progress=True,
        )
        found += [one for one in report.comparisons if one.agent == f"{RL} ({way})"]
    assert report is not None
    return report, found


def film(demo: Demo, agent: Agent) -> list[Path]:
    """Film the agent at one episode of each task, and return the films."""
    folder = demo.out / "films"
    folder.mkdir(parents=True, exist_ok=True)
    made, env = [], EnvConfig(ENV, demo.options, max_turns=MAX_TURNS)
    setting = Setting(env.full_id, memory=agent.memory, max_turns=MAX_TURNS)
    with EnvPool(lambda: Film(env.make()), 1) as pool:
        for name in demo.tasks.split(","):
            rollout(agent.greedy or agent.policy, pool, [Start(demo.seed, f"{name}/test/0")], setting)
            made.append(folder / f"{name}.gif")
            pool.envs[0].save(made[-1])  # type: ignore[attr-defined] # all of this pool are films
    return made


def main(demo: Demo) -> tuple[Report, list[Comparison]]:
    """Run the whole example."""
    began = time.monotonic()
    demo.out.parent.mkdir(parents=True, exist_ok=True)
    train(demo)
    players = agents(demo)
    report, comparisons = score(demo, players)
    films = film(demo, players[-1])
    report.show(compared=False)
    print()
    print("What learning by reward has added in success, task by task, with 95 % intervals:\n")
    for one in comparisons:
        gain = one.success.difference
        print(f"  {one.agent} − {one.baseline}: {gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]")
    print(f"\nFilms: {', '.join(map(str, films))}\nIt took {time.monotonic() - began:.0f} s.")
    return report, comparisons


if __name__ == "__main__":
    try:
        main(tyro.cli(Demo, description=__doc__))
    except SparringError as error:
        raise SystemExit(f"error: {error}") from error
