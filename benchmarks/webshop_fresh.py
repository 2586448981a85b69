"""Does what `webshop_learning.py` trained carry over to a catalogue that nothing was tuned on?

    python benchmarks/webshop_learning.py --seeds 0 1 2      # first, where its runs are not there yet
    python benchmarks/webshop_fresh.py

The demo's settings and its catalogue were chosen with its held-out goals in sight. Here the trained models, as they
are, play a made-up catalogue of another seed, which was fixed before its catalogue was first made: none of its products
was trained on, evaluated on or chosen by. The generator is the same. One goal is played of each product. Beside them
play those who do not learn, the readers of `webshop_hardness.py` among them.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import demo as example
from record import record
from webshop_hardness import reader

from sparring.agents.load import Agent, load_agent
from sparring.bench import BenchConfig, bench, episodes
from sparring.envs.web.webshop.default import DEFAULT_PRODUCTS
from sparring.envs.web.webshop.env import WebShop
from sparring.envs.web.webshop.generate import generate
from sparring.report import Report
from sparring.settings import EnvConfig
from sparring.summary import EpisodeRecord, compare, summarise
from sparring.types import Stop

CATALOGUE_SEED = 20261125
SPLIT = "train"  # the largest; to models that were trained elsewhere all of them are new
READERS = {
    "reader: prices": (True, False, False),
    "reader: titles": (False, True, False),
    "reader: prices and titles": (True, True, False),
    "reader: prices, titles, goes back": (True, True, True),
}
MODES = ("sampled", "greedy")


def opened(options: dict[str, Any]) -> WebShop:
    """The environment, without wrappers."""
    env = EnvConfig(options=options).make().unwrapped
    assert isinstance(env, WebShop)
    return env


def one_goal_a_product(env: WebShop, count: int, seed: int) -> dict[str, str]:
    """Draw products that somebody asks for, and one goal of each.

    Returns: the products by task id.
    """
    tasks_of: dict[str, list[str]] = defaultdict(list)
    for task in env.task_ids(SPLIT):
        env.reset(options={"task": task})
        tasks_of[env.goal.asin].append(task)
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(sorted(tasks_of))[:count].tolist()
    return {tasks_of[product][int(rng.integers(len(tasks_of[product])))]: product for product in drawn}


def in_common(env: WebShop, tasks: Sequence[str]) -> dict[str, int]:
    """How many of the tasks are about a product, a title or an instruction that the built-in catalogue has too."""
    known = opened({}).shop
    told = {known.book.goal(goal).instruction_text for goal in range(len(known.book))}
    items = [known.catalogue.product(row) for row in range(len(known.catalogue))]
    asins, titles = {item.asin for item in items}, {item.name for item in items}
    found = {"products": 0, "titles": 0, "instructions": 0}
    for task in tasks:
        env.reset(options={"task": task})
        found["products"] += env.goal.asin in asins
        found["titles"] += env.shop.catalogue.product(env.goal.row).name in titles
        found["instructions"] += env.goal.instruction_text in told
    return found


def read(env: WebShop, products: dict[str, str], how: tuple[bool, bool, bool]) -> list[EpisodeRecord]:
    """What a reader earns, as episodes of one purchase."""
    found = []
    for task, product in products.items():
        env.reset(options={"task": task})
        score = reader(env.shop, env.visit.goal, *how)
        found.append(
            EpisodeRecord(task, 0, score, score == 1, score, 1, 0, 0, 0.0, str(Stop.TERMINATED), cluster=product)
        )
    return found


def players(runs: Path, seeds: Sequence[int], error_rate: float) -> list[Agent]:
    """Those who do not learn, and the trained models of every seed."""
    trained = [
        replace(load_agent(str(runs / f"seed-{seed}{ending}")), name=f"{name}, seed {seed}")
        for seed in seeds
        for name, ending in ((example.LONG, "-imitation-long"), (example.RL, ""))
    ]
    demonstrator = load_agent(f"expert:{error_rate}", wrappers=example.WRAPPERS)
    return [load_agent("random"), load_agent("first-hit"), replace(demonstrator, name=example.DEMONSTRATOR), *trained]


def differences(records: dict[str, list[EpisodeRecord]], seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Reinforcement learning, sampled, minus everyone else: each seed, and the mean of the seeds' models.

    Models are compared with those of the same seed. The mean's interval is over products and holds for these models.
    """
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, Any]] = {}
    scripted = [name for name in records if ", seed " not in name]
    rivals = [f"{example.LONG}, seed * ({mode})" for mode in MODES]
    for rival in [*rivals, f"{example.RL}, seed * (greedy)", *scripted]:
        for part in [[seed] for seed in seeds] + ([list(seeds)] if len(seeds) > 1 else []):
            ours = [one for seed in part for one in records[f"{example.RL}, seed {seed} (sampled)"]]
            names = {rival.replace("*", str(seed)) for seed in part}
            theirs = [one for name in sorted(names) for one in records[name]]
            (difference,) = compare({"ours": ours, "theirs": theirs}, "theirs", rng=rng)
            label = f"seed {part[0]}" if len(part) == 1 else f"mean of {len(part)} seeds"
            outcome = {"score": asdict(difference.score), "success": asdict(difference.success)}
            found.setdefault(rival.replace(", seed *", ""), {})[label] = outcome
    return found


