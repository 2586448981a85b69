"""Score over what a search may spend: best of n, best-first, beam, MCTS and R-MCTS, against acting at once.

    python benchmarks/search_scaling.py --agents runs/agent_q/seed-0-imitation runs/agent_q/seed-1-imitation

Every agent plays the same held-out WebShop goals by every method under growing budgets of simulations. What is drawn is
what was really spent: steps of the environment and sampled tokens an episode, playing for real included.
R-MCTS searches anew before every turn, so that its budget is a turn's. All searches see the outcome of what they try:
compare them with each other, at equal steps or tokens. Episodes are kept under `--out` and not played again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parent))
from record import RESULTS, record

from sparring.agents.load import load_agent
from sparring.bench import BenchConfig, bench, episodes
from sparring.settings import EnvConfig
from sparring.summary import EpisodeRecord, summarise

# Simulations of an episode; of a turn for the method that commits to single actions.
BUDGETS: Mapping[str, Sequence[int]] = {
    "best-of-n": (2, 4, 8, 16, 32),
    "best-first": (4, 8, 16, 32),
    "beam": (8, 16, 32),
    "mcts": (2, 4, 8, 16, 32),
    "r-mcts": (2, 4, 8),
}


def figures_of(records: Sequence[EpisodeRecord], rng: np.random.Generator) -> dict[str, Any]:
    """Score, success and cost of some episodes."""
    row = summarise(records, agent="", rng=rng)
    assert row.score is not None and row.success is not None
    return {
        "score": asdict(row.score),
        "success": asdict(row.success),
        "env_steps": row.env_steps,
        "sampled_tokens": row.sampled_tokens,
        "episodes": row.episodes,
    }


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Success over steps of the environment and over tokens, a line a method, with 95 % intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, (cost, label) in zip(
        panels, (("env_steps", "steps of the environment"), ("sampled_tokens", "sampled tokens")), strict=True
    ):
        for number, (method, points) in enumerate(figures["methods"].items()):
            across = [point[cost] for point in points.values()]
            found = [point["success"] for point in points.values()]
            around = [
                [one["estimate"] - one["low"] for one in found],
                [one["high"] - one["estimate"] for one in found],
            ]
            axes.errorbar(
                across, [one["estimate"] for one in found], yerr=around, marker="o", capsize=2, label=method,
                color=f"C{number}",
            )  # fmt: skip
        for name, one in figures["at once"].items():
            axes.plot([one[cost]], [one["success"]["estimate"]], marker="*", markersize=12, linestyle="", label=name)
        axes.set(xscale="log", xlabel=f"{label} an episode (log)", ylabel="success on held-out goals", ylim=(0, 1))
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)


def main(
    agents: tuple[Path, ...],
    goals: int = 100,
    methods: tuple[str, ...] = tuple(BUDGETS),
    out: Path = Path("runs/search_scaling"),
    name: str = "search_scaling",
) -> None:
    """Play what is missing, and draw.

    Args:
        agents: Run folders; figures are over all of them.
        goals: Held-out goals.
        methods: Of search.
        out: Folder for the episodes.
        name: Of the results.
    """
    played: dict[str, list[EpisodeRecord]] = {}
    for number, agent in enumerate(agents):
        specs = {"itself": str(agent)}
        for method in methods:
            for simulations in BUDGETS[method]:
                specs[f"{method} {simulations}"] = f"search:{method}@simulations={simulations}:{agent}"
        known = [replace(load_agent(spec), name=label) for label, spec in specs.items()]
        folder = out / f"agent-{number}"
        config = BenchConfig(EnvConfig(max_turns=10), "test", goals)
        bench(known, config, folder, resume=True, show_progress=True)
        for label, records in episodes(folder).items():
            played.setdefault(label, []).extend(replace(one, seed=number) for one in records)
    rng = np.random.default_rng(0)
    figures = {
        "goals": goals,
        "agents": len(agents),
        "at once": {
            label.removeprefix("itself ").strip("()"): figures_of(records, rng)
            for label, records in played.items()
            if label.startswith("itself")
        },
        "methods": {
            method: {
                str(simulations): figures_of(played[f"{method} {simulations}"], rng) for simulations in BUDGETS[method]
            }
            for method in methods
        },
    }
    draw(figures, RESULTS / f"{name}.png")
    for method, points in figures["methods"].items():
        for simulations, one in points.items():
            print(f"{method:<10} {simulations:>3} simulations: success {one['success']['estimate']:.3f}, "
                  f"{one['env_steps']:.0f} steps, {one['sampled_tokens']:.0f} tokens")  # fmt: skip
    record(name, figures, seeds=tuple(range(len(agents))), notes="95 % intervals over products.")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
