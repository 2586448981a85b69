"""The ways to learn a second attempt that `score.py` compares, and the worlds they learn it in.

All begin with the weights of one imitation and play the same number of turns while training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import score
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.collect import group_starts, is_usable
from sparring.trainers.exploration import Player
from sparring.trainers.mask_rules import sound_turns
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rounds import Flagged, Harvest, LearningConfig, iterate
from sparring.trainers.session import LoopConfig, claim
from sparring.types import Trajectory

STEPS = 160
GROUPS, SIZE = 16, 8
TURNS = STEPS * GROUPS * SIZE * 2
"""Turns that every run plays while training: those of so many steps of two attempts."""
ROUNDS = 4


@dataclass(frozen=True)
class Task:
    """A world of attempts, and the imitation that all runs begin with.

    Attributes:
        id, options: of the environment. tokens: longest answer. demonstrator: who is imitated.
        episodes, steps: how many of its episodes, for how many optimiser steps.
    """

    id: str
    options: Mapping[str, str]
    tokens: int
    demonstrator: str
    episodes: int
    steps: int

    def env(self, **options: str) -> EnvConfig:
        """The environment, with further options."""
        return EnvConfig(self.id, {**self.options, **options})

    @property
    def agent(self) -> AgentConfig:
        """How its agents act."""
        return AgentConfig(max_action_tokens=self.tokens)


TASKS = {
    "sorting": Task("Sorting-v1", {"letters": "7", "alphabet": "10"}, 12, "expert:0.2", 10_000, 300),
    "colouring": Task("Colouring-v1", {"nodes": "5", "edges": "6"}, 10, "expert:0.2", 10_000, 500),
}


@dataclass(frozen=True)
class Method:
    """A way to train, and its trials: three for each.

    Attributes:
        train: called with the task, the base's folder, the run to write, the seed and one of `trials`.
    """

    train: Callable[[Task, Path, Path, int, Mapping[str, Any]], None]
    trials: Sequence[Mapping[str, Any]]


def rates_of(*found: float) -> list[dict[str, Any]]:
    """One trial for each learning rate."""
    return [{"lr": rate} for rate in found]


def optim(lr: float) -> OptimConfig:
    """The optimiser of every run."""
    return OptimConfig(lr=lr, micro_batch_tokens=4096)


def reinforce(
    task: Task, base: Path, run: Path, seed: int, trial: Mapping[str, Any], *, first: float = 0.4, **others: Any
) -> None:
    """Any of the policy gradients.

    Args:
        first: share of the steps that are stage I's. others: settings of `score.Config`.
    """
    once = others.get("attempts") == 1
    steps = 2 * STEPS if once else STEPS  # an episode of one attempt has half the turns
    score.train(
        score.Config(
            run=run,
            model=str(base),
            env=task.env(),
            agent=task.agent,
            optim=optim(trial["lr"]),
            loop=LoopConfig(steps=steps, max_env_turns=TURNS, eval_every=0, checkpoint_every=40, keep_checkpoints=1),
            groups=GROUPS,
            group_size=SIZE,
            seed=seed,
            stage_1_steps=round(first * steps),
            save_episodes_every=0,
            resume=RunFolder(run).latest_checkpoint() is not None,
            **others,
        )
    )


@dataclass(frozen=True)
class Imitation:
    """What `rounds.iterate` reads of a trainer's settings."""

    env: EnvConfig
    agent: AgentConfig
    optim: OptimConfig
    loop: LoopConfig
    learning: LearningConfig
    seed: int

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return Setting(self.env.full_id)


