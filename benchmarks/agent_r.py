"""Does Agent-R teach small models to recover from wrong steps, and what else would have taught as much?

    python benchmarks/agent_r.py --tune                     # three learning rates a method, on a seed of their own
    python benchmarks/agent_r.py --seeds 0 1 2              # with the rates that tuning chose

In each world one short imitation of a noisy expert is the start of all. From it go on: longer imitation, ETO, Agent-R
whose revisions are left out (good episodes only) or made at the end (Direct-Revision), and Agent-R, all for two rounds
on the same demonstrations, and about as many turns of the environment. On test tasks everyone plays sampled and
greedily, and once more from after a wrong step: a random action in place of its own at turn 0, 1 or 2, after which the
episode still goes on. Every run and every evaluation is kept under `--out`, and is not repeated.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parent))
from record import record

from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.agents.scripted import random_action
from sparring.envs.base import TextEnv
from sparring.envs.pool import EnvPool
from sparring.episode import Start
from sparring.rollout import Setting, rollout
from sparring.runs import RunFolder, write_atomic
from sparring.search.engine import plant
from sparring.settings import AgentConfig, EnvConfig
from sparring.statistics import PairedDifference, paired_difference
from sparring.trainers.exploration import spell
from sparring.types import Action, Prompt, Trajectory, Turn

TUNING_SEED = 100
ROUNDS = 2
UPDATES = 40
"""Optimiser steps of a round, of 16 episodes or 8 pairs each."""
DRAWS = 20
"""Random actions tried for a wrong step after which the episode goes on."""
Mode = Literal["sampled", "greedy"]
MODES: tuple[Mode, ...] = ("sampled", "greedy")
Rows = Sequence[dict[str, Any]]
"""What an agent came to, episode by episode."""


@dataclass(frozen=True)
class World:
    """A world, and how its agents start.

    Attributes:
        env, tokens: the environment, and how long an action may be. start: options of the imitation.
        tasks, repeats: of the test split that are played, and how often each. eto: demonstrations that a round of ETO
            plays the tasks of, so many that it plays about as many turns as Agent-R does.
    """

    env: EnvConfig
    tokens: int
    start: Sequence[str]
    tasks: int
    repeats: int
    eto: int

    @property
    def options(self) -> list[str]:
        """Of every command."""
        options = [word for pair in self.env.options.items() for word in pair]
        wrappers = ["--env.wrappers", *self.env.wrappers] if self.env.wrappers else []
        return [
            "--env.id", self.env.id, *(["--env.options", *options] if options else []), *wrappers,
            "--env.max-turns", str(self.env.max_turns), "--agent.max-action-tokens", str(self.tokens),
        ]  # fmt: skip


WEBSHOP = ("webshop-brief", "webshop-top5", "webshop-price", "webshop-match", "webshop-index")
CRAFTS = {"commands": "listed", "min_depth": "1", "max_depth": "2", "distractors": "3"}
START = ["--tiny.heads", "2", "--optim.lr", "4e-3", "--optim.decay", "linear", "--min-score", "0.9", "--steps", "250"]
WORLDS = {
    "webshop": World(
        EnvConfig("WebShop-v1", wrappers=WEBSHOP, max_turns=10),
        16,
        [*START, "--demos.agent", "expert:0.4", "--demos.episodes", "1000"],
        tasks=120,
        repeats=1,
        eto=450,
    ),
    "textcraft": World(
        EnvConfig("TextCraft-v1", CRAFTS, max_turns=14),
        32,
        [*START, "--demos.agent", "expert:0.3", "--demos.episodes", "1000"],
        tasks=43,
        repeats=3,
        eto=250,
    ),
}


@dataclass(frozen=True)
class Method:
    """A trainer with its options; `tuned_as` names the method whose learning rate it takes."""

    trainer: str
    options: Sequence[str]
    rates: Sequence[str] = ()
    tuned_as: str | None = None


LEARNING = ["--learning.updates", str(UPDATES), "--steps", str(ROUNDS), "--checkpoint-every", "1"]
AGENT_R = [*LEARNING, "--search.save-every", "0", "--alpha", "0.5", "0.7"]
METHODS = {
    "longer imitation": Method(
        "sft",
        ["--batch-episodes", "16", "--min-score", "0.9", "--steps", str(ROUNDS * UPDATES)],
        ["1e-3", "2e-3", "4e-3"],
    ),
    "ETO": Method("iterated", ["--method", "eto", *LEARNING, "--learning.batch-pairs", "8"], ["3e-4", "1e-3", "3e-3"]),
    "good only": Method("agent_r", [*AGENT_R, "--search.trees", "56", "--revisions-per-task", "0"], tuned_as="Agent-R"),
    "direct revision": Method("agent_r", [*AGENT_R, "--search.trees", "24", "--judge", "end"], tuned_as="Agent-R"),
    "Agent-R": Method("agent_r", [*AGENT_R, "--search.trees", "24"], ["1e-3", "2e-3", "4e-3"]),
}
IMITATION, FIRST = "imitation", "Agent-R, 1 round"


@dataclass(frozen=True)
class Study:
    """What to run."""

    worlds: tuple[str, ...] = tuple(WORLDS)
    methods: tuple[str, ...] = tuple(METHODS)
    seeds: tuple[int, ...] = (0, 1, 2)
    tune: bool = False
    """Run every method's three rates on seed 100, and keep the one that scores best on dev tasks."""
    out: Path = Path("runs/agent_r")
    name: str = "agent_r"
    """Of the results."""


