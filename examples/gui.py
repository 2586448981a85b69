"""Teach a tiny vision-language model to click on what it sees, on the CPU, and keep pictures of it at work.

    python examples/gui.py    # find the icon: some minutes on two cores
    python examples/gui.py --page --out runs/gui-page    # the button of a page in Chromium (MiniWoB++'s click-test)
    python examples/gui.py --widgets 2 --colours 2 --imitation-steps 600 --rl-steps 150   # two icons: harder

A demonstrator with a shaky hand clicks near what is asked for on generated screens, and often beside it. A model of a
quarter million weights, which sees nothing but pixels, imitates it, and then learns from hits and misses of its own.
Both are scored on the same held-out screens. Where Xvfb is installed, the expert's way through one task of each kind on
the live desktop is kept as well, and some rows of a data set of screenshots.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from sparring import trajectories
from sparring.agents.load import Agent, load_agent
from sparring.bench import BenchConfig, bench
from sparring.envs.gui.actions import GuiAction, Kind, parse, write
from sparring.envs.gui.geometry import to_pixel
from sparring.envs.gui.grounding import ScreenGrounding
from sparring.envs.gui.pictures import marked, write_strip
from sparring.envs.pool import EnvPool
from sparring.errors import MissingExtra, SparringError
from sparring.report import Report
from sparring.rollout import Setting, Start, rollout
from sparring.settings import EnvConfig
from sparring.summary import Comparison
from sparring.types import Action, Prompt, Trajectory

BEFORE, AFTER = "imitation", "imitation + RL"


@dataclass(frozen=True)
class Demo:
    """How the demo runs."""

    out: Path = Path("runs/gui")
    """The folder of everything that it writes."""
    seed: int = 0
    widgets: int = 1
    """Icons on a screen, of which one is asked for."""
    colours: int = 8
    """Of how many colours they are; no two icons share theirs."""
    page: bool = False
    """Find the button on a page in Chromium instead, which is in another place in each episode."""
    demonstrations: int = 4000
    shake: float = 0.12
    """How far the demonstrator's hand strays, as a share of the screen (standard deviation)."""
    imitation_steps: int = 250
    rl_steps: int = 60
    test_screens: int = 400

    @property
    def env(self) -> EnvConfig:
        """Small screens, of which the text says nothing."""
        if self.page:
            page = {"task": "click-test", "test_tasks": str(self.test_screens)}
            return EnvConfig("sparring/MiniWoB-v1", page, wrappers=("pixels",), max_turns=1)
        options = {
            "width": 48, "height": 48, "side": 14, "widgets": self.widgets, "colours": self.colours, "kinds": "icon",
            "described": False, "hint": False, "step": 100,
        }  # fmt: skip
        return EnvConfig("sparring/ScreenGrounding-v1", {name: str(value) for name, value in options.items()})

    def common(self, name: str) -> list[str]:
        """What both training commands are told."""
        options = [part for pair in self.env.options.items() for part in pair]
        page = ["--env.wrappers", *self.env.wrappers, "--env.max-turns", "1"] if self.page else []
        return [
            "--run", str(self.out / name), "--env.id", self.env.id, "--env.options", *options, *page,
            "--seed", str(self.seed),
            "--agent.no-constrained", "--agent.max-action-tokens", "8", "--eval-episodes", "100",
        ]  # fmt: skip


class ShakyHand:
    """Clicks near what is asked for.

    Args:
        shake: standard deviation of the miss, as a share of the screen.
        grid: all clicks are on multiples of it, as a share of the screen.
    """

    version = 0

    def __init__(self, shake: float, grid: float) -> None:
        self.shake, self.grid = shake, grid

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        """The expert's click, moved at random and put on the grid."""
        return [Action(self._miss(prompt)) for prompt in prompts]

    def _miss(self, prompt: Prompt) -> str:
        assert prompt.observation.expert is not None
        point = parse(prompt.observation.expert).point
        assert point is not None
        moved = np.array(point) + np.random.default_rng(prompt.seed).normal(0, self.shake, 2)
        x, y = np.clip((moved / self.grid).round() * self.grid, 0, 1).tolist()
        return write(GuiAction(Kind.CLICK, point=(x, y)))


