"""SCoRe and what it is measured against: who learns to correct answers, and who only to answer or to repeat.

    python benchmarks/score.py --tune                      # three trials a method, on a seed of their own
    python benchmarks/score.py --seeds 0 1 2               # with the settings that tuning chose; writes the table
    python benchmarks/score.py --tasks sorting --methods score two-turn --seeds 0
    python benchmarks/score.py --tasks colouring --settings-of sorting --seeds 0 1 2      # without tuning of its own
    python benchmarks/score.py --show                      # the table of all that was run so far

Every run is kept under `--out` and is not repeated. All methods begin with the weights of one imitation of a
demonstrator who errs, play the same number of turns while training, and are scored on the same problems of the test
split, once at temperature 1 and once greedily. Settings are chosen on the dev split and the tuning seed alone, by the
accuracy of the last attempt, among three trials for each method; a trial whose first attempts fall more than 5 points
below the base's is chosen only where all three do.

What a second attempt owes to the first is tested twice: the first attempt in the prompt is exchanged for that of
another problem (`shuffled`), or is empty (`removed`), and second attempts are made behind that.

A run whose first attempts are worse than the base's (by more than its interval allows) does not count: a policy that
answers badly first has much to correct.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parent))
from record import RESULTS, record
from score_methods import METHODS, TASKS, TURNS, Task, optim

from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.correction import Attempts, measure, rates
from sparring.envs.pool import EnvPool
from sparring.first_attempts import FirstAttempt, retries
from sparring.rollout import Setting, Start, rollout
from sparring.runs import RunFolder, write_atomic
from sparring.settings import EnvConfig
from sparring.statistics import Interval, paired_difference
from sparring.trainers import sft
from sparring.trainers.collect import evaluation_starts
from sparring.trainers.demos import DemosConfig
from sparring.trainers.session import LoopConfig
from sparring.trainers.sft import TinyConfig
from sparring.types import Stop, Trajectory

TUNING_SEED = 100
PROBLEMS, DEV_PROBLEMS = 1000, 500
DONE = "scores.json"
CONTROLS: tuple[FirstAttempt, ...] = ("shuffled", "removed")


@dataclass(frozen=True)
class Study:
    """What to run."""

    tasks: tuple[str, ...] = tuple(TASKS)
    methods: tuple[str, ...] = tuple(METHODS)
    seeds: tuple[int, ...] = ()
    tune: bool = False
    """Run every method's three trials on seed 100, and keep the one with the best last attempts on the dev split."""
    settings_of: str | None = None
    """Take the settings that tuning chose on this task for tasks that were not tuned on."""
    show: bool = False
    """Run nothing; make the table of what was run."""
    out: Path = Path("runs/score")
    name: str = "score"
    """Of the results."""


# Playing


def base_of(study: Study, name: str) -> Path:
    """The imitation that all runs of a task begin with."""
    run, task = study.out / name / "base", TASKS[name]
    if RunFolder(run).latest_checkpoint() is None:
        shutil.rmtree(run, ignore_errors=True)
        sft.train(
            sft.Config(
                run=run,
                env=task.env(),
                agent=task.agent,
                optim=optim(4e-3),
                loop=LoopConfig(
                    steps=task.steps, eval_every=task.steps // 4, eval_episodes=128, checkpoint_every=10_000
                ),
                demos=DemosConfig(task.demonstrator, episodes=task.episodes),
                tiny=TinyConfig(vocabulary=400, hidden=64, layers=2, heads=4, max_context=160),
                batch_episodes=32,
            )
        )
    return run


def played(
    policy: HFPolicy,
    env: EnvConfig,
    split: str,
    problems: int,
    *,
    again: Sequence[Start] | None = None,
    sampling: int = 0,
) -> list[Trajectory]:
    """One episode of each of the first problems of a split.

    Args:
        again: how the episodes begin, where that is not at the problem.
        sampling: added to the seeds of samples, for other samples.
    """
    with EnvPool(env.maker(), 128) as pool:
        starts = again or [
            replace(one, sampling_seed=one.sampling_seed + sampling) for one in evaluation_starts(pool, split, problems)
        ]
        found = rollout(policy, pool, starts, Setting(env.full_id))
    failed = [one for one in found if one.stop in (Stop.ENV_ERROR, Stop.CONTEXT_FULL)]
    if failed:
        raise SystemExit(f"{len(failed)} of {problems} episodes broke off, the first by {failed[0].error}")
    return found