# Training


def call(arguments: Sequence[str], log: Path) -> None:
    """Run `sparring train …` with one thread; its output goes to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        found = subprocess.run(
            [sys.executable, "-m", "sparring.trainers." + arguments[0], *arguments[1:]],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=output,
            check=False,
        )
    if found.returncode:
        raise SystemExit(f"a run failed, see {log}")


def start(study: Study, world: str) -> Path:
    """The imitation run that all others of a world begin with."""
    run = study.out / world / "start"
    if RunFolder(run).latest_checkpoint() is None:
        shutil.rmtree(run, ignore_errors=True)
        settings = [*WORLDS[world].options, *WORLDS[world].start, "--eval-every", "0", "--seed", "0"]
        call(["sft", "--run", str(run), *settings], run.with_suffix(".log"))
    return run


def train(study: Study, world: str, method: str, rate: str, seed: int, *, evaluates: bool = False) -> Path:
    """Train once, unless that was done before. `evaluates` plays dev tasks at the end, which only tuning needs."""
    kind, began = METHODS[method], start(study, world)
    run = study.out / world / f"{method.replace(' ', '-').lower()}-{rate}-{seed}"
    last = ROUNDS * UPDATES if kind.trainer == "sft" else ROUNDS
    latest = RunFolder(run).latest_checkpoint()
    if latest is not None and latest[0] == last:
        return run
    shutil.rmtree(run, ignore_errors=True)
    own = ["--demos-per-round", str(WORLDS[world].eto)] if method == "ETO" else []
    call(
        [
            kind.trainer, "--run", str(run), "--model", str(began), "--data", str(began / "trajectories"),
            "--seed", str(seed), "--optim.lr", rate, "--keep-checkpoints", "0", "--eval-episodes", "100",
            "--eval-every", str(last if evaluates else 0), *WORLDS[world].options, *kind.options, *own,
        ],
        run.with_suffix(".log"),
    )  # fmt: skip
    return run


def merit(study: Study, world: str, method: str, rate: str) -> float | None:
    """What tuning compares: the mean of both scores on dev tasks; None where it was not run."""
    run = study.out / world / f"{method.replace(' ', '-').lower()}-{rate}-{TUNING_SEED}"
    rows = RunFolder(run).metrics() if RunFolder(run).metrics_path.exists() else []
    row = rows[-1] if rows else {}
    if row.get("eval_greedy_score") is None:
        return None
    return float(row["eval_greedy_score"] + row["eval_sampled_score"]) / 2


def rate_of(study: Study, world: str, method: str) -> str:
    """The rate that a method is run with: the best one of tuning, the first where that was not run."""
    name = METHODS[method].tuned_as or method
    merits = {rate: merit(study, world, name, rate) for rate in METHODS[name].rates}
    known = {rate: value for rate, value in merits.items() if value is not None}
    return max(known, key=known.__getitem__) if len(known) == len(merits) else METHODS[name].rates[0]


def tuning(study: Study) -> dict[str, Any]:
    """By world and method, what each rate came to where it was tried."""
    return {
        world: {name: {rate: merit(study, world, name, rate) for rate in kind.rates} for name, kind in METHODS.items()}
        for world in study.worlds
    }


# Playing


def test_starts(world: World, pool: EnvPool) -> list[Start]:
    """The same starts for everyone, each with entropy of its own."""
    core = pool.envs[0].unwrapped
    assert isinstance(core, TextEnv)
    ids = core.task_ids("test")
    chosen = [ids[index] for index in sorted(np.random.default_rng(0).permutation(len(ids))[: world.tasks])]
    return [_start(task, number) for number in range(world.repeats) for task in chosen]


def _start(task: str, number: int) -> Start:
    entropy = int.from_bytes(hashlib.sha256(f"{number}:{task}".encode()).digest()[:4], "big") // 2
    return Start(entropy, task, "test", entropy)


def wrong_start(start: Start, episode: Trajectory, at: int, pool: EnvPool, setting: Setting) -> Start | None:
    """The start of the episode with a random action in the place of its own in turn `at` (or its last, if earlier).

    The action is another one, and the episode goes on after it; None where none such was drawn.
    """
    at = min(at, len(episode.turns) - 1)
    turn, rng = episode.turns[at], np.random.default_rng([start.seed, at])
    for _ in range(DRAWS):
        drawn = random_action(Prompt((), turn.observation, episode.instruction), rng)
        wrong = replace(start, prefix=(*episode.turns[:at], Turn(turn.observation, Action(drawn), 0.0)))
        if drawn != turn.action.text and not plant(pool.envs[0], wrong, setting).root.is_over:
            return wrong
    return None


def loops(episode: Trajectory) -> bool:
    """Whether the agent did in one and the same sight what it had done there before."""
    done = [(turn.observation.text, turn.action.text) for turn in episode.turns]
    return len(set(done)) < len(done)


def play(study: Study, world: str, agent: str, checkpoint: Path) -> dict[str, Rows]:
    """What an agent came to in every test episode, by mode, unless that was played before."""
    path = study.out / world / "played" / f"{agent.replace(' ', '-').lower()}.json"
    if path.exists():
        kept_rows: dict[str, Rows] = json.loads(path.read_text())
        return kept_rows
    kind = WORLDS[world]
    model, tokenizer = load_model(checkpoint)
    setting = Setting(kind.env.full_id, kind.env.wrappers)
    found: dict[str, Rows] = {}
    with EnvPool(kind.env.maker(), 32) as pool:
        starts = test_starts(kind, pool)
        for mode in MODES:
            policy = HFPolicy(model, tokenizer, greedy=mode == "greedy", max_new_tokens=kind.tokens, threads=1)
            played = rollout(policy, pool, starts, setting)
            wrong = {
                index: replace(one, prefix=spell(one.prefix, policy, AgentConfig()))
                for index, (began, episode) in enumerate(zip(starts, played, strict=True))
                if (one := wrong_start(began, episode, index % 3, pool, setting)) is not None
            }
            again = dict(zip(wrong, rollout(policy, pool, list(wrong.values()), setting), strict=True))
            found[mode] = [
                {
                    "task": episode.task_id,
                    "cluster": episode.cluster or episode.task_id,
                    "score": episode.score,
                    "success": float(episode.success),
                    "loops": float(loops(episode)),
                    "turns": len(episode.turns),
                    **(
                        {"forced_score": again[index].score, "forced_success": float(again[index].success)}
                        if index in again
                        else {}
                    ),
                }
                for index, episode in enumerate(played)
            ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(found))
    return found


# What is said about it


def by_task(rows: Rows, what: str) -> dict[str, list[float]]:
    """Values by task, of those episodes that have one."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if what in row:
            found.setdefault(row["task"], []).append(row[what])
    return found


