"""A small exact world: a tree of choices whose leaves are worth what a seeded generator says."""

from __future__ import annotations

import itertools

import gymnasium
import numpy as np

from sparring.agents.scripted import RandomPolicy
from sparring.envs.base import TextEnv
from sparring.episode import Setting, Start
from sparring.types import Action, ActionSet

CHOICES = ("left", "middle", "right")
SETTING = Setting("TreeWorld")
START = Start(seed=0, sampling_seed=7)


def leaf_values(depth: int, seed: int = 0) -> dict[tuple[str, ...], float]:
    """The score of every whole path, within 0 and .9, one of them 1."""
    rng = np.random.default_rng(seed)
    paths = list(itertools.product(CHOICES, repeat=depth))
    values = dict(zip(paths, rng.uniform(0, 0.9, len(paths)).round(3).tolist(), strict=True))
    values[paths[int(rng.integers(len(paths)))]] = 1.0
    return values


class TreeWorld(TextEnv):
    """Choose `depth` times; the score of the path taken is the reward at the end."""

    splits = ("train",)
    state = ("taken",)

    def __init__(self, depth: int = 3, seed: int = 0, breaks_on: tuple[str, ...] | None = None) -> None:
        self.depth, self.values, self.breaks_on = depth, leaf_values(depth, seed), breaks_on
        self.taken: tuple[str, ...] = ()

    def task_ids(self, split: str) -> list[str]:
        return ["only"]

    def observe(self):
        return f"at {'/'.join(self.taken) or 'the root'}", {"actions": ActionSet(CHOICES), "task": "only"}

    def reset(self, *, seed=None, options=None):
        gymnasium.Env.reset(self, seed=seed)
        self.taken = ()
        return self.observe()

    def step(self, action: str):
        if (*self.taken, action) == self.breaks_on:
            raise RuntimeError("out of order")
        self.taken = (*self.taken, action)
        text, info = self.observe()
        if len(self.taken) < self.depth:
            return text, 0.0, False, False, info
        score = self.values[self.taken]
        return text, score, True, False, info | {"score": score, "success": score == 1.0}


class ReplayedTreeWorld(TreeWorld):
    """The same without snapshots: forks are replays."""

    snapshot_kind = None


class DriftingTreeWorld(ReplayedTreeWorld):
    """Claims to be deterministic and isn't: a replay ends elsewhere."""

    replays = 0

    def observe(self):
        type(self).replays += 1
        text, info = super().observe()
        return (f"{text} ({self.replays})" if len(self.taken) == 1 else text), info


class LeftPolicy:
    """Always goes left."""

    version = 0

    def act(self, prompts):
        return [Action("left") for _ in prompts]


def uniform() -> RandomPolicy:
    return RandomPolicy()