def outcomes(task: Task, run: Path, split: str, problems: int, *, attempts: int = 2) -> dict[str, Any]:
    """Play a run's newest weights, and say for each problem how its attempts went, by mode."""
    latest = RunFolder(run).latest_checkpoint()
    assert latest is not None
    model, tokenizer = load_model(latest[1])
    env = task.env(attempts=str(attempts))
    found: dict[str, Any] = {}
    for mode in ("sampled", "greedy"):
        policy = HFPolicy(model, tokenizer, greedy=mode == "greedy", max_new_tokens=task.tokens)
        whole = played(policy, env, split, problems)
        found[mode] = [asdict(one) for one in map(Attempts.of, whole) if one is not None]
        if attempts == 2 and split == "test":
            for control in CONTROLS:
                starts = retries(whole, control, rng=np.random.default_rng(0))
                others = played(policy, env, split, problems, again=starts)
                found[f"{mode} {control}"] = [bool(one.turns[1].info["correct"]) for one in others]
    return found


def scored(task: Task, run: Path, split: str, problems: int, *, attempts: int = 2) -> dict[str, Any]:
    """The same, kept beside the run."""
    path = run / (DONE if attempts == 2 else f"{attempts}-{DONE}")
    if not path.exists():
        write_atomic(path, json.dumps(outcomes(task, run, split, problems, attempts=attempts)))
    return dict(json.loads(path.read_text()))


def attempts_of(rows: Sequence[Mapping[str, Any]]) -> list[Attempts]:
    """Read what `outcomes` wrote."""
    return [Attempts(tuple(row["correct"]), tuple(row["edits"])) for row in rows]


def ran(study: Study, name: str, method: str, trial: int, seed: int) -> dict[str, Any]:
    """Train once and score, unless that was done before."""
    run = study.out / name / f"{method}-{trial}-{seed}"
    if not (run / DONE).exists():
        if RunFolder(run).latest_checkpoint() is None:  # an interrupted run without a checkpoint can't go on
            shutil.rmtree(run, ignore_errors=True)
        kind = METHODS[method]
        kind.train(TASKS[name], base_of(study, name), run, seed, kind.trials[trial])
        if RunFolder(run).metrics()[-1]["env_turns"] < TURNS:
            raise SystemExit(f"{run} was stopped before its end: run this again to go on")
    split, problems = ("dev", DEV_PROBLEMS) if seed == TUNING_SEED else ("test", PROBLEMS)
    return scored(TASKS[name], run, split, problems)


def mean_rate(found: Mapping[str, Any], name: str) -> float:
    """One of the figures of `correction_metrics`, in the mean of sampled and greedy."""
    return float(np.mean([rates(attempts_of(found[mode]))[name] for mode in ("sampled", "greedy")]))


def merit(found: Mapping[str, Any], base: Mapping[str, Any]) -> float:
    """What tuning compares: the accuracy of last attempts; -1 where first ones fell 5 points below the base's."""
    return mean_rate(found, "t2") if mean_rate(found, "t1") > mean_rate(base, "t1") - 0.05 else -1.0


def base_on_dev(study: Study, name: str) -> dict[str, Any]:
    """The base's outcomes on the dev split."""
    folder = study.out / name / "base"
    path = folder / f"dev-{DONE}"
    if not path.exists():
        write_atomic(path, json.dumps(outcomes(TASKS[name], folder, "dev", DEV_PROBLEMS)))
    return dict(json.loads(path.read_text()))


def tuned(study: Study, name: str, method: str) -> int:
    """The trial that a method is run with: the best on the tuning seed.

    Where a task has not all trials, that is the one of `settings_of`, or else the first.
    """
    runs = [study.out / name / f"{method}-{trial}-{TUNING_SEED}" for trial in range(len(METHODS[method].trials))]
    if not all((run / DONE).exists() for run in runs):
        return tuned(study, study.settings_of, method) if study.settings_of not in (None, name) else 0
    merits = [merit(json.loads((run / DONE).read_text()), base_on_dev(study, name)) for run in runs]
    return int(np.argmax(merits))


# The table


def plain(interval: Interval | None) -> dict[str, float] | None:
    """An interval for JSON."""
    return None if interval is None else asdict(interval)