def mean(rows: Rows, what: str) -> float:
    """Mean over the episodes that have such a value."""
    return float(np.mean([row[what] for row in rows if what in row]))


def kept(rows: Rows) -> float:
    """Success after a wrong step, as a share of that without, over the same episodes."""
    both = [row for row in rows if "forced_success" in row]
    return mean(both, "forced_success") / max(mean(both, "success"), 1e-9)


def summary(runs: Mapping[str, dict[str, Rows]], start_played: Mapping[str, Rows]) -> dict[str, Any]:
    """One agent's figures, by mode: means over seeds with their range, and differences to the start.

    Args:
        runs: by seed, what was played in each mode.
    """
    clusters = {row["task"]: row["cluster"] for row in start_played["sampled"]}
    found: dict[str, Any] = {}
    for mode in MODES:
        each = [run[mode] for run in runs.values()]
        pooled = [row for rows in each for row in rows]
        figures: dict[str, Any] = {}
        for what in ("score", "success", "forced_score", "forced_success", "loops", "turns"):
            over = [mean(rows, what) for rows in each]
            figures[what] = {"mean": float(np.mean(over)), "low": min(over), "high": max(over)}
        shares = [kept(rows) for rows in each]
        figures["kept_after_wrong_step"] = {"mean": float(np.mean(shares)), "low": min(shares), "high": max(shares)}
        figures["minus_imitation"] = {
            what: plain(
                paired_difference(
                    by_task(pooled, what),
                    by_task(start_played[mode], what),
                    rng=np.random.default_rng(0),
                    clusters=clusters,
                )
            )
            for what in ("score", "success", "forced_success", "loops")
        }
        found[mode] = figures
    return found


