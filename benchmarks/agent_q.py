"""Agent Q's table on WebShop, ours: what learning from trees adds to imitation, and what search adds at test time.

    python benchmarks/agent_q.py --seeds 0 1 2
    python benchmarks/agent_q.py --seeds 0 1 2 --catalogue DIR --name agent_q_real

A small model imitates a demonstrator that errs at two steps of five. From there every method learns for the same number
of turns of the environment: rejection fine-tuning, DPO on whole episodes, DPO on the pairs of search trees (Agent Q
without critique), and Agent Q, whose critique is the model's own. Everyone then plays the same held-out goals of
products that nobody trained on: sampled, greedily, and by MCTS with up to `--simulations` a goal; the start also by
best of as many. Both stop at the first episode of score 1. A search sees what an ending is worth before it commits to
it, as in the paper: its rows are to be compared with best of n, and with each other.

Every run and every episode is kept under `--out`, and is not repeated.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import demo as example
from record import record

from sparring.agents.load import load_agent
from sparring.bench import BenchConfig, bench, episodes
from sparring.runs import RunFolder
from sparring.settings import EnvConfig
from sparring.summary import EpisodeRecord, compare, summarise

PAIRS = ["--minibatches", "8", "--optim.lr", "2e-3"]
TREES = ["--search.trees", "16", "--search.simulations", "8", *PAIRS]
METHODS: Mapping[str, Sequence[str]] = {
    "RFT": ["iterated", "--method", "rft", "--groups", "512", "--learning.updates", "200", "--data", "DEMOS",
            "--min-score", "0.9", "--optim.lr", "2e-3"],
    "outcome DPO": ["dpo", "--groups", "16", "--group-size", "8", "--which", "all", *PAIRS],
    "outcome DPO, best against worst": ["dpo", "--groups", "16", "--group-size", "8", "--minibatches", "2",
                                        "--optim.lr", "2e-3"],
    "step DPO on trees": ["agent_q", *TREES],
    "Agent Q, own critique": ["agent_q", "--critique", "asked", *TREES],
}  # fmt: skip
GENTLE: Mapping[str, Sequence[str]] = {
    f"{name}, rate 5e-4": [*METHODS[name][:-1], "5e-4"]
    for name in ("outcome DPO", "outcome DPO, best against worst", "step DPO on trees")
}
"""A second look at the pairs, a quarter of the rate for all alike: chosen after 2e-3 had been seen to fail on the real
products, where policies left their start by tens of nats."""
BOUNDED: Mapping[str, Sequence[str]] = {
    "step DPO on trees, target KL": [*METHODS["step DPO on trees"][:-1], "1e-3", "--target-kl", "0.05"],
    "outcome DPO, best against worst, target KL": [*METHODS["outcome DPO, best against worst"][:-1], "1e-3",
                                                   "--target-kl", "0.05"],
}  # fmt: skip
"""A third look: half the rate, and a step ends where it has gone .05 nats a token from its samples, which a quarter of
the rate hardly ever did and the full rate did in nearly every step. Chosen after both had been scored."""
START = "imitation"


@dataclass(frozen=True)
class Study:
    """What to run."""

    seeds: tuple[int, ...] = (0, 1, 2)
    catalogue: Path | None = None
    """A compiled catalogue; by default the built-in one."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Of these, of `GENTLE` and of `BOUNDED`."""
    imitation_steps: int = 600
    env_turns: int = 12_000
    """Turns of the environment that every method learns from; replayed and searched ones count."""
    goals: int = 200
    """Held-out goals."""
    simulations: int = 10
    workers: int = 1
    """Runs side by side, a thread each."""
    out: Path = Path("runs/agent_q")
    name: str = "agent_q"
    """Of the results."""

    @property
    def options(self) -> dict[str, str]:
        """Of the environment."""
        return {"catalogue": str(self.catalogue)} if self.catalogue else {}

    def demo(self, seed: int) -> example.Demo:
        """The demo's settings, whose demonstrations and imitation these are."""
        return replace(example.Demo(), out=self.out / f"seed-{seed}", seed=seed, catalogue=self.catalogue, resume=True)

    def folder(self, seed: int, method: str) -> Path:
        """The run folder of a method."""
        return self.out / f"seed-{seed}-{method.replace(' ', '-').replace(',', '').lower()}"