def main(
    runs: Path = Path("runs/webshop_learning"),
    out: Path = Path("runs/webshop_fresh"),
    seeds: tuple[int, ...] = (0, 1, 2),
    goals: int = 300,
    catalogue_seed: int = CATALOGUE_SEED,
    name: str = "webshop_fresh",
    resume: bool = False,
) -> None:
    """Play and record.

    Args:
        runs: Folder with the runs of webshop_learning.py on the built-in catalogue.
        out: Folder for the catalogue and the episodes.
        seeds: Of the training runs.
        goals: How many products, one goal of each.
        catalogue_seed: Of the made-up catalogue.
        name: Of the result file.
        resume: Keep the episodes that are there.
    """
    catalogue = out / f"catalogue-{catalogue_seed}"
    if not catalogue.exists():
        generate(products=DEFAULT_PRODUCTS, seed=catalogue_seed, out=catalogue)
    options = {"catalogue": str(catalogue)}
    env, settings = opened(options), example.Demo()
    products = one_goal_a_product(env, goals, catalogue_seed)
    agents = players(runs, seeds, settings.error_rate)
    config = BenchConfig(EnvConfig(options=options, max_turns=settings.max_turns), SPLIT)
    played = bench(agents, config, out / "bench", tasks=list(products), resume=resume, show_progress=True)
    records = {row.agent: episodes(out / "bench")[row.agent] for row in played.rows}
    read_by = {label: read(env, products, how) for label, how in READERS.items()}
    rng = np.random.default_rng(0)
    rows = (*played.rows, *(summarise(found, agent=label, rng=rng) for label, found in read_by.items()))
    print(Report(played.title, played.setting, rows, (), played.clusters).to_markdown())
    figures = {
        "catalogue": {
            "products": DEFAULT_PRODUCTS,
            "seed": catalogue_seed,
            "goals_played": len(products),
            "in_common_with_built_in": in_common(env, list(products)),
        },
        "agents": {
            row.agent: {
                "score": asdict(row.score) if row.score else None,
                "success": asdict(row.success) if row.success else None,
                "turns": row.turns,
                "errors": row.errors,
                "wrappers": list(row.wrappers),
            }
            for row in rows
        },
        "rl_sampled_minus": differences(records | read_by, seeds),
    }
    notes = (
        "The models were trained on the built-in catalogue, in the runs that webshop_learning.json records, and never "
        "saw this one. One goal of each product, so intervals are over products; they hold for the trained models, and "
        "ignore that products come in families of look-alikes. Readers are computed from the first page's products, "
        "not played."
    )
    print(record(name, figures, seeds=seeds, command="python benchmarks/webshop_fresh.py", notes=notes))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
