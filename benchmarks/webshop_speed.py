"""How fast the WebShop environment is, on the workload that the original was measured with.

    python benchmarks/webshop_speed.py --items items_shuffle_1000.json --attributes items_ins_v2_1000.json \\
        --nouns nouns.json                                # compiles the real 1,000 products, then measures
    python benchmarks/webshop_speed.py --catalogue DIR    # an already compiled catalogue
    python benchmarks/webshop_speed.py --products 1180000 # also generates and measures a catalogue of that size

The workload (docs/webshop.md, section 13): 300 episodes; reset to a random goal; search for the goal's query, its
product's title or the instruction (a third each, brackets removed); with probability 1/2 the next page; a random
product of the page; up to two random options; with probability 1/2 a random sub page and back; buy. The original
does 50 steps and 232 resets a CPU second on it, with a mean reward of 0.203.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from record import record

EPISODES = 300
ORIGINAL = {"steps_per_cpu_s": 50, "resets_per_cpu_s": 232, "resident_mb_loaded": 267, "resident_mb_after_300": 540}
NOTES = (
    "CPU time of reset and step alone, one process, text observations. first_300_episodes starts with empty caches. "
    "resident_mb counts mapped catalogue files, which processes share; private_mb does not. "
    "The original's figures are those of docs/webshop.md, section 13, measured on another 2-core machine."
)
SUB_PAGES = ("description", "features", "reviews")


def resident_mb() -> float:
    """Resident memory of this process, shared pages included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def private_mb() -> float:
    """The part of it that no other process can share: what this one wrote, as against mapped files."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) * 1024 / 1e6


def query_for(env: Any, generator: random.Random) -> str:
    """One of the three queries of the workload, for the current goal."""
    goal = env.goal
    query = generator.choice((goal.query, goal.name, goal.instruction_text))
    return query.replace("[", "").replace("]", "")


def play(env: Any, generator: random.Random) -> Iterator[tuple[str, str]]:
    """One episode of the workload after its reset, as (kind, action); reads the page between actions."""

    def clickable(names: Callable[[str], bool]) -> list[str]:
        return [action for action in env.page.actions.choices if names(action[6:-1])]

    yield "search", f"search[{query_for(env, generator)}]"
    if generator.random() < 0.5:
        yield "next page", "click[next >]"
    products = clickable(lambda name: name not in ("back to search", "next >", "< prev"))
    if not products:
        return
    yield "item", generator.choice(products)
    buttons = {"back to search", "< prev", "buy now", *SUB_PAGES}
    options = clickable(lambda name: name not in buttons)
    for action in generator.sample(options, min(len(options), 2)):
        yield "option", action
    if generator.random() < 0.5:
        yield "sub page", f"click[{generator.choice(SUB_PAGES)}]"
        yield "back", "click[< prev]"
    yield "buy", "click[buy now]"


def run_workload(env: Any, episodes: int, seed: int) -> dict[str, Any]:
    """Play, and measure CPU time spent in `reset` and `step` alone."""
    generator = random.Random(seed)
    core = env.unwrapped
    spent: dict[str, list[float]] = defaultdict(list)
    rewards = []
    clock = time.process_time_ns
    goals = len(core.shop.book)
    for episode in range(episodes):
        goal = generator.randrange(goals)
        started = clock()
        env.reset(seed=seed if episode == 0 else None, options={"goal": goal})
        spent["reset"].append(clock() - started)
        reward = 0.0
        for kind, action in play(core, generator):
            started = clock()
            _, reward, _, _, _ = env.step(action)
            spent[kind].append(clock() - started)
        rewards.append(reward)
    steps = [taken for kind, times in spent.items() if kind != "reset" for taken in times]
    return {
        "episodes": episodes,
        "steps": len(steps),
        "steps_per_cpu_s": round(len(steps) / sum(steps) * 1e9),
        "resets_per_cpu_s": round(episodes / sum(spent["reset"]) * 1e9),
        "mean_cpu_us": {kind: round(mean(times) / 1e3, 1) for kind, times in spent.items()},
        "mean_reward": round(mean(rewards), 3),
    }


def memory_per_environment(make: Callable[[], Any], count: int = 500) -> float:
    """Kilobytes of resident memory that each further environment takes, reset and one step in."""
    environments = []
    before = resident_mb()
    for seed in range(count):
        env = make()
        env.reset(seed=seed)
        env.step("search[shoes]")
        environments.append(env)
    return round((resident_mb() - before) / count * 1e3, 1)


def snapshot_us(env: Any, repeats: int = 2000) -> dict[str, float]:
    """Microseconds of one snapshot and one restore, on a product's page."""
    generator = random.Random(0)
    env.reset(seed=0)
    for kind, action in play(env, generator):
        env.step(action)
        if kind == "item":
            break
    started = time.perf_counter()
    for _ in range(repeats):
        saved = env.snapshot()
    between = time.perf_counter()
    for _ in range(repeats):
        env.restore(saved)
    ended = time.perf_counter()
    return {
        "snapshot": round((between - started) / repeats * 1e6, 2),
        "restore": round((ended - between) / repeats * 1e6, 2),
    }


