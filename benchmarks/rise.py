"""RISE: what five attempts one after another bring, against five side by side at the same cost.

    python benchmarks/rise.py --seeds 0 1 2
    python benchmarks/rise.py --tasks sorting --seeds 0
    python benchmarks/rise.py --show

Each run begins with the imitation that `benchmarks/score.py` begins with, which is made anew where it was not run.
Before training and after each round, a policy has five attempts at each test problem, at temperature 1 and without a
word on whether one was right; and, for the same number of attempts, five first attempts that know nothing of each
other. Both are judged twice: by the answer of the majority, and by whether any of the five was right, as an oracle
would pick.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parent))
import score as shared
from record import RESULTS, record
from score_methods import TASKS, Task, optim

from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.correction import answer, attempts
from sparring.runs import RunFolder, write_atomic
from sparring.statistics import mean_interval
from sparring.trainers import rise
from sparring.trainers.rounds import LearningConfig
from sparring.trainers.session import LoopConfig
from sparring.types import Trajectory
from sparring.voting import majority

TURNS = 5
ROUNDS = 2
PROBLEMS = 500
VARIANTS: dict[str, dict[str, Any]] = {
    "self": {"samples": 8},
    "self, right kept": {"samples": 8, "keep_right": True},
    "teacher": {"samples": 1, "teacher": "expert"},
}
"""Ways to improve; the teacher is always right, and so an upper bound."""


@dataclass(frozen=True)
class Study:
    """What to run."""

    tasks: tuple[str, ...] = tuple(TASKS)
    seeds: tuple[int, ...] = ()
    show: bool = False
    """Run nothing; write the results of what was run."""
    out: Path = Path("runs/rise")
    starts: Path = Path("runs/score")
    """Where `benchmarks/score.py` keeps its runs."""
    name: str = "rise"
    """Of the results."""


def judged(episodes: Sequence[tuple[Sequence[str], Sequence[bool]]]) -> dict[str, list[list[bool]]]:
    """For 1, 2 … attempts and each problem, whether the majority is right, and whether any attempt is.

    Args:
        episodes: the answers to a problem, and which of them are right.
    """
    found: dict[str, list[list[bool]]] = {"last": [], "majority": [], "any": []}
    for count in range(1, TURNS + 1):
        found["last"].append([right[count - 1] for _, right in episodes])
        found["majority"].append([right[answers.index(majority(answers[:count]))] for answers, right in episodes])
        found["any"].append([any(right[:count]) for _, right in episodes])
    return found


def answered(episode: Trajectory) -> tuple[list[str], list[bool]]:
    """The answers of an episode, and which of them are right."""
    turns = attempts(episode)
    return [answer(turn) for turn in turns], [bool(turn.info["correct"]) for turn in turns]


def scored(task: Task, folder: Path) -> dict[str, Any]:
    """Five attempts in sequence, and five in parallel, by the weights in a folder."""
    model, tokenizer = load_model(folder)
    policy = HFPolicy(model, tokenizer, max_new_tokens=task.tokens)
    in_turn = [answered(one) for one in shared.played(policy, task.env(attempts=str(TURNS)), "test", PROBLEMS)]
    side: list[tuple[list[str], list[bool]]] = [([], []) for _ in range(PROBLEMS)]
    for sample in range(TURNS):
        alone = shared.played(policy, task.env(attempts="1"), "test", PROBLEMS, sampling=sample * PROBLEMS)
        for (answers, right), one in zip(side, map(answered, alone), strict=True):
            answers += one[0]
            right += one[1]
    return {"sequential": judged(in_turn), "parallel": judged(side)}


def kept(task: Task, folder: Path, path: Path) -> dict[str, Any]:
    """The same, kept in a file."""
    if not path.exists():
        write_atomic(path, json.dumps(scored(task, folder)))
    return dict(json.loads(path.read_text()))


def ran(study: Study, name: str, variant: str, seed: int) -> None:
    """Train once and score each round, unless that was done before."""
    task = TASKS[name]
    run = study.out / name / f"{variant.replace(', ', '-').replace(' ', '-')}-{seed}"
    if all((run / f"round-{round}.json").exists() for round in range(1, ROUNDS + 1)):
        return
    base = shared.base_of(shared.Study(out=study.starts), name)
    if RunFolder(run).latest_checkpoint() is None:
        shutil.rmtree(run, ignore_errors=True)
    rise.train(
        rise.Config(
            run=run,
            model=str(base),
            env=task.env(attempts=str(TURNS)),
            agent=task.agent,
            optim=optim(1e-3),
            loop=LoopConfig(steps=ROUNDS, eval_every=0, checkpoint_every=1, keep_checkpoints=0),
            learning=LearningConfig(updates=300, max_passes=3, batch_episodes=64, aggregation="seq-mean-token-mean"),
            groups=1024,
            environments=128,
            seed=seed,
            resume=RunFolder(run).latest_checkpoint() is not None,
            **VARIANTS[variant],
        )
    )
    rounds = RunFolder(run).checkpoints()
    if ROUNDS not in rounds:
        raise SystemExit(f"{run} was stopped before its end: run this again to go on")
    for round, folder in rounds.items():
        kept(task, folder, run / f"round-{round}.json")


def curve(files: Sequence[Path]) -> dict[str, Any]:
    """Accuracies after 1 to 5 attempts, with intervals over problems and seeds."""
    rng = np.random.default_rng(0)
    many = [json.loads(one.read_text()) for one in files]
    found: dict[str, Any] = {"seeds": len(many)}
    for way in ("sequential", "parallel"):
        for judge in ("last", "majority", "any"):
            if (way, judge) == ("parallel", "last"):
                continue  # samples side by side have no order
            points = []
            for count in range(TURNS):
                values = [float(one) for run in many for one in run[way][judge][count]]
                problems = [str(at) for run in many for at in range(len(run[way][judge][count]))]
                interval = mean_interval(values, problems, rng=rng)
                points.append({"estimate": interval.estimate, "low": interval.low, "high": interval.high})
            found[f"{way} {judge}"] = points
    return found


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Accuracy by the number of attempts, in turn and side by side, by majority and by an oracle, a panel a policy.

    Of every way to improve the last round is drawn.
    """
    from matplotlib.figure import Figure

    last = [name for name in figures if name == "base" or name.endswith(f"round {ROUNDS}")]
    figure = Figure(figsize=(3.2 * len(last), 3.6), layout="constrained")
    panels = figure.subplots(1, len(last), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, last, strict=True):
        for way, colour in (("sequential", "C0"), ("parallel", "C1")):
            for judge, style in (("majority", "-"), ("any", ":")):
                points = figures[name][f"{way} {judge}"]
                across = range(1, len(points) + 1)
                axes.plot(across, [one["estimate"] for one in points], style, color=colour, label=f"{way}, {judge}")
                axes.fill_between(
                    across, [one["low"] for one in points], [one["high"] for one in points], color=colour, alpha=0.15
                )
        axes.set(title=name, xlabel="attempts", ylim=(0, 1))
    panels[0].set_ylabel("accuracy on test problems")
    panels[0].legend(fontsize="small", loc="lower left")
    figure.savefig(path, dpi=100)


