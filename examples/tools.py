"""Train a tiny agent to use tools on the CPU, from poor demonstrations to reinforcement learning, and score it.

    python examples/tools.py
    python examples/tools.py --kind all --imitation-steps 3000   # all four kinds of worlds, which takes longer

The tasks are generated (`sparring/ToolWorld-v1`): an id must be looked up, the call that uses it may run into an error,
and what the error tells of must be cleared. A demonstrator that errs at three turns of ten plays training tasks. A
model of a few hundred thousand weights imitates the episodes that ended well, and then learns by GRPO from its own
reward. It, what it began from, the demonstrator and a random agent play the same held-out tasks, of worlds that are in
no other split. A run that was interrupted goes on when the command is given again.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from sparring.agents.load import Agent, load_agent
from sparring.bench import BenchConfig, bench
from sparring.envs.tools.toolworld.env import Kind
from sparring.errors import SparringError
from sparring.report import Report
from sparring.settings import EnvConfig
from sparring.summary import Comparison

RANDOM, DEMONSTRATOR, IMITATION, RL = "random", "demonstrator", "imitation", "imitation + RL"


@dataclass(frozen=True)
class Demo:
    """How the example runs."""

    out: Path = Path("runs/tools")
    """The run folder of the trained agent; the imitation lies beside it."""
    seed: int = 0
    kind: Kind = "files"
    """Which worlds: files, accounts, calendar, warehouse, or all."""
    demonstrations: int = 3000
    error_rate: float = 0.3
    """How often the demonstrator errs, each turn."""
    imitation_steps: int = 700
    rl_steps: int = 60
    test_tasks: int = 300

    @property
    def options(self) -> dict[str, str]:
        """Of the environment. The tools are not described: a tiny model learns them from examples."""
        return {"kind": self.kind, "docs": "none", "distractors": "0"}

    @property
    def imitation(self) -> Path:
        """The run folder of the imitation."""
        return self.out.with_name(self.out.name + "-imitation")


def commands(demo: Demo) -> list[list[str]]:
    """The two commands that train."""
    options = [part for pair in demo.options.items() for part in pair]
    env = ["--env.id", "ToolWorld-v1", "--env.options", *options, "--env.max-turns", "10"]
    often = ["--eval-every", "20", "--eval-episodes", "100", "--checkpoint-every", "20"]
    imitation = [
        "sft", "--run", str(demo.imitation), *env, "--seed", str(demo.seed),
        "--demos.agent", f"expert:{demo.error_rate}", "--demos.episodes", str(demo.demonstrations),
        "--min-score", "0.9", "--tiny.heads", "2", "--optim.lr", "4e-3", "--optim.decay", "linear",
        "--steps", str(demo.imitation_steps), "--eval-every", "350", "--eval-episodes", "100",
        "--checkpoint-every", "350",
    ]  # fmt: skip
    reinforcement = [
        "grpo", "--run", str(demo.out), *env, "--seed", str(demo.seed), "--model", str(demo.imitation),
        "--advantage", "rloo", "--groups", "16", "--group-size", "8", "--optim.lr", "1.5e-3",
        "--optim.decay", "linear", "--optim.warmup-steps", "5", "--steps", str(demo.rl_steps), *often,
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


def score(demo: Demo) -> tuple[Report, list[Comparison]]:
    """Let everyone play the same tasks; the report, and what RL has added, task by task."""
    config = BenchConfig(EnvConfig("ToolWorld-v1", dict(demo.options), max_turns=10), "test", demo.test_tasks)
    report, found = None, []
    for way in ("greedy", "sampled"):
        report = bench(
            agents(demo),
            config,
            demo.out / "bench",
            baseline=f"{IMITATION} ({way})",
            resume=True,
            show_progress=True,
        )
        found += [one for one in report.comparisons if one.agent == f"{RL} ({way})"]
    assert report is not None
    return report, found


def main(demo: Demo) -> tuple[Report, list[Comparison]]:
    """Run the whole example."""
    began = time.monotonic()
    demo.out.parent.mkdir(parents=True, exist_ok=True)
    train(demo)
    report, comparisons = score(demo)
    report.show(compared=False)
    print()
    print("What reinforcement learning has added in success, task by task, with 95 % intervals:\n")
    for one in comparisons:
        gain = one.success.difference
        print(f"  {one.agent} − {one.baseline}: {gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]")
    print(f"\nIt took {time.monotonic() - began:.0f} s.")
    return report, comparisons


if __name__ == "__main__":
    try:
        main(tyro.cli(Demo, description=__doc__))
    except SparringError as error:
        raise SystemExit(f"error: {error}") from error