def demonstrate(demo: Demo) -> Path:
    """Let the shaky hand play training screens, and return the file of its episodes."""
    path = demo.out / "demonstrations.jsonl.zst"
    rng = np.random.default_rng([demo.seed, 0])
    seeds = rng.integers(2**31, size=demo.demonstrations).tolist()
    starts = [Start(seed, split="train", sampling_seed=at) for at, seed in enumerate(seeds)]
    setting = Setting(demo.env.full_id, max_turns=demo.env.max_turns)
    hand = ShakyHand(demo.shake, 0.05 if demo.page else 0.1)  # the page's button is smaller than an icon
    with EnvPool(replace(demo.env, wrappers=("expert", *demo.env.wrappers)).maker(), 32) as pool:
        played = rollout(hand, pool, starts, setting)
    hits = sum(one.success for one in played) / len(played)
    print(f"{len(played)} demonstrations, of which {hits:.0%} hit", flush=True)
    trajectories.write(path, played)
    return path


def train(demo: Demo, data: Path) -> None:
    """Imitate, then learn by reward."""
    imitation = [
        "sft", *demo.common("imitation"), "--model", "tiny-vision", "--data", str(data),
        "--tiny.picture", "48", "--tiny.patch", "8", "--tiny.hidden", "64", "--tiny.layers", "2",
        "--tiny.vocabulary", "512", "--batch-episodes", "32", "--optim.lr", "3e-3",
        "--steps", str(demo.imitation_steps), "--eval-every", "50", "--checkpoint-every", "100",
    ]  # fmt: skip
    reinforcement = [
        "grpo", *demo.common("rl"), "--model", str(demo.out / "imitation"), "--groups", "8" if demo.page else "24",
        "--group-size", "8",
        "--advantage", "rloo", "--optim.lr", "1e-3", "--optim.warmup-steps", "5",
        "--steps", str(demo.rl_steps), "--eval-every", "20", "--checkpoint-every", "20", "--save-episodes-every", "0",
    ]  # fmt: skip
    for arguments in (imitation, reinforcement):
        print("\n$ sparring train " + " ".join(arguments), flush=True)
        command = (sys.executable, "-m", "sparring", "train", *arguments)
        if subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode:
            raise SystemExit("the run above failed")


def score(demo: Demo) -> tuple[Report, list[Comparison], list[Agent]]:
    """Let both models play the same held-out screens."""
    agents = [
        replace(load_agent(str(demo.out / folder)), name=name)
        for name, folder in ((BEFORE, "imitation"), (AFTER, "rl"))
    ]
    config = BenchConfig(replace(demo.env, wrappers=()), "test", demo.test_screens)  # runs bring their own wrappers
    folder = demo.out / "bench"
    report = bench(agents, config, folder, baseline=f"{BEFORE} (sampled)", resume=folder.exists(), show_progress=True)
    found = [one for one in report.comparisons if one.agent == f"{AFTER} (sampled)"]
    return report, found, agents


def keep_pictures(demo: Demo, agents: Sequence[Agent]) -> list[Path]:
    """Screens with the clicks of each model marked on them; of the desktop, the expert's way through each task."""
    paths = []
    starts = [Start(0, task=f"{'click-test/' if demo.page else ''}test/{number}") for number in range(8)]
    setting = Setting(demo.env.full_id, max_turns=demo.env.max_turns)
    for agent in agents:
        with EnvPool(demo.env.maker(), len(starts)) as pool:
            played = rollout(agent.greedy or agent.policy, pool, starts, setting)
        scale = 1 if demo.page else 4
        shots = [marked(one.turns[0].observation, one.turns[0].action.text, scale=scale) for one in played]
        paths.append(write_strip(shots, demo.out / f"clicks-{agent.name.replace(' ', '')}.png"))
    for id in ("Desktop-v1", "DesktopApplications-v1"):
        try:
            paths += [write_strip(shots, demo.out / f"{name}.png") for name, shots in desktop_at_work(id)]
        except MissingExtra as missing:
            print(f"no pictures of {id}: {missing}")
    shots = dataset_at_work(write_dataset(demo.out / "dataset"))
    return [*paths, write_strip(shots, demo.out / "dataset.png")]


