"""Does reinforcement learning teach a small model more than imitation for the same time, over several seeds?

    python benchmarks/webshop_learning.py --seeds 0 1 2
    python benchmarks/webshop_learning.py --seeds 0 1 2 --catalogue DIR --name webshop_learning_real

Runs the demo (`examples/demo.py`) once a seed and records, on held-out goals of products that nobody trained on, the
score and success of everyone and the paired differences, with 95 % intervals over those products. `DIR` is the
original's 1,000 products, compiled by `sparring webshop build`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import demo as example
from record import RESULTS, record

from sparring.report import Report
from sparring.runs import RunFolder
from sparring.summary import Comparison


def recorded_seconds(name: str, seed: int) -> int | None:
    """How long a seed's run took, as recorded before."""
    path = RESULTS / f"{name}.json"
    seeds = json.loads(path.read_text())["figures"]["seeds"] if path.exists() else {}
    seconds: int | None = seeds.get(str(seed), {}).get("wall_s")
    return seconds


def figures_of(report: Report, comparisons: list[Comparison], seconds: int | None) -> dict[str, Any]:
    """What is recorded of one seed."""
    return {
        "wall_s": seconds,
        "test_goals": report.rows[0].tasks,
        "products": report.rows[0].clusters,
        "effective_products": round(report.rows[0].effective_clusters, 1),
        "agents": {
            row.agent: {
                "score": asdict(row.score) if row.score else None,
                "success": asdict(row.success) if row.success else None,
                "turns": row.turns,
                "sampled_tokens": row.sampled_tokens,
                "errors": row.errors,
                "wrappers": list(row.wrappers),
            }
            for row in report.rows
        },
        "differences": {
            f"{one.agent} minus {one.baseline}": {"score": asdict(one.score), "success": asdict(one.success)}
            for one in comparisons
        },
    }


def over_seeds(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean and range over the seeds of every agent's score and success, and of every difference in score."""

    def spread(values: list[float]) -> dict[str, float]:
        return {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}

    first = next(iter(runs.values()))
    return {
        "agents": {
            name: {
                what: spread([run["agents"][name][what]["estimate"] for run in runs.values()])
                for what in ("score", "success")
            }
            for name in first["agents"]
        },
        "score_differences": {
            name: spread([run["differences"][name]["score"]["difference"]["estimate"] for run in runs.values()])
            for name in first["differences"]
        },
    }


def draw(runs: list[example.Demo], name: str) -> None:
    """Draw every seed's score on dev goals over the time trained."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, run in enumerate(runs):
        for agent, after, colour in ((example.LONG, 0.0, "C1"), (example.RL, run.imitation_seconds, "C2")):
            for column, style in (("eval_sampled_score", "-"), ("eval_greedy_score", "--")):
                metrics = RunFolder.open(run.folder(agent)).metrics()
                rows = [row for row in metrics if row.get(column) is not None]
                label = f"{agent}, {column.split('_')[1]}" if number == 0 else None
                seconds, scores = [row["seconds"] + after for row in rows], [row[column] for row in rows]
                axes.plot(seconds, scores, style, marker=".", color=colour, alpha=0.7, label=label)
    axes.set(
        xlabel="seconds of training, one core",
        ylabel="score on 100 dev goals",
        title=f"{len(runs)} seeds; the last evaluation comes before the end of training",
        ylim=(0, 1),
    )
    axes.legend()
    figure.savefig(RESULTS / f"{name}.png", dpi=120)


def main(
    seeds: tuple[int, ...] = (0, 1, 2),
    catalogue: Path | None = None,
    name: str = "webshop_learning",
    out: Path = Path("runs/webshop_learning"),
    imitation_seconds: float = example.Demo.imitation_seconds,
    rl_seconds: float = example.Demo.rl_seconds,
    resume: bool = False,
) -> None:
    """Run the demo for every seed and record what came out.

    Args:
        seeds: One demo each.
        catalogue: A compiled catalogue; by default the built-in one.
        name: Of the result files.
        out: Folder for the runs; emptied first, unless resumed.
        imitation_seconds: Budget of imitation before reinforcement learning.
        rl_seconds: Budget of reinforcement learning.
        resume: Keep what is finished, and the wall times that were recorded of it.
    """
    if not resume:
        shutil.rmtree(out, ignore_errors=True)
    before = {seed: recorded_seconds(name, seed) for seed in seeds} if resume else {}
    demos, runs = [], {}
    for seed in seeds:
        demo = replace(
            example.Demo(),
            out=out / f"seed-{seed}",
            seed=seed,
            catalogue=catalogue,
            imitation_seconds=imitation_seconds,
            rl_seconds=rl_seconds,
            resume=resume,
        )
        began = time.monotonic()
        report, comparisons = example.main(demo)
        demos.append(demo)
        seconds = before[seed] if resume else round(time.monotonic() - began)
        runs[str(seed)] = figures_of(report, comparisons, seconds)
        settings = {"imitation_s": imitation_seconds, "rl_s": rl_seconds, "error_rate": demo.error_rate}
        record(
            name,
            {"settings": settings, "over_seeds": over_seeds(runs), "seeds": runs},
            seeds=seeds[: len(runs)],
            command=f"python benchmarks/webshop_learning.py --seeds {' '.join(map(str, seeds))}"
            + (f" --catalogue {catalogue.name} --name {name}" if catalogue else "")
            + f" --imitation-seconds {imitation_seconds:g} --rl-seconds {rl_seconds:g}",
            notes="Goals of held-out products; each training run has one core. Intervals hold for the trained model of "
            "a seed, over products, which several goals share (effective_products: how many of equal size would weigh "
            "as evenly); the spread over seeds stands beside them.",
        )
        draw(demos, name)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
