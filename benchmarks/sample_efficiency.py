"""How many turns of experience each trainer needs, from one imitation start, in worlds where turns matter.

    python benchmarks/sample_efficiency.py --tune                     # three trials a method, on a seed of their own
    python benchmarks/sample_efficiency.py --seeds 0 1 2 3 4          # with the settings that tuning chose
    python benchmarks/sample_efficiency.py --tasks number-search --methods archer ppo --seeds 0

Every run is kept under `--out` and is not repeated. All methods begin with the same weights, those of a short imitation
of a poor demonstrator, and are scored on the same episodes of the dev split, at temperature 1 and greedily. The
horizontal axis is turns of the environment played while training; wall time is recorded too. A threshold counts as
reached at the first evaluation from which this one and the next lie above it in the mean; the greedy thresholds lie
above the start's own greedy score, so that mere sharpening does not count.

The episodes that a run trains on, at temperature 1, are a second measure, on tasks of the training split: the mean of
the newest 32 (`played`), with the lowest that followed once the highest threshold was reached, which shows who fell.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parent))
from record import RESULTS, record

from sparring.runs import RunFolder

TUNING_SEED = 100
WINDOW = 32
DONE = "curve.json"
# The 97.5 % quantile of Student's distribution for so many runs.
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


@dataclass(frozen=True)
class Task:
    """A world, what its agents start from, and what counts as good.

    Attributes:
        options: of every command. start: further options of the imitation that all runs begin with.
        turns: budget of a run, by method, in turns of the environment.
        sampled, greedy: thresholds of the score at temperature 1, and greedily.
        eval_turns: about how many turns lie between evaluations.
        further: options of single methods.
    """

    options: Sequence[str]
    start: Sequence[str]
    turns: Mapping[str, int]
    sampled: Sequence[float]
    greedy: Sequence[float]
    eval_turns: Mapping[str, int]
    further: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A trainer with what it always has, and its trials: each method has three.

    Attributes:
        trainer: its command. episodes: about how many it plays a step, for the interval of evaluations.
    """

    trainer: str
    options: Sequence[str]
    trials: Sequence[Sequence[str]]
    episodes: int


def _rates(*rates: str) -> list[list[str]]:
    return [["--optim.lr", rate] for rate in rates]


GROUPS = ["--groups", "4", "--group-size", "8"]
METHODS = {
    "archer": Method(
        "archer",
        ["--critic.lr", "3e-3", "--warmup-steps", "4"],
        _rates("1e-3", "5e-4", "2e-3"),
        8,
    ),
    "ppo": Method("ppo", ["--episodes", "32", "--critic.lr", "3e-3"], _rates("1e-3", "5e-4", "2e-3"), 32),
    "grpo": Method("grpo", [*GROUPS, "--advantage", "grpo"], _rates("1e-3", "5e-4", "2e-3"), 32),
    "rloo": Method("grpo", [*GROUPS, "--advantage", "rloo"], _rates("1e-3", "5e-4", "2e-3"), 32),
    "gigpo": Method("grpo", [*GROUPS, "--advantage", "gigpo"], _rates("1e-3", "5e-4", "2e-3"), 32),
    "filtered-bc": Method("filtered_bc", ["--groups", "32"], _rates("1e-3", "5e-4", "2e-3"), 32),
}


def _turns(archer: int, ppo: int, groups: int) -> dict[str, int]:
    return {"archer": archer, "ppo": ppo, "grpo": groups, "rloo": groups, "gigpo": groups, "filtered-bc": ppo}


