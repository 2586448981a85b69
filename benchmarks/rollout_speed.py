"""What the collector costs: turns per CPU second with a policy that does nothing, beside Gymnasium's vector loop.

    python benchmarks/rollout_speed.py

The world is a counter that ends after ten turns, so that nothing but the loop is measured. Gymnasium's
SyncVectorEnv over the same world is the peer; it builds no prompts and keeps no trajectories.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import gymnasium
from record import record

from sparring.envs.base import Info, TextEnv
from sparring.envs.pool import EnvPool
from sparring.rollout import Setting, Start, rollout, rollout_async
from sparring.types import Action, ActionSet, Prompt

LENGTH = 10
ACTIONS = ActionSet(("go",))


class Counter(TextEnv):
    """Counts to ten."""

    splits: ClassVar[tuple[str, ...]] = ("train",)
    state: ClassVar[tuple[str, ...]] = ("count",)
    count = 0

    def task_ids(self, split: str) -> Sequence[str]:
        return ("only",)

    def observe(self) -> tuple[str, Info]:
        return f"count {self.count}", {"actions": ACTIONS}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        self.count = 0
        return self.observe()

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        self.count += 1
        text, info = self.observe()
        return text, 0.0, self.count == LENGTH, False, info


class Idle:
    """Answers at once."""

    version = 0
    answer = Action("go")

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        return [self.answer] * len(prompts)


def per_cpu_second(work: Callable[[], int], repeats: int = 3) -> float:
    """The best of some repeats, in turns per CPU second."""
    best = 0.0
    for _ in range(repeats):
        begin = time.process_time()
        turns = work()
        best = max(best, turns / (time.process_time() - begin))
    return best


def main() -> None:
    episodes, width = 2_000, 32
    starts = [Start(seed) for seed in range(episodes)]

    def collector(drive: Callable[..., Any], memory: str, count: int = episodes) -> Callable[[], int]:
        def work() -> int:
            with EnvPool(Counter, width) as pool:
                done = drive(Idle(), pool, starts[:count], Setting("counter", memory=memory))
            return sum(len(one.turns) for one in done)

        return work

    def peer() -> int:
        vector = gymnasium.vector.SyncVectorEnv([Counter] * width)
        vector.reset(seed=0)
        rounds = episodes * LENGTH // width
        for _ in range(rounds):
            vector.step(["go"] * width)
        return rounds * width

    figures = {
        "rollout, full history": per_cpu_second(collector(rollout, "full_history")),
        "rollout, last observation": per_cpu_second(collector(rollout, "last_observation")),
        "rollout_async, full history": per_cpu_second(collector(rollout_async, "full_history", 300)),
        "gymnasium SyncVectorEnv": per_cpu_second(peer),
    }
    figures["ratio, rollout full history to SyncVectorEnv"] = (
        figures["rollout, full history"] / figures["gymnasium SyncVectorEnv"]
    )
    for name, value in figures.items():
        print(f"{name:<48} {value:12,.2f}")
    record("rollout_speed", figures, notes="turns per CPU second, 32 environments, episodes of 10 turns")


if __name__ == "__main__":
    main()
