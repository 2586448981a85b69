"""The peer's half of `browser_speed.py`: steps of BrowserGym on MiniWoB++, as JSON on standard output.

Run by `browser_speed.py` in an environment of its own, in which sparring is not installed; its argument is JSON.
BrowserGym starts two browsers, the second one for its chat; both are the one that is named, since Playwright's own may
not be installed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from process_tree import cpu_seconds


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Play each task for the given number of steps, clicking elements at random."""
    pages = Path(next(iter(importlib.util.find_spec("miniwob").submodule_search_locations))) / "html" / "miniwob"
    os.environ["MINIWOB_URL"] = f"file://{pages}/"
    import browsergym.miniwob  # noqa: F401 - registers its environments
    import gymnasium
    from playwright.sync_api import BrowserType

    launch = BrowserType.launch
    BrowserType.launch = lambda self, **options: launch(self, **{**options, "executable_path": settings["chromium"]})

    resets, steps, cpus = [], [], []
    for name in settings["tasks"]:
        rng = random.Random(name)
        env = gymnasium.make(
            f"browsergym/miniwob.{name}",
            **settings["options"],
        )
        taken, seed, obs = 0, 0, None
        while taken < settings["steps"]:
            if obs is None:
                began = time.perf_counter()
                obs, _ = env.reset(seed=seed)
                resets.append(time.perf_counter() - began)
                seed += 1
            able = [bid for bid, of in obs["extra_element_properties"].items() if of["clickable"] and bid.isdigit()]
            action = f"click('{rng.choice(able)}')" if able else "noop(0)"
            used, began = cpu_seconds(), time.perf_counter()
            obs, _, terminated, truncated, _ = env.step(action)
            steps.append(time.perf_counter() - began)
            cpus.append(cpu_seconds() - used)
            taken += 1
            if terminated or truncated:
                obs = None
        env.close()
    return {"resets": resets, "steps": steps, "cpus": cpus, "version": importlib.metadata.version("browsergym-core")}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