def train(study: Study, seed: int, method: str) -> None:
    """Train once, unless that was done before."""
    demo, run = study.demo(seed), study.folder(seed, method)
    demonstrations = demo.folder(example.IMITATION).with_name(demo.out.name + "-demonstrations.jsonl.zst")
    if method == START:
        settings = [
            "sft", "--data", str(demonstrations), "--min-score", "0.9", "--tiny.heads", "2",
            "--optim.lr", "4e-3", "--optim.decay", "linear", "--steps", str(study.imitation_steps),
            "--eval-every", "0", "--checkpoint-every", "200",
        ]  # fmt: skip
    else:
        given = [str(demonstrations) if one == "DEMOS" else one for one in {**METHODS, **GENTLE, **BOUNDED}[method]]
        settings = [
            *given, "--model", str(study.folder(seed, START)), "--steps", "100000", "--max-env-turns",
            str(study.env_turns), "--eval-every", "0", "--checkpoint-every", "5", "--keep-checkpoints", "1",
        ]  # fmt: skip
    done = run / "done"
    if done.exists():
        return
    resume = ["--resume"] if RunFolder(run).latest_checkpoint() is not None else []
    if not resume:  # one that was stopped before its first checkpoint begins again
        shutil.rmtree(run, ignore_errors=True)
    arguments = [
        settings[0], "--run", str(run), *demo.env, "--env.wrappers", *example.WRAPPERS,
        "--agent.max-action-tokens", "16", "--seed", str(seed), *settings[1:], *resume,
    ]  # fmt: skip
    run.parent.mkdir(parents=True, exist_ok=True)
    with run.with_suffix(".log").open("w") as log:
        found = subprocess.run(
            [sys.executable, "-m", "sparring", "train", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
            check=False,
        )
    if found.returncode:
        raise SystemExit(f"a run failed, see {log.name}")
    done.touch()


def players(study: Study, seed: int) -> dict[str, str]:
    """Name and spec of everyone who plays the held-out goals by themselves or with MCTS, the start first."""
    found = {}
    for method in (START, *study.methods):
        folder = study.folder(seed, method)
        found[method] = str(folder)
        found[f"{method} + MCTS"] = f"search:mcts@simulations={study.simulations}:{folder}"
    return found


def play(study: Study, seed: int) -> dict[str, list[EpisodeRecord]]:
    """The episodes of everyone, by name."""
    config = BenchConfig(EnvConfig(options=study.options, max_turns=10), "test", study.goals)
    out = study.out / f"seed-{seed}-bench"
    known = [replace(load_agent(spec), name=name) for name, spec in players(study, seed).items()]
    spec = f"search:best-of-n@stop_at=1@simulations={study.simulations}:{study.folder(seed, START)}"
    known.append(replace(load_agent(spec), name=f"{START}, best of {study.simulations}"))
    known += [load_agent("random"), load_agent("first-hit")]
    bench(known, config, out, baseline=f"{START} (sampled)", resume=True, show_progress=False)
    return episodes(out)


def summary(study: Study, played: Mapping[int, Mapping[str, Sequence[EpisodeRecord]]]) -> dict[str, Any]:
    """Everyone's figures over all seeds, and differences goal by goal: a goal's score is its mean over the seeds."""
    names = list(next(iter(played.values())))
    pooled = {
        name: [replace(one, seed=seed) for seed, found in played.items() for one in found[name]] for name in names
    }
    rng = np.random.default_rng(0)
    rows = {name: summarise(records, agent=name, rng=rng) for name, records in pooled.items()}
    differences = {}
    rivals = [f"{START} (sampled)", f"{START} (greedy)", "RFT (sampled)", "RFT (greedy)", "first-hit"]
    for rival in [*rivals, f"{START}, best of {study.simulations}", f"{START} + MCTS"]:
        if rival in pooled:
            differences[rival] = {
                one.agent: {"score": asdict(one.score.difference), "success": asdict(one.success.difference)}
                for one in compare(pooled, rival, rng=rng)
            }
    return {
        "goals": study.goals,
        "env_turns_of_training": study.env_turns,
        "simulations": study.simulations,
        "products": rows[names[0]].clusters,
        "agents": {
            name: {
                "score": asdict(row.score) if row.score else None,
                "success": asdict(row.success) if row.success else None,
                "env_steps": row.env_steps,
                "turns": row.turns,
                "sampled_tokens": row.sampled_tokens,
                "score_by_seed": asdict(row.seed_scores) if row.seed_scores else None,
                "errors": row.errors,
            }
            for name, row in rows.items()
        },
        "minus": differences,
        "training": {
            method: [
                {name: RunFolder(study.folder(seed, method)).metrics()[-1].get(name) for name in ("step", "env_turns",
                 "action_tokens", "seconds")}
                for seed in study.seeds
            ]
            for method in study.methods
        },
    }  # fmt: skip


def main(study: Study) -> None:
    """Run what is missing, and write the results."""
    for seed in study.seeds:
        example.demonstrate(study.demo(seed))
    with ThreadPoolExecutor(study.workers) as pool:
        for methods in ((START,), study.methods):
            jobs = [(seed, method) for seed in study.seeds for method in methods]
            list(pool.map(lambda job: train(study, *job), jobs))
        played = dict(zip(study.seeds, pool.map(lambda seed: play(study, seed), study.seeds), strict=True))
    figures = summary(study, played)
    for name, row in figures["agents"].items():
        print(f"{name:<34} score {row['score']['estimate']:.3f}  success {row['success']['estimate']:.3f}  "
              f"env steps {row['env_steps']:.0f}  tokens {row['sampled_tokens']:.0f}")  # fmt: skip
    record(
        study.name,
        figures,
        seeds=study.seeds,
        notes="Intervals are over products; each goal's score is its mean over the seeds.",
    )


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
