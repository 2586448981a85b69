"""How many simulations a second a search does: one at a time, many trees together, many in one tree.

    OMP_NUM_THREADS=1 python benchmarks/search_speed.py

The demo's model, after a short imitation, searches training tasks by MCTS with playouts, held to admissible actions.
"One at a time" is a tree after the other, a simulation after the other, as published searches do it; "… no caches" is
that with every prompt run from its start, as they do it too. Trees that grow together are compared with the first, edge
by edge. CPU time of one thread, the best of the repeats. The fork share is what saving and restoring states takes of a
search's wall time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import tyro

sys.path.insert(0, str(Path(__file__).parent))
from record import record
from rollout_overhead import WRAPPERS

from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.search.engine import Budget, plant, search_many
from sparring.search.rules import rules_of
from sparring.search.tree import Tree
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import sft
from sparring.trainers.collect import group_starts
from sparring.trainers.demos import DemosConfig
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig

WORLDS = {
    "WebShop": EnvConfig("WebShop-v1", wrappers=WRAPPERS, max_turns=10),
    "NumberSearch": EnvConfig("NumberSearch-v1"),
}
# Trees side by side, simulations at once in each, and what is kept of earlier prompts.
WAYS = {
    "one at a time": (1, 1, "auto"),
    "one at a time, no caches": (1, 1, "plain"),
    "8 trees": (8, 1, "auto"),
    "64 trees": (64, 1, "auto"),
    "1 tree, 8 at once": (1, 8, "auto"),
    "16 trees, 4 at once": (16, 4, "auto"),
}


def shape_of(trees: list[Tree]) -> list[tuple[Any, ...]]:
    """What makes two searches the same."""
    return [
        (number, edge.parent.number, edge.action.text, edge.visits, round(edge.total, 6), edge.samples)
        for number, tree in enumerate(trees)
        for edge in tree.edges
    ]


def measure(
    env: EnvConfig, folder: Path, trees: int, simulations: int, side_by_side: int, at_once: int, cache: Any
) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """Search once; the figures, and what the trees were."""
    policy = HFPolicy.from_folder(folder, max_new_tokens=16, cache=cache)
    rules = rules_of("mcts", stop_at=None)
    starts = group_starts(0, 1, groups=trees, size=1, split="train")
    setting = Setting(env.full_id, env.wrappers)
    with EnvPool(env.maker(), side_by_side * at_once) as pool:
        planted = [plant(pool.envs[0], start, setting) for start in starts]
        began, began_wall = time.process_time(), time.perf_counter()
        search_many(pool, policy, planted, rules=rules, budget=Budget(simulations), simulations_at_once=at_once)
        seconds, wall = time.process_time() - began, time.perf_counter() - began_wall
    done = sum(tree.spent.simulations for tree in planted)
    forks = sum(tree.spent.fork_seconds for tree in planted)
    figures = {
        "simulations": done,
        "cpu_s": round(seconds, 2),
        "simulations_per_s": round(done / seconds, 2),
        "env_steps": sum(tree.spent.env_steps for tree in planted),
        "tokens": sum(tree.spent.tokens for tree in planted),
        "fork_share": round(forks / wall, 5),
    }
    return figures, shape_of(planted)


def imitate(env: EnvConfig, run: Path, steps: int) -> Path:
    """The checkpoint of a short imitation of a demonstrator that errs at two steps of five."""
    sft.train(
        sft.Config(
            run=run,
            env=env,
            agent=AgentConfig(max_action_tokens=16),
            demos=DemosConfig("expert:0.4", episodes=1000),
            optim=OptimConfig(lr=4e-3),
            loop=LoopConfig(steps=steps, eval_every=0, checkpoint_every=steps),
        )
    )
    found = RunFolder(run).latest_checkpoint()
    assert found is not None
    return found[1]


def main(trees: int = 64, simulations: int = 16, repeats: int = 2, imitation_steps: int = 200) -> None:
    """Measure all ways to search.

    Args:
        trees: tasks searched. simulations: of each. repeats: of every measurement; the fastest is kept.
        imitation_steps: of training before.
    """
    torch.set_num_threads(1)
    figures: dict[str, dict[str, Any]] = {}
    for world, env in WORLDS.items():
        figures[world] = {}
        with tempfile.TemporaryDirectory() as folder:
            model = imitate(env, Path(folder) / "run", imitation_steps)
            alone: list[tuple[Any, ...]] = []
            for way, (side_by_side, at_once, cache) in WAYS.items():
                found = [measure(env, model, trees, simulations, side_by_side, at_once, cache) for _ in range(repeats)]
                best = max((one for one, _ in found), key=lambda one: one["simulations_per_s"])
                alone = alone or found[0][1]
                first = figures[world].get("one at a time", best)["simulations_per_s"]
                best["times_one_at_a_time"] = round(best["simulations_per_s"] / first, 2)
                if at_once == 1:
                    same = sum(one == other for one, other in zip(alone, found[0][1], strict=False))
                    best["same_edges"] = round(same / len(alone), 4)
                figures[world][way] = best
                print(world, way, best, flush=True)
    record("search_speed", figures, seeds=(0,), notes="CPU seconds of one thread; built-in catalogue.")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
