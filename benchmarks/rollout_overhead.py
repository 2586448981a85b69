"""How much of a rollout's time on WebShop is not the model's own: environment, prompts, masks, sampling, collector.

    OMP_NUM_THREADS=1 python benchmarks/rollout_overhead.py

A model with random weights plays training goals, held to the admissible actions, all episodes side by side. The time
inside the model's forward passes is what any rollout must pay; the rest is ours. CPU time of one thread.
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

from sparring.agents.hf import HFPolicy
from sparring.agents.models.tiny import build_tiny
from sparring.envs.pool import EnvPool
from sparring.rollout import Setting, rollout
from sparring.settings import EnvConfig
from sparring.trainers.collect import demonstrate, group_starts, special_tokens
from sparring.trainers.sft import texts_of

WRAPPERS = ("webshop-brief", "webshop-top5", "webshop-price", "webshop-match", "webshop-index")
SHAPES = {"0.3 M weights": (64, 3), "3.7 M weights": (256, 4), "26 M weights": (512, 8)}


def measure(env: EnvConfig, folder: Path, episodes: int) -> dict[str, Any]:
    """Play `episodes` once to warm up and once for the figures."""
    policy = HFPolicy.from_folder(folder)
    forward, spent = policy.model.forward, [0.0]

    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.process_time()
        found = forward(*arguments, **options)
        spent[0] += time.process_time() - began
        return found

    policy.model.forward = timed
    setting = Setting(env.full_id, env.wrappers)
    with EnvPool(env.maker(), episodes) as pool:
        for attempt in range(2):
            spent[0], began = 0.0, time.process_time()
            starts = group_starts(0, attempt, groups=episodes // 8, size=8, split="train")
            played = rollout(policy, pool, starts, setting)
            total = time.process_time() - began
    turns = sum(len(one.turns) for one in played)
    return {
        "turns": turns,
        "action_tokens": sum(len(turn.action.token_ids) for one in played for turn in one.turns),
        "cpu_s": round(total, 3),
        "model_cpu_s": round(spent[0], 3),
        "overhead_share": round(1 - spent[0] / total, 3),
        "overhead_us_a_turn": round(1e6 * (total - spent[0]) / turns),
    }


def main(episodes: int = 128) -> None:
    """Measure all shapes.

    Args:
        episodes: played side by side, in groups of 8.
    """
    torch.set_num_threads(1)
    env = EnvConfig(wrappers=WRAPPERS, max_turns=10)
    texts = texts_of(demonstrate(env, "expert:0.4", Setting(env.full_id, WRAPPERS), episodes=300, split=None, seed=0))
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (hidden, layers) in SHAPES.items():
            model = build_tiny(
                texts, Path(folder) / name, hidden=hidden, layers=layers, special_tokens=special_tokens(env)
            )
            figures[name] = measure(env, model, episodes)
            print(name, figures[name], flush=True)
    record("rollout_overhead", figures, seeds=(0,), notes="CPU seconds of one thread; random weights, constrained.")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
