"""How hard a WebShop catalogue is: what shoppers without learning earn on it.

    python benchmarks/webshop_hardness.py                       # the built-in catalogue
    python benchmarks/webshop_hardness.py --catalogue DIR --name webshop_hardness_real

The readers search the whole instruction and look at its first page only. One compares the stated price bound with the
prices shown (a range by its upper end), one counts the words that titles share with the instruction, one does both, and
the last one also goes back when the options asked for are not there. They read visible text alone, so the distance
between them and the first hit is what an agent can learn on the results page. The page-1 oracle buys the best product
of that page with its best options. The expert may use everything.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from record import record

from sparring.agents.first_hit import FirstHitPolicy
from sparring.agents.scripted import ExpertPolicy, RandomPolicy
from sparring.envs.pool import EnvPool
from sparring.envs.web.webshop.default import default_catalogue
from sparring.envs.web.webshop.env import WebShop
from sparring.envs.web.webshop.expert import Expert
from sparring.envs.web.webshop.matching import asked_for, shared_words
from sparring.envs.web.webshop.reward import purchase_reward
from sparring.envs.web.webshop.session import Shop
from sparring.registration import make
from sparring.rollout import Setting, Start, rollout
from sparring.types import Policy

HITS = 10
MAX_TURNS = 100
TRIES = 4  # products that the reader who goes back looks into


def summary(rewards: Sequence[float], turns: Sequence[int] = ()) -> dict[str, float]:
    """Mean score and success with their standard errors over goals, and the mean number of turns."""
    n = len(rewards)
    score, success = sum(rewards) / n, sum(one == 1 for one in rewards) / n
    spread = sum((one - score) ** 2 for one in rewards) / max(n - 1, 1)
    figures = {
        "score": score,
        "score_standard_error": math.sqrt(spread / n),
        "success": success,
        "success_standard_error": math.sqrt(success * (1 - success) / n),
        "goals": n,
    }
    return figures | ({"turns": sum(turns) / n} if turns else {})


def play(policy: Policy, tasks: Sequence[str], options: dict[str, Any]) -> dict[str, float]:
    """What a policy earns in the environment."""
    wrappers = ("expert",) if isinstance(policy, ExpertPolicy) else ()
    pool = EnvPool(lambda: make("WebShop-v1", wrappers=wrappers, max_turns=MAX_TURNS, **options), 8)
    starts = [Start(number, task=task) for number, task in enumerate(tasks)]
    played = rollout(policy, pool, starts, Setting("sparring/WebShop-v1", wrappers))
    return summary([one.score for one in played], [len(one.turns) for one in played])


def first_page(shop: Shop, goal: int) -> list[int]:
    """Rows of the first ten hits for the whole instruction."""
    told = re.sub(r"[\[\]]", " ", shop.book.goal(goal).instruction_text).lower()
    return list(shop.catalogue.search(" ".join(told.split()))[:HITS])


def reader(shop: Shop, goal: int, prices: bool, titles: bool, goes_back: bool) -> float:
    """What the reader described above earns."""
    wanted, catalogue = shop.book.goal(goal), shop.catalogue
    told = wanted.instruction_text
    stated = re.search(r"price lower than ([\d.]+) dollars", told)
    page = first_page(shop, goal)
    if prices and stated is not None:
        bound = float(stated[1])
        page = [row for row in page if max(catalogue.product(row).pricing) <= bound] or page
    if titles:
        page.sort(key=lambda row: -shared_words(catalogue.product(row).name, told))
    best: tuple[int, int, dict[str, str]] | None = None
    for row in page[: TRIES if goes_back else 1]:
        options = catalogue.product(row).options
        asked = asked_for([value for values in options.values() for value in values], told)
        chosen = {
            name: max((value for value in values if value in asked), key=len)
            for name, values in options.items()
            if asked.intersection(values)
        }
        missing = len(wanted.options) - len(chosen)
        if best is None or missing < best[0]:
            best = (missing, row, chosen)
    if best is None:
        return 0.0
    _, row, chosen = best
    nouns = catalogue.product(wanted.row).nouns
    return purchase_reward(catalogue.product(row), wanted, nouns, float(shop.book.prices[row]), chosen)[0]


def measure(catalogue: Path, goals: str, count: int) -> dict[str, Any]:
    """The table for one kind of goals, over `count` of them at most."""
    options = {"catalogue": str(catalogue), "goals": goals}
    env = make("WebShop-v1", **options).unwrapped
    assert isinstance(env, WebShop)
    shop, expert = env.shop, Expert(env.shop)
    numbers = random.Random(1).sample(range(len(shop.book)), min(count, len(shop.book)))
    tasks = [f"{goals}-{number}" for number in numbers]
    places = [
        page.index(row) if (row := shop.book.goal(goal).row) in (page := first_page(shop, goal)) else HITS
        for goal in numbers
    ]

    def read(prices: bool, titles: bool, goes_back: bool) -> dict[str, float]:
        return summary([reader(shop, goal, prices, titles, goes_back) for goal in numbers])

    rows: dict[str, Callable[[], dict[str, float]]] = {
        "random": lambda: play(RandomPolicy(), tasks, options),
        "first hit": lambda: play(FirstHitPolicy(), tasks, options),
        "reader: prices": lambda: read(True, False, False),
        "reader: titles": lambda: read(False, True, False),
        "reader: prices, titles": lambda: read(True, True, False),
        "reader: prices, titles, goes back": lambda: read(True, True, True),
        "page-1 oracle": lambda: summary(
            [
                max((expert.purchase((goal, row)).reward for row in first_page(shop, goal)), default=0)
                for goal in numbers
            ]
        ),
        "expert": lambda: play(ExpertPolicy(), tasks, options),
    }
    table = {}
    for name, run in rows.items():
        table[name] = run()
        print(f"{goals:10} {name:34} score {table[name]['score']:.3f}  success {table[name]['success']:.3f}")
    share = {f"first_{top}": sum(place < top for place in places) / len(places) for top in (1, 5, HITS)}
    print(f"{goals:10} its product among the hits for the whole instruction: {share}")
    return {"shoppers": table, "target_among_hits_of_whole_instruction": share, "goals": len(shop.book)}


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--catalogue", type=Path, help="folder of a compiled catalogue (default: the built-in one)")
    parser.add_argument("--goals", nargs="+", choices=("synthetic", "human"), default=["synthetic", "human"])
    parser.add_argument("--count", type=int, default=1_000, help="goals at most, of each kind (default: 1000)")
    parser.add_argument("--name", default="webshop_hardness", help="of the file under benchmarks/results")
    arguments = parser.parse_args()
    catalogue = arguments.catalogue or default_catalogue()
    figures = {goals: measure(catalogue, goals, arguments.count) for goals in arguments.goals}
    print(record(arguments.name, figures, seeds=[1], notes=f"catalogue {catalogue.name}; {MAX_TURNS} turns at most"))


if __name__ == "__main__":
    main()