def main(study: Study) -> None:
    """Run what is missing, and write the results of all that is there."""
    figures: dict[str, Any] = {}
    for name in study.tasks:
        if not study.show:
            base = RunFolder(shared.base_of(shared.Study(out=study.starts), name)).latest_checkpoint()
            assert base is not None
            (study.out / name).mkdir(parents=True, exist_ok=True)
            kept(TASKS[name], base[1], study.out / name / "base.json")
            for seed in study.seeds:
                for variant in VARIANTS:
                    ran(study, name, variant, seed)
        folder = study.out / name
        if (folder / "base.json").exists():
            figures[name] = {"base": curve([folder / "base.json"])}
            for variant in VARIANTS:
                prefix = variant.replace(", ", "-").replace(" ", "-")
                for round in range(1, ROUNDS + 1):
                    files = sorted(folder.glob(f"{prefix}-[0-9]*/round-{round}.json"))
                    if files:
                        figures[name][f"{variant}, round {round}"] = curve(files)
    for name, rows in figures.items():
        print(f"\n**{name}**\n\n| policy (seeds) | m1@t1 | last@t5 | m1@t5 | m5@t1 | p1@t5 | p5@t1 |")
        print("|---|---|---|---|---|---|---|")
        for policy, row in rows.items():
            cells = [
                row[key][at]["estimate"]
                for key, at in (
                    ("sequential majority", 0), ("sequential last", -1), ("sequential majority", -1),
                    ("parallel majority", -1), ("sequential any", -1), ("parallel any", -1),
                )
            ]  # fmt: skip
            print(f"| {policy} ({row['seeds']}) | " + " | ".join(f"{100 * one:.1f}" for one in cells) + " |")
    for name, rows in figures.items():
        draw(rows, RESULTS / f"{study.name}_{name}.png")
    if figures:
        record(
            study.name,
            {"problems": PROBLEMS, "attempts": TURNS, "tasks": figures},
            seeds=study.seeds,
            notes="Accuracies on test problems at temperature 1; intervals are over problems and seeds.",
        )


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