def write_dataset(folder: Path) -> Path:
    """Generated screens as a data set in ScreenSpot's style: screenshots, and rows with a box of what is asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(4):
        env = ScreenGrounding(hint=False)
        _, info = env.reset(options={"task": f"test/{number}"})
        screenshot, box = Path(f"{number}.png"), env.screen.box(env.screen.target)
        (folder / screenshot).write_bytes(info["image"].png)
        left, top = to_pixel((box.left, box.top), info["image"].size)
        right, bottom = to_pixel((box.right, box.bottom), info["image"].size)
        sides = [left, top, right - left, bottom - top]
        rows.append({"img_filename": str(screenshot), "bbox": sides, "instruction": info["instruction"]})
    path = folder / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def dataset_at_work(path: Path) -> list[bytes]:
    """The expert on the first rows of a data set, with its clicks marked."""
    config = EnvConfig("sparring/ScreenDataset-v1", options={"path": str(path)}, wrappers=("expert",))
    with EnvPool(config.maker(), 1) as pool:
        tasks = list(pool.envs[0].unwrapped.task_ids("test"))[:4]
        starts = [Start(0, task=task) for task in tasks]
        played = rollout(load_agent("expert").policy, pool, starts, Setting(config.full_id))
    assert all(one.total_reward == 1 for one in played)
    return [marked(one.turns[0].observation, one.turns[0].action.text) for one in played]


def desktop_at_work(id: str) -> list[tuple[str, list[bytes]]]:
    """The expert on one task of each kind of a desktop: a name, and what it saw with what it did marked."""
    from sparring.envs.gui.application_tasks import KINDS as PROGRAMS
    from sparring.envs.gui.desktop_tasks import KINDS

    prefix, kinds = ("desktop", list(KINDS)) if id == "Desktop-v1" else ("applications", list(PROGRAMS))
    config = EnvConfig(f"sparring/{id}")
    with EnvPool(replace(config, wrappers=("expert",)).maker(), 1) as pool:
        starts = [Start(0, task=f"test/{number}") for number in range(len(kinds))]
        played: list[Trajectory] = rollout(load_agent("expert").policy, pool, starts, Setting(config.full_id))
    strips = []
    for kind, one in zip(kinds, played, strict=True):
        strips.append((f"{prefix}-{kind}", [marked(turn.observation, turn.action.text) for turn in one.turns[:6]]))
    return strips


def main(demo: Demo) -> tuple[Report, list[Comparison]]:
    """Run the whole demo."""
    demo.out.mkdir(parents=True, exist_ok=True)
    train(demo, demonstrate(demo))
    report, comparisons, agents = score(demo)
    report.show(compared=False)
    print()
    for one in comparisons:
        found = one.success.difference
        print(f"{one.agent} − {one.baseline}: {found.estimate:+.3f} [{found.low:+.3f}, {found.high:+.3f}] success")
        figures = {"difference": found.estimate, "low": found.low, "high": found.high}
        (demo.out / "difference.json").write_text(json.dumps(figures))
    print("Pictures: " + ", ".join(str(path) for path in keep_pictures(demo, agents)))
    return report, comparisons


if __name__ == "__main__":
    try:
        main(tyro.cli(Demo, description=__doc__))
    except SparringError as error:
        raise SystemExit(f"error: {error}") from error
