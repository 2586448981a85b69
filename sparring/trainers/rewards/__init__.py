"""Rewards beside the environment's own, for any policy gradient.

    sparring train grpo --progress-weight 0.5 --progress-probes 4      # MRT
    sparring train ppo --memory-weight 0.2                             # Memory-R+

They are added to the rewards of turns before a trainer looks at them; metrics and files of episodes keep the
environment's own. `shaped_score` in the metrics is what was added to an episode, in the mean.

Departures from the papers:
1. MRT forces an answer where it asks how good a place is; here the policy goes on from there to the end, since what an
   answer is differs from world to world. One turn of each episode is asked about.
2. Memory-R+: vectors are means of the trained model's own hidden states, not a model's of sentences. The reward is that
   of a whole episode, on its last turn. What was said is all actions of the episode.
3. Memory-R+ explores alone for its first steps; the weights are the same throughout here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, InvalidData
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig
from sparring.trainers.exploration import Player
from sparring.trainers.rewards.episodic_memory import EpisodicMemory
from sparring.trainers.rewards.progress import progress
from sparring.types import Trajectory

MEMORY_FILE = "episodic_memory.npz"


@dataclass(frozen=True, slots=True)
class RewardsConfig:
    """What is paid beside the environment's rewards."""

    progress_weight: float = 0.0
    """What a turn is paid for each point of the score that became likelier by it (MRT); 0 for nothing."""
    progress_probes: int = 4
    """Episodes that tell how likely, before the turn and after it."""
    memory_weight: float = 0.0
    """Weight of the intrinsic reward of an episodic memory (Memory-R+), from 0 to 1 an episode; 0 for none."""
    memory_exploit: float = 0.5
    """Share of it that is for being near what worked; the rest is for being away from what did not."""
    memory_capacity: int = 1000
    """Successes and failures that are remembered, each."""
    memory_neighbours: int = 1
    """Remembered tasks that an episode is compared with."""
    memory_threshold: float = 0.5
    """Least cosine of their tasks with the episode's."""

    def __post_init__(self) -> None:
        for name, low in (
            ("progress_weight", 0), ("progress_probes", 1), ("memory_weight", 0), ("memory_exploit", 0),
            ("memory_capacity", 1), ("memory_neighbours", 1), ("memory_threshold", -1),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.memory_exploit > 1:
            raise InvalidConfig(f"memory_exploit is a share, at most 1, got {self.memory_exploit}")


class Rewards:
    """Adds the rewards asked for, and keeps what they need from step to step.

    Args:
        run: whose newest checkpoint the memory is taken from. seed: of the probes.
        setting, agent: how episodes are played and prompted. split: of their tasks.

    Raises:
        InvalidData: a checkpoint without its memory.
    """

    def __init__(
        self, config: RewardsConfig, run: RunFolder, *, seed: int, setting: Setting, agent: AgentConfig, split: str
    ) -> None:
        self._config, self._seed = config, seed
        self._setting, self._agent, self._split = setting, agent, split
        self._memory = EpisodicMemory(
            capacity=config.memory_capacity,
            count=config.memory_neighbours,
            threshold=config.memory_threshold,
            exploit=config.memory_exploit,
        )
        latest = run.latest_checkpoint()
        if config.memory_weight and latest is not None:
            path = latest[1] / MEMORY_FILE
            try:
                with np.load(path, allow_pickle=False) as arrays:
                    self._memory.load(dict(arrays))
            except (OSError, ValueError, KeyError) as error:
                raise InvalidData(
                    f"{path} does not hold the episodic memory of this run, so it can't go on ({error})"
                ) from error

    def write(self, folder: Path) -> None:
        """Put the memory into a checkpoint's folder."""
        if self._config.memory_weight:
            np.savez(folder / MEMORY_FILE, **self._memory.arrays())

    def __call__(
        self, policy: HFPolicy, pool: EnvPool, groups: Sequence[Sequence[Trajectory]], step: int
    ) -> tuple[tuple[tuple[Trajectory, ...], ...], dict[str, float], dict[str, int]]:
        """Add to the rewards of the turns of some episodes.

        Returns:
            The groups with other rewards, metrics, and what was played for it.
        """
        config = self._config
        flat = [one for group in groups for one in group]
        if not (config.progress_weight or config.memory_weight):
            return tuple(tuple(group) for group in groups), {}, {}
        rewarded = [dict[int, float]() for _ in flat]
        counts: dict[str, int] = {}
        able = [number for number, one in enumerate(flat) if one.turns]
        if config.progress_weight:
            player = Player(policy, pool, self._setting, self._agent, self._split)
            bonuses = progress(
                player,
                [flat[number] for number in able],
                probes=config.progress_probes,
                weight=config.progress_weight,
                seed=self._seed,
                step=step,
            )
            counts = player.counts
            for number, bonus in zip(able, bonuses, strict=True):
                rewarded[number] |= bonus
        if config.memory_weight:
            for number, worth in zip(able, self._remembered(policy, [flat[at] for at in able]), strict=True):
                last = len(flat[number].turns) - 1
                rewarded[number][last] = rewarded[number].get(last, 0.0) + config.memory_weight * worth
        places = iter(rewarded)
        found = tuple(tuple(paid(one, next(places)) for one in group) for group in groups)
        total = sum(sum(one.values()) for one in rewarded)
        return found, {"shaped_score": total / max(len(flat), 1)}, counts

    def _remembered(self, policy: HFPolicy, episodes: Sequence[Trajectory]) -> list[float]:
        """The intrinsic reward of each episode as the memory was before all of them, which it takes in afterwards."""
        tasks = policy.embed([f"{one.instruction}\n{one.turns[0].observation.text}" for one in episodes])
        answers = policy.embed(["\n".join(turn.action.text for turn in one.turns) for one in episodes])
        found = [self._memory.reward(task, answer) for task, answer in zip(tasks, answers, strict=True)]
        for one, task, answer in zip(episodes, tasks, answers, strict=True):
            self._memory.remember(task, answer, is_success=one.success)
        return found


def paid(episode: Trajectory, bonuses: dict[int, float]) -> Trajectory:
    """The episode with more, or less, for some of its turns."""
    turns = tuple(
        replace(turn, reward=turn.reward + bonuses[number]) if number in bonuses else turn
        for number, turn in enumerate(episode.turns)
    )
    return replace(episode, turns=turns)