def measure(catalogue: str, seed: int) -> dict[str, Any]:
    """All figures of one catalogue; call it in a process of its own, so that memory is its alone."""
    started = time.perf_counter()
    import gymnasium

    import sparring  # noqa: F401 - registers the environment

    imported = time.perf_counter()
    bare = resident_mb()

    def make() -> Any:
        return gymnasium.make("sparring/WebShop-v1", catalogue=catalogue)

    env = make()
    env.reset(seed=seed)
    env.step("search[shoes]")  # opens the search index, which is lazy
    opened = time.perf_counter()
    shop = env.unwrapped.shop
    figures: dict[str, Any] = {
        "products": len(shop.catalogue),
        "goals": len(shop.book),
        "import_s": round(imported - started, 3),
        "open_s": round(opened - imported, 3),
        "resident_mb_bare": round(bare, 1),
        "resident_mb_loaded": round(resident_mb(), 1),
    }
    figures["first_300_episodes"] = run_workload(env, EPISODES, seed)
    figures["resident_mb_after_300"] = round(resident_mb(), 1)
    figures["next_3000_episodes"] = run_workload(env, 10 * EPISODES, seed + 1)
    figures["resident_mb_after_3300"] = round(resident_mb(), 1)
    figures["private_mb_after_3300"] = round(private_mb(), 1)
    figures["search_ms"] = search_ms(env.unwrapped, seed + 2)
    figures["snapshot_us"] = snapshot_us(env.unwrapped)
    figures["kb_per_further_environment"] = memory_per_environment(make)
    return figures


def search_ms(env: Any, seed: int, queries: int = 300) -> dict[str, float]:
    """Milliseconds of uncached searches for the workload's queries."""
    from sparring.envs.web.webshop.analysis import analyse

    generator = random.Random(seed)
    taken = []
    for number in range(queries):
        env.reset(seed=seed + number)
        query = query_for(env, generator).lower()
        started = time.perf_counter()
        env.shop.catalogue.index.search(analyse(query))
        taken.append((time.perf_counter() - started) * 1e3)
    taken.sort()
    return {"median": round(median(taken), 3), "p90": round(taken[queries * 9 // 10], 3), "max": round(taken[-1], 3)}


def in_fresh_process(catalogue: Path, seed: int) -> dict[str, Any]:
    """`measure` in a new interpreter."""
    command = [sys.executable, __file__, "--measure-only", str(catalogue), "--seed", str(seed)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"measuring {catalogue} failed:\n{ended.stderr}")
    figures: dict[str, Any] = json.loads(ended.stdout)
    return figures


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=Path)
    parser.add_argument("--attributes", type=Path)
    parser.add_argument("--human", type=Path)
    parser.add_argument("--nouns", type=Path)
    parser.add_argument("--catalogue", type=Path, help="measure this catalogue instead of compiling one")
    parser.add_argument("--products", type=int, help="also generate a catalogue of this size and measure it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure-only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure_only:
        print(json.dumps(measure(given.measure_only, given.seed)))
        return
    figures: dict[str, Any] = {"original": ORIGINAL}
    with tempfile.TemporaryDirectory() as folder:
        catalogue = given.catalogue
        if catalogue is None and given.items:
            from sparring.envs.web.webshop.build import build

            catalogue = build(given.items, given.attributes, given.human, given.nouns, Path(folder) / "items")
        if catalogue is None:
            from sparring.envs.web.webshop.default import default_catalogue

            catalogue = default_catalogue()
        figures["catalogue"] = in_fresh_process(catalogue, given.seed)
        if given.products:
            from sparring.envs.web.webshop.generate import generate

            started = time.perf_counter()
            large = generate(products=given.products, seed=given.seed, out=Path(folder) / "generated")
            figures["generated"] = {
                "generate_and_build_s": round(time.perf_counter() - started, 1),
                "catalogue_mb": round(sum(path.stat().st_size for path in large.iterdir()) / 1e6),
                **in_fresh_process(large, given.seed),
            }
    print(json.dumps(figures, indent=2))
    record("webshop_speed", figures, seeds=[given.seed], command=_command(given), notes=NOTES)


def _command(given: argparse.Namespace) -> str:
    """How to repeat this, with file names in place of whole paths."""
    parts = ["python benchmarks/webshop_speed.py"]
    for key in ("items", "attributes", "human", "nouns", "catalogue", "products", "seed"):
        value = getattr(given, key)
        if value is not None:
            parts.append(f"--{key} {value.name if isinstance(value, Path) else value}")
    return " ".join(parts)


if __name__ == "__main__":
    main()