def imitate(
    task: Task, base: Path, run: Path, seed: int, trial: Mapping[str, Any], *, rule: Callable[..., list[Flagged]]
) -> None:
    """Rounds of playing groups of one problem, and of imitating what `rule` picks of each."""
    resume = RunFolder(run).latest_checkpoint() is not None
    config = Imitation(
        task.env(),
        task.agent,
        optim(trial["lr"]),
        LoopConfig(steps=ROUNDS, eval_every=0, checkpoint_every=1, keep_checkpoints=1),
        LearningConfig(updates=400, max_passes=3, batch_episodes=64, restart=True, remember=True),
        seed,
    )

    def collect(policy: HFPolicy, pool: EnvPool, round: int, /) -> Harvest:
        player = Player(policy, pool, config.setting, config.agent, "train")
        starts = group_starts(seed, round, groups=TURNS // (2 * SIZE * ROUNDS), size=SIZE, split="train")
        played = player.play(starts)
        groups = [
            [one for one in played[first : first + SIZE] if one is not None and is_usable(one)]
            for first in range(0, len(played), SIZE)
        ]
        choices = {name: value for name, value in trial.items() if name != "lr"}
        flagged = [one for group in groups for one in rule(group, **choices)]
        return Harvest(tuple(flagged), counts=player.counts)

    with claim(run, "benchmark", config, resume=resume) as folder:
        learner = load_learner(str(base), config.optim, folder)
        iterate("benchmark", config, folder, learner, collect, (), environments=GROUPS * SIZE)


def is_right(one: Trajectory, attempt: int) -> bool:
    """Whether an attempt, counted from 0, was right."""
    return bool(one.turns[attempt].info["correct"])


def corrections(group: Sequence[Trajectory], *, keep_right: bool, mask_errors: bool) -> list[Flagged]:
    """STaR: own episodes that ended right after a wrong first attempt; with `keep_right`, after a right one too.

    With `mask_errors` the wrong attempts are not imitated: else the model learns to make them first.
    """
    return [
        Flagged(one, sound_turns(one) if mask_errors else None)
        for one in group
        if is_right(one, -1) and (keep_right or not is_right(one, 0))
    ]


def pairs(group: Sequence[Trajectory], *, keep_right: bool) -> list[Flagged]:
    """Pair-SFT: behind a wrong first attempt, a right one from another episode of the problem; that alone is trained.

    With `keep_right`, right first attempts are followed by themselves, too.
    """
    right = [one.turns[0] for one in group if is_right(one, 0)]
    found = []
    for at, one in enumerate(group):
        if not right or len(one.turns) != 2 or (is_right(one, 0) and not keep_right):
            continue
        better = one.turns[0] if is_right(one, 0) else right[at % len(right)]
        spelled = replace(better.action, prompt_tokens=0, prompt_checksum=0, logprobs=())
        second = replace(one.turns[1], action=spelled, reward=better.reward)
        found.append(Flagged(replace(one, turns=(one.turns[0], second)), frozenset({1})))
    return found


IMITATIONS = [
    {"lr": 2e-3, "keep_right": False},
    {"lr": 2e-3, "keep_right": True},
    {"lr": 1e-3, "keep_right": True},
]
STAR = [
    {"lr": 2e-3, "keep_right": False, "mask_errors": True},
    {"lr": 2e-3, "keep_right": True, "mask_errors": True},
    {"lr": 2e-3, "keep_right": True, "mask_errors": False},
]
LEARNING_RATES = rates_of(1e-3, 5e-4, 2e-3)
METHODS = {
    "star": Method(partial(imitate, rule=corrections), STAR),
    "pair-sft": Method(partial(imitate, rule=pairs), IMITATIONS),
    "single-turn": Method(partial(reinforce, attempts=1, first=0.0), LEARNING_RATES),
    "two-turn": Method(partial(reinforce, first=0.0, alpha=0.0), LEARNING_RATES),
    "no-stage-1": Method(partial(reinforce, first=0.0), LEARNING_RATES),
    "no-shaping": Method(partial(reinforce, alpha=0.0), LEARNING_RATES),
    "score": Method(partial(reinforce), LEARNING_RATES),
    "stage-1": Method(partial(reinforce, first=1.0), LEARNING_RATES),
}
"""`stage-1` is no method of its own: it shows what the first stage does when nothing follows it."""