def summary(found: Mapping[int, Mapping[str, Any]], base: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """What is said about a method in one mode, over its seeds.

    Args:
        found: `outcomes` by seed. base: those of the base.
    """
    rng = np.random.default_rng(0)
    by_seed = {seed: attempts_of(one[mode]) for seed, one in found.items()}
    episodes = [one for some in by_seed.values() for one in some]
    problems = [str(at) for some in by_seed.values() for at in range(len(some))]
    whole = measure(episodes, problems, rng=rng)
    base_first = {str(at): [float(one.correct[0])] for at, one in enumerate(attempts_of(base[mode]))}
    first: dict[str, list[float]] = {}
    for problem, one in zip(problems, episodes, strict=True):
        first.setdefault(problem, []).append(float(one.correct[0]))
    sank = paired_difference(first, base_first, rng=rng).difference
    row: dict[str, Any] = {
        "t1": plain(whole.accuracy[0]),
        "t2": plain(whole.accuracy[-1]),
        "delta": plain(whole.delta),
        "wrong_to_right": plain(whole.wrong_to_right),
        "right_to_wrong": plain(whole.right_to_wrong),
        "copied": plain(whole.copied),
        "edit_distance": plain(whole.edit_distance),
        "t1_over_base": plain(sank),
        "counts": sank.high >= 0,
        "by_seed": {str(seed): rates(some) for seed, some in by_seed.items()},
    }
    for control in CONTROLS:
        if all(f"{mode} {control}" in one for one in found.values()):
            row[f"t2_{control}"] = float(np.mean([one[f"{mode} {control}"] for one in found.values()]))
    return row


def figures_of(study: Study) -> dict[str, Any]:
    """The summary of all that was run."""
    tasks: dict[str, Any] = {}
    for name in study.tasks:
        folder = study.out / name
        if not (folder / "base" / DONE).exists():
            continue
        base = scored(TASKS[name], folder / "base", "test", PROBLEMS)
        # The base, asked a third time: its last attempt is compared with its first.
        refined = scored(TASKS[name], folder / "base", "test", PROBLEMS, attempts=3)
        rows = {mode: {"base": summary({0: base}, base, mode)} for mode in ("sampled", "greedy")}
        for mode in rows:
            rows[mode]["self-refine"] = summary({0: refined}, base, mode)
        chosen = {}
        for method in METHODS:
            trial = chosen[method] = tuned(study, name, method)
            paths = sorted(folder.glob(f"{method}-{trial}-*/{DONE}"))
            found = {int(one.parent.name.rsplit("-", 1)[1]): json.loads(one.read_text()) for one in paths}
            found.pop(TUNING_SEED, None)
            if found:
                for mode in rows:
                    rows[mode][method] = summary(found, base, mode)
        trials = {method: dict(METHODS[method].trials[trial]) for method, trial in chosen.items()}
        tasks[name] = {"env": asdict(TASKS[name]), "chosen": trials, **rows}
    return {
        "problems": PROBLEMS,
        "turns_a_run": TURNS,
        "tuning_trials_a_method": 3,
        "untuned_tasks_like": study.settings_of,
        "tasks": tasks,
    }


def table(figures: Mapping[str, Any]) -> str:
    """The figures in Markdown, in percent."""

    def cell(found: Any) -> str:
        if found is None:
            return "–"
        if isinstance(found, float):
            return f"{100 * found:.1f}"
        return f"{100 * found['estimate']:.1f} ({100 * found['low']:.1f} to {100 * found['high']:.1f})"

    lines = []
    columns = ("t1", "t2", "delta", "wrong_to_right", "right_to_wrong")
    for name, task in figures["tasks"].items():
        for mode in ("sampled", "greedy"):
            lines += [
                f"\n**{name}, {mode}**\n",
                "| method (seeds) | t1 | t2 | Δ | i→c | c→i | copied | t2 shuffled | t2 removed | counts |",
                "|---|---|---|---|---|---|---|---|---|---|",
            ]
            for method, row in task[mode].items():
                copied = row["copied"] and row["copied"]["estimate"]
                controls = [cell(row.get(f"t2_{one}")) for one in CONTROLS]
                cells = [cell(row[one]) for one in columns] + [cell(copied), *controls]
                counts = "yes" if row["counts"] else "no"
                lines.append(f"| {method} ({len(row['by_seed'])}) | {' | '.join(cells)} | {counts} |")
    return "\n".join(lines)


def main(study: Study) -> None:
    """Run what is missing, and write the results of all that is there."""
    if not study.show:
        for name in study.tasks:
            base = base_of(study, name)
            for attempts in (2, 3):
                scored(TASKS[name], base, "test", PROBLEMS, attempts=attempts)
        if study.tune:
            for trial in range(3):
                for name in study.tasks:
                    for method in study.methods:
                        found = ran(study, name, method, trial, TUNING_SEED)
                        print(name, method, trial, f"{merit(found, base_on_dev(study, name)):.3f}", flush=True)
            return
        for seed in study.seeds:
            for name in study.tasks:
                for method in study.methods:
                    found = ran(study, name, method, tuned(study, name, method), seed)
                    print(name, method, seed, rates(attempts_of(found["sampled"])), flush=True)
    figures = figures_of(study)
    print(table(figures))
    if figures["tasks"]:
        seeds = sorted(
            {
                int(one)
                for task in figures["tasks"].values()
                for row in task["sampled"].values()
                for one in row["by_seed"]
            }
        )
        path = record(
            study.name,
            figures,
            seeds=seeds,
            notes="Accuracies on test problems; intervals are over problems and seeds.",
        )
        print(path.relative_to(RESULTS.parent))


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