TINY = ["--tiny.hidden", "32", "--tiny.layers", "2", "--tiny.heads", "2", "--tiny.max-context", "256"]
SHORT = ["--agent.memory", "last_observation"]
TASKS = {
    "number-search": Task(
        ["--env.id", "NumberSearch-v1", *SHORT, "--agent.max-action-tokens", "8"],
        [*TINY, "--tiny.vocabulary", "400", "--demos.agent", "expert:0.4", "--demos.episodes", "1000",
         "--steps", "400"],
        _turns(5000, 15_000, 30_000),
        sampled=(0.45, 0.5),
        greedy=(0.58,),
        eval_turns=_turns(300, 600, 1200),
    ),
    "twenty-questions": Task(
        ["--env.id", "TwentyQuestions-v1", *SHORT, "--agent.max-action-tokens", "12", "--env.options", "actions",
         "listed", "show", "summary", "objects", "16", "attributes", "12", "holdout", "false"],
        [*TINY, "--tiny.vocabulary", "600", "--demos.agent", "expert:0.4", "--demos.episodes", "1000",
         "--steps", "400"],
        _turns(8000, 24_000, 40_000),
        sampled=(0.45, 0.5),
        greedy=(0.5,),
        eval_turns=_turns(800, 2000, 4000),
    ),
    "door-key": Task(
        ["--env.id", "MiniGrid-v1", *SHORT, "--agent.max-action-tokens", "8", "--env.options", "level",
         "MiniGrid-DoorKey-5x5-v0", "--env.max-turns", "40"],
        [*TINY, "--tiny.vocabulary", "400", "--demos.agent", "expert:0.7", "--demos.episodes", "400", "--steps", "150"],
        _turns(8000, 20_000, 30_000),
        sampled=(0.5, 0.8),
        greedy=(0.5,),
        eval_turns=_turns(800, 2000, 3000),
    ),
    "empty-room": Task(
        ["--env.id", "MiniGrid-v1", *SHORT, "--agent.max-action-tokens", "8", "--env.options", "level",
         "MiniGrid-Empty-Random-6x6-v0", "--env.max-turns", "40"],
        [*TINY, "--tiny.vocabulary", "400", "--demos.agent", "expert:0.9", "--demos.episodes", "200", "--steps", "60"],
        _turns(8000, 24_000, 40_000),
        sampled=(0.5, 0.8),
        greedy=(0.5, 0.8),
        eval_turns=_turns(800, 2400, 4000),
    ),
    "webshop": Task(
        ["--env.id", "WebShop-v1", "--env.wrappers", "webshop-brief", "webshop-top5", "webshop-price", "webshop-match",
         "webshop-index", "--env.max-turns", "10", "--agent.max-action-tokens", "16"],
        ["--tiny.hidden", "32", "--tiny.layers", "2", "--tiny.heads", "2", "--optim.lr", "4e-3", "--demos.agent",
         "expert:0.4", "--demos.episodes", "1000", "--min-score", "0.9", "--steps", "300"],
        _turns(2500, 7500, 15_000),
        sampled=(0.55, 0.65),
        greedy=(0.5, 0.6),
        eval_turns=_turns(400, 1000, 2000),
        # Pages are long: with ArCHer's usual 30 steps of 64 turns a run would take hours.
        further={"archer": ["--critic-steps", "10", "--critic-batch", "32", "--actor-states", "24"]},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """What to run."""

    tasks: tuple[str, ...] = tuple(TASKS)
    methods: tuple[str, ...] = tuple(METHODS)
    seeds: tuple[int, ...] = ()
    tune: bool = False
    """Run every method's three trials on seed 100, and keep the one with the best mean score over its budget."""
    workers: int = 2
    """Runs side by side, a thread each."""
    eval_episodes: int = 64
    out: Path = Path("runs/sample_efficiency")
    name: str = "sample_efficiency"
    """Of the results."""


@dataclass(frozen=True)
class Curve:
    """One run: turns played, seconds of training, and scores greedy and sampled, one each an evaluation."""

    turns: list[int]
    seconds: list[float]
    greedy: list[float]
    sampled: list[float]

    def reached(self, mode: str, threshold: float) -> float:
        """Turns at the first evaluation from which this and the next are above in the mean; inf where none is."""
        scores = getattr(self, mode)
        for turns, (one, following) in zip(self.turns, pairwise(scores), strict=False):
            if (one + following) / 2 >= threshold:
                return float(turns)
        return float("inf")

    def final(self, mode: str) -> float:
        """Mean of the last three evaluations."""
        return float(np.mean(getattr(self, mode)[-3:]))

    @property
    def merit(self) -> float:
        """What tuning compares: the mean of all evaluations, of both kinds."""
        return float(np.mean([self.greedy, self.sampled]))


def played(run: RunFolder, episodes: int) -> list[tuple[float, float]]:
    """Turns played, and the mean score of the newest `WINDOW` episodes, for each step from which there are so many.

    Args:
        run: of a finished run. episodes: what it plays in a step.
    """
    rows, width = run.metrics(), max(1, WINDOW // episodes)
    scores = [row["score"] for row in rows]
    return [
        (rows[last - 1]["env_turns"], float(np.mean(scores[last - width : last])))
        for last in range(width, len(rows) + 1)
    ]


def reached_in_play(points: Sequence[tuple[float, float]], threshold: float) -> float | None:
    """Turns at the first of `played` that is above a threshold."""
    return next((turns for turns, score in points if score >= threshold), None)


def lowest_after(points: Sequence[tuple[float, float]], threshold: float) -> float | None:
    """The lowest of `played` once a threshold was reached."""
    turns = reached_in_play(points, threshold)
    return None if turns is None else min(score for at, score in points if at >= turns)


def call(arguments: Sequence[str], log: Path) -> None:
    """Run `sparring …` with one thread; its output goes to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        found = subprocess.run(
            [sys.executable, "-m", "sparring", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=output,
            check=False,
        )
    if found.returncode:
        raise SystemExit(f"a run failed, see {log}")


def start(study: Study, name: str) -> Path:
    """The imitation run that all others of a task begin with."""
    run, task = study.out / name / "start", TASKS[name]
    if RunFolder(run).latest_checkpoint() is None:
        common = ("--run", str(run), "--eval-every", "0", "--seed", "0")
        call(["train", "sft", *common, *task.options, *task.start], run.with_suffix(".log"))
    return run


def play(study: Study, name: str, method: str, trial: int, seed: int) -> Curve:
    """Train once, unless that was done before."""
    run, task, kind = study.out / name / f"{method}-{trial}-{seed}", TASKS[name], METHODS[method]
    if not (run / DONE).exists():
        turns = {"number-search": 8, "webshop": 6, "empty-room": 30}.get(name, 15)
        every = max(1, round(task.eval_turns[method] / (kind.episodes * turns)))
        if RunFolder(run).latest_checkpoint() is None:  # an interrupted run without a checkpoint can't go on
            shutil.rmtree(run, ignore_errors=True)
        resume = ("--resume",) if run.exists() else ()
        call(
            [
                "train", kind.trainer, "--run", str(run), *resume, "--model", str(study.out / name / "start"),
                "--seed", str(seed), "--steps", "100000", "--max-env-turns", str(task.turns[method]),
                "--eval-every", str(every), "--eval-episodes", str(study.eval_episodes), "--keep-checkpoints", "1",
                *task.options, *kind.options, *kind.trials[trial], *task.further.get(method, ()),
            ],
            run.with_suffix(".log"),
        )  # fmt: skip
        rows = [row for row in RunFolder(run).metrics() if row.get("eval_greedy_score") is not None]
        columns = {"turns": "env_turns", "seconds": "seconds", "greedy": "eval_greedy_score"}
        columns["sampled"] = "eval_sampled_score"
        (run / DONE).write_text(json.dumps({key: [row[found] for row in rows] for key, found in columns.items()}))
    return Curve(**json.loads((run / DONE).read_text()))


def tuned(study: Study, name: str) -> dict[str, int]:
    """The trial that each method of a task is run with: the best tried on the tuning seed, the first where none was."""
    chosen = {}
    for method, kind in METHODS.items():
        done = {
            trial: play(study, name, method, trial, TUNING_SEED).merit
            for trial in range(len(kind.trials))
            if (study.out / name / f"{method}-{trial}-{TUNING_SEED}" / DONE).exists()
        }
        chosen[method] = max(done, key=lambda trial: done[trial]) if len(done) == len(kind.trials) else 0
    return chosen


def summary(study: Study, name: str, method: str, trial: int, curves: Mapping[int, Curve]) -> dict[str, Any]:
    """What is said about a method on a task."""
    task, kind = TASKS[name], METHODS[method]
    many = list(curves.values())
    runs = [RunFolder(study.out / name / f"{method}-{trial}-{seed}") for seed in curves]
    points = [played(run, kind.episodes) for run in runs]

    def level(mode: str) -> dict[str, float]:
        finals = [curve.final(mode) for curve in many]
        # Student's interval: few runs, about normal, each a sample of its own.
        mean = float(np.mean(finals))
        found = {"estimate": mean, "worst": min(finals), "best": max(finals)}
        if len(finals) in STUDENT:
            half = STUDENT[len(finals)] * float(np.std(finals, ddof=1)) / len(finals) ** 0.5
            found |= {"low": mean - half, "high": mean + half}
        return found

    return {
        "trainer": kind.trainer,
        "options": [*kind.options, *kind.trials[trial], *task.further.get(method, ())],
        "seeds": list(curves),
        "turns_to": {
            f"{mode} {threshold}": [
                None if found == float("inf") else found for found in (one.reached(mode, threshold) for one in many)
            ]
            for mode in ("sampled", "greedy")
            for threshold in getattr(task, mode)
        },
        "turns_to_in_play": {
            str(threshold): [reached_in_play(one, threshold) for one in points] for threshold in task.sampled
        },
        "lowest_in_play_after": [lowest_after(one, task.sampled[-1]) for one in points],
        "last_in_play": [one[-1][1] for one in points],
        "final_sampled": level("sampled"),
        "final_greedy": level("greedy"),
        "turns": [one.turns[-1] for one in many],
        "seconds": [round(one.seconds[-1]) for one in many],
        "curves": {str(seed): vars(one) for seed, one in curves.items()},
    }


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Score over turns, a panel a task and mode: thin lines are runs, thick ones their mean."""
    from matplotlib.figure import Figure

    tasks = figures["tasks"]
    figure = Figure(figsize=(11, 3.6 * len(tasks)), layout="constrained")
    panels = figure.subplots(len(tasks), 2, squeeze=False)
    for (name, methods), row in zip(tasks.items(), panels, strict=True):
        for mode, axes in zip(("sampled", "greedy"), row, strict=True):
            for number, (method, found) in enumerate(methods.items()):
                grid = np.linspace(0, max(found["turns"]), 60)
                lines = []
                for curve in found["curves"].values():
                    axes.plot(curve["turns"], curve[mode], color=f"C{number}", alpha=0.25, linewidth=0.8)
                    lines.append(np.interp(grid, curve["turns"], curve[mode]))
                axes.plot(grid, np.mean(lines, axis=0), color=f"C{number}", linewidth=2, label=method)
            for threshold in getattr(TASKS[name], mode):
                axes.axhline(threshold, color="0.6", linestyle=":")
            axes.set(title=f"{name}, {mode}", xlabel="turns of the environment (log)", ylabel="score", xscale="log")
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)


def main(study: Study) -> None:
    """Run what is missing, and write the results of all that is there."""
    with ThreadPoolExecutor(study.workers) as pool:
        list(pool.map(lambda name: start(study, name), study.tasks))
        if study.tune:
            jobs = [(name, method, trial) for trial in range(3) for name in study.tasks for method in study.methods]
            for job, curve in zip(jobs, pool.map(lambda job: play(study, *job, TUNING_SEED), jobs), strict=True):
                print(*job, f"{curve.merit:.3f}", f"{curve.seconds[-1]:.0f} s", flush=True)
            return
        chosen = {name: tuned(study, name) for name in study.tasks}
        jobs = [(name, method, seed) for seed in study.seeds for name in study.tasks for method in study.methods]
        curves = pool.map(lambda job: play(study, job[0], job[1], chosen[job[0]][job[1]], job[2]), jobs)
        found: dict[str, dict[str, dict[int, Curve]]] = {}
        for (name, method, seed), curve in zip(jobs, curves, strict=True):
            found.setdefault(name, {}).setdefault(method, {})[seed] = curve
            print(name, method, seed, f"final {curve.final('sampled'):.3f} / {curve.final('greedy'):.3f}", flush=True)
    figures = {
        "tuning_trials_a_method": 3,
        "tuning_seed": TUNING_SEED,
        "tasks": {
            name: {
                method: summary(study, name, method, chosen[name][method], curves) for method, curves in methods.items()
            }
            for name, methods in found.items()
        },
    }
    draw(figures, RESULTS / f"{study.name}.png")
    record(study.name, figures, seeds=study.seeds, notes="Scores on dev episodes; intervals are over seeds.")


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
