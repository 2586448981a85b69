"""Rewrite `golden/awkward_episodes_*.json`, what the shop answers on the awkward products.

    python tests/envs/web/webshop/record_golden.py

Run it only after a deliberate change of behaviour, when the conformance command still finds no mismatch against the
original's own recordings; then read the difference line by line.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from sparring.envs.web.webshop.build import build
from sparring.envs.web.webshop.catalogue import Catalogue
from sparring.envs.web.webshop.goals import GoalBook
from sparring.envs.web.webshop.recordings import hash_episodes
from sparring.envs.web.webshop.session import Shop
from sparring.envs.web.webshop.simulator import Simulator

GOLDEN = Path(__file__).parent / "golden"

PLANS: dict[str, list[str]] = {
    "quotes, markup, slashes": [
        'search[Kettle 12" x 9" "Best" Copper Pot]', "click[b0test0001]", 'click[12" x 9"]',
        "click[small | round]", "click[dark red]",
        "click[<b>mint< | b>]", "click[description]", "click[< prev]", "click[features]", "click[< prev]",
        "click[reviews]", "click[back to search]", "search[kettle]", "click[B0TEST0001]", "click[Dark Red]",
        "click[Buy Now]", "search[lamp]", "click[b0test0006]", "click[buy now]",
    ],
    "brackets can't be clicked": [
        "search[blanket [2 pack]]", "search[blankets]", "click[b0test0002]", "click[[2 pack]]", "click[one]",
        "click[description]", "click[< prev]", "click[features]", "click[< prev]", "click[buy now]",
    ],
    "unicode and a value of two options": [
        "search[外套 ★ crème]", "click[b0test0003]", "click[café]", "click[blue]", "click[large]", "click[description]",
        "click[< prev]", "click[buy now]",
    ],
    "options that are buttons": [
        "search[confusing gadget]", "click[b0test0004]", "click[mode]", "click[next >]", "click[search]",
        "click[description]", "click[< prev]", "click[attributes]", "click[< prev]", "click[< prev]",
        "click[b0test0004]", "click[back to search]", "search[gadget]", "click[b0test0004]", "click[buy now]",
    ],
    "a keyword that spoofs the page": [
        "search[search_results lamp]", "click[b0test0006]", "click[< prev]", "search[item_page lamp]",
        "click[b0test0006]", "click[description]", "click[< prev]", 'search["gold" chandelier]', "click[b0test0008]",
    ],
    "paging": [
        "search[warm soft winter]", "click[next >]", "click[next >]", "click[next >]", "click[next >]", "click[< prev]",
        "click[back to search]", "search[<c> fashion]", "click[next >]", "click[next >]", "search[<q> winter scarfs]",
        "search[<c> nothing]",
    ],
    "no actions": [
        "", "search", "search[]", "search[ ]", "Search[lamp]", "click[nothing]", "click[search]", " search[lamp]",
        "search[lamp] and more", "search[x] click[y]", "search[lamp]\nclick[b0test0006]", "think[hm]", "search[<a> x]",
        "search[<c>]", "search[<r>]",
    ],
    "ties come by id": ["search[plain lamp]", "click[b0test0007]", "click[buy now]"],
}  # fmt: skip


def record(shop: Shop, human: bool) -> dict[str, Any]:
    """Play every plan and a few random episodes on one simulator."""
    simulator = Simulator(shop)
    generator = random.Random(0)
    episodes = []
    for number, (name, plan) in enumerate([*PLANS.items(), *((f"random {one}", None) for one in range(6))]):
        session = None if number % 5 == 4 else number % len(shop.book)
        simulator.reset(session)
        episode = {
            "name": name, "reset_arg": session, "reset_kw": {}, "session": simulator.visit.session_id,
            "goal": shop.goal(simulator.visit).as_original(), "instruction_text": simulator.instruction_text,
            "steps": [_step("<reset>", simulator, 0.0, False)],
        }  # fmt: skip
        for turn in range(len(plan) if plan is not None else 12):
            action = plan[turn] if plan is not None else _random_action(simulator, generator)
            _, reward, done, _ = simulator.step(action)
            episode["steps"].append(_step(action, simulator, reward, done))
        episodes.append(episode)
    return {"dataset": "awkward", "human_goals": human, "seed_before_construction": 0, "episodes": episodes}


def _random_action(simulator: Simulator, generator: random.Random) -> str:
    goal = simulator.shop.goal(simulator.visit)
    if simulator.page.has_search_bar or not simulator.page.actions.choices:
        return f"search[{generator.choice((goal.query, goal.name.strip(), goal.instruction_text))}]"
    return generator.choice(simulator.page.actions.choices)


def _step(action: str, simulator: Simulator, reward: float, done: bool) -> dict[str, Any]:
    return {
        "action": action, "reward": reward, "done": done, "info": None, "obs_text": simulator.observe("text"),
        "obs_text_rich": simulator.observe("text_rich"), "url": simulator.visit.url,
        "available_actions": simulator.available_actions(), "session": simulator.session,
    }  # fmt: skip


def main() -> None:
    """Record both kinds of goals."""
    files = {key: GOLDEN / f"awkward_{key}.json" for key in ("items", "attributes", "human", "nouns")}
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Catalogue(build(**files, out=Path(folder) / "awkward"))
        for kind in ("synthetic", "human"):
            data = record(Shop(GoalBook(catalogue, kind)), kind == "human")
            if kind == "human":
                data = hash_episodes(data)  # the other recorded format; it is also much smaller
            text = json.dumps(data, ensure_ascii=False, indent=1)
            (GOLDEN / f"awkward_episodes_{kind}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