def plain(one: PairedDifference) -> dict[str, Any]:
    """A difference as JSON holds it."""
    return {**asdict(one.difference), "wins": one.wins, "losses": one.losses, "ties": one.ties, "tasks": one.tasks}


def cost(run: Path, step: int) -> dict[str, Any]:
    """What a run used up to a step: turns, sampled tokens, seconds of training; and how its rounds went."""
    rows = [row for row in RunFolder(run).metrics() if row["step"] <= step]
    last, kinds = rows[-1], ("contrasts", "mistakes", "recoveries_known", "revisions", "good", "demonstrations")
    rounds = [{name: row[name] for name in kinds if name in row} for row in rows] if "contrasts" in last else []
    return {
        "env_turns": last.get("env_turns", 0),
        "action_tokens": last.get("action_tokens", 0),
        "seconds": round(last["seconds"]),
        "rounds": rounds,
    }


def main(study: Study) -> None:
    """Run what is missing, and record the results of all that is there."""
    if study.tune:
        for world in study.worlds:
            for method in study.methods:
                for rate in METHODS[method].rates:
                    train(study, world, method, rate, TUNING_SEED, evaluates=True)
                    print(world, method, rate, f"{merit(study, world, method, rate):.3f}", flush=True)
        return
    figures: dict[str, Any] = {}
    for world in study.worlds:
        began = RunFolder(start(study, world)).latest_checkpoint()
        assert began is not None
        start_played = play(study, world, IMITATION, began[1])
        agents: dict[str, Any] = {IMITATION: summary({"0": start_played}, start_played)}
        for method in study.methods:
            rate = rate_of(study, world, method)
            runs: dict[str, dict[str, dict[str, Rows]]] = {}
            costs: dict[str, dict[str, Any]] = {}
            for seed in study.seeds:
                run = train(study, world, method, rate, seed)
                checkpoints = RunFolder(run).checkpoints()
                names = {method: max(checkpoints)} | ({FIRST: 1} if method == "Agent-R" else {})
                for name, step in names.items():
                    found = play(study, world, f"{name} {seed}", checkpoints[step])
                    runs.setdefault(name, {})[str(seed)] = found
                    costs.setdefault(name, {})[str(seed)] = cost(run, step)
                    print(world, name, seed, f"{mean(found['sampled'], 'score'):.3f}", flush=True)
            for name, played in runs.items():
                agents[name] = {"rate": rate, "cost": costs[name], **summary(played, start_played)}
        figures[world] = agents
        record(
            study.name,
            {"rounds": ROUNDS, "updates_a_round": UPDATES, "tuning": tuning(study), "worlds": figures},
            seeds=study.seeds,
            command=f"python benchmarks/agent_r.py --worlds {' '.join(figures)} "
            f"--seeds {' '.join(map(str, study.seeds))}",
            notes="Means over seeds of training, low and high are the seeds'. Differences to imitation are paired by "
            "task, over the mean of all seeds, with 95 % intervals over what tasks share (products, goals). "
            "forced_…: after a random action in place of the agent's own.",
        )


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
