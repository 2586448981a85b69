"""RISE: roll in with the current policy, improve on what it said in each place, and imitate the improvements by reward.

    python -m sparring.trainers.rise --model runs/first --run runs/rise --samples 16
    python -m sparring.trainers.rise --model runs/first --run runs/taught --teacher expert
    python -m sparring.trainers.rise --model runs/first --run runs/all --keep all --tau 0.4 --keep-right
    python -m sparring.trainers.rise --run runs/rise --resume

Recursive introspection, arXiv:2407.18219. The environment is one of attempts: each turn is an answer to the same
problem, and its reward, from 0 to 1, is the verifier's word on that answer alone.

A round plays tasks, and stops in each place before an attempt, up to the first right one. There it asks for something
better: the best of `--samples` attempts of the policy's own (self-distillation), or what a `--teacher` says. A record
is what was said up to that place, and the better attempt behind it, which alone is learned from, counting
exp(reward / `--tau`).

| `--keep` | records that are learned from |
|---|---|
| `all` | every one |
| `better` | those with more reward than the attempt before them (a first attempt: with any) |
| `best` | of each episode, the one with the most reward, the earliest of equals |
| `success` | those that are right |

Records of the same words are learned from once.

Departures:
1. The reward is in the exponent as it is, as in the authors' code; the paper takes each state's mean off it first.
2. Places before a first attempt count, too, so that first attempts don't get worse.
3. `--keep-right` goes on to the place behind the first right attempt, and learns to leave that right. Without it every
   attempt in the data that has another before it corrects a wrong one, and the model may learn to change any.
4. Each round goes on from the weights of the one before, and learns from its own records alone, unless
   `--learning.restart` and `--learning.remember` say otherwise.
5. Dropout is off while training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from sparring.agents.hf import HFPolicy
from sparring.agents.load import Agent, load_agent
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting, rollout
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.collect import group_starts, is_usable, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.exploration import Player, sampling_seeds, summary
from sparring.trainers.losses import effective_samples, reward_weights
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rounds import Flagged, Harvest, LearningConfig, iterate, once_each, settled
from sparring.trainers.session import LoopConfig, claim
from sparring.types import Stop, Trajectory

Keep = Literal["all", "better", "best", "success"]


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a run of RISE."""

    run: Path = Path("runs/rise")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint), best one of sft."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: LoopConfig(steps=2, eval_every=1, checkpoint_every=1)
    )
    learning: LearningConfig = field(
        default_factory=lambda: LearningConfig(aggregation="seq-mean-token-mean", max_passes=3)
    )
    seed: int = 0
    """Of tasks, samples, and the order of learning."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    groups: int = 128
    """Tasks played in a round."""
    samples: int = 16
    """Attempts of the policy's own in each place, of which the best is taken; with a teacher, of that one's."""
    teacher: str | None = None
    """Who improves, as the benchmark names agents (expert, openai:MODEL@URL, a run …); by default the policy itself."""
    keep: Keep = "better"
    """Which records are learned from (see the table above)."""
    keep_right: bool = False
    """Also learn to leave a right attempt right; needs an environment that goes on after one."""
    tau: float = 0.4
    """A record counts exp(reward / tau): 12 for a reward of 1, against 1 for one of 0."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    environments: int = 64
    """How many to play in at once."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (("groups", 1), ("samples", 1), ("environments", 1), ("lora_rank", 0), ("seed", 0)):
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.tau <= 0:
            raise InvalidConfig(f"tau must be above 0, got {self.tau}")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


@dataclass(frozen=True, slots=True)
class Record:
    """An improvement: `episode` up to its last turn, which is the better attempt.

    Attributes:
        source: number of the episode that was rolled in.
    """

    episode: Trajectory
    source: int

    @property
    def reward(self) -> float:
        """Of the better attempt."""
        return self.episode.turns[-1].reward

    @property
    def before(self) -> float:
        """The reward of the attempt before it; 0 where there is none."""
        return self.episode.turns[-2].reward if len(self.episode.turns) > 1 else 0.0

    @property
    def is_right(self) -> bool:
        """Whether the better attempt is right."""
        return self.reward >= 1

    @property
    def leaves_right(self) -> bool:
        """Whether the attempt before was right already."""
        return self.before >= 1


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        UnknownName: no such teacher.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    config = replace(config, learning=settled(config.learning, restart=False, remember=False))
    with claim(config.run, "rise", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        with Improver(config) as improver:
            iterate("rise", config, run, learner, improver, (), environments=config.environments)
    return config.run


class Improver:
    """Rolls in, improves, and weighs: a collector."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._teacher: Agent | None = None
        self._classroom: EnvPool | None = None
        if config.teacher:
            env, agent = config.env, config.agent
            self._teacher = load_agent(config.teacher, wrappers=env.wrappers, memory=agent.memory, system=agent.system)
            self._classroom = EnvPool(replace(env, wrappers=self._teacher.wrappers).maker(), config.environments)

    def __enter__(self) -> Improver:
        return self

    def __exit__(self, *_: object) -> None:
        if self._classroom is not None:
            self._classroom.close()

    def __call__(self, policy: HFPolicy, pool: EnvPool, round: int, /) -> Harvest:
        """Play, improve in each place, and keep what the settings say."""
        config = self._config
        player = Player(policy, pool, config.setting, config.agent, config.split or training_split(pool))
        starts = group_starts(config.seed, round, groups=config.groups, size=1, split=player.split)
        rolled = [one for one in player.play(starts) if one is not None and is_usable(one)]
        records = self._improve(player, rolled, round)
        kept = selected(records, config.keep, keep_right=config.keep_right)
        weights_S = reward_weights(torch.tensor([one.reward for one in kept], dtype=torch.float64), config.tau)
        flagged = once_each(
            Flagged(one.episode, frozenset({len(one.episode.turns) - 1}), weight)
            for one, weight in zip(kept, weights_S.tolist(), strict=True)
        )
        effective = effective_samples(torch.tensor([one.weight for one in flagged], dtype=torch.float64))
        metrics = {
            **summary(rolled),
            "lost": float(player.lost),
            "records": float(len(records)),
            "effective_samples": effective,
            "right_records": sum(one.is_right for one in records) / max(len(records), 1),
        }
        return Harvest(tuple(flagged), counts=player.counts, metrics=metrics)

    def _improve(self, player: Player, rolled: Sequence[Trajectory], round: int) -> list[Record]:
        """The best attempt found in each place."""
        config = self._config
        found: list[Record] = []
        for turn in range(max((len(one.turns) for one in rolled), default=0)):
            here = [number for number, one in enumerate(rolled) if turn in places(one, beyond_right=config.keep_right)]
            owners = [number for number in here for _ in range(config.samples)]
            seeds = sampling_seeds(config.seed, round, f"{turn} improve", len(owners))
            tried = self._attempts(player, [rolled[number] for number in owners], turn, seeds)
            best: dict[int, Record] = {}
            for number, one in zip(owners, tried, strict=True):
                if one is not None and is_usable(one) and len(one.turns) == turn + 1:
                    record = Record(one, number)
                    if number not in best or record.reward > best[number].reward:
                        best[number] = record
            found += best.values()
        return found

    def _attempts(
        self, player: Player, episodes: Sequence[Trajectory], turn: int, seeds: Sequence[int]
    ) -> list[Trajectory | None]:
        """One more attempt at each episode, in the place of its turn."""
        starts = [player.again(one, turns=turn, sampling_seed=seed) for one, seed in zip(episodes, seeds, strict=True)]
        setting = replace(self._config.setting, max_turns=turn + 1)
        if self._teacher is None or self._classroom is None:
            player.setting = setting
            return player.play(starts, expected=episodes)
        taught = replace(setting, wrappers=self._teacher.wrappers)
        played = rollout(self._teacher.policy, self._classroom, starts, taught)
        player.counts["env_turns"] += sum(len(one.turns) for one in played)
        return [
            None
            if one.stop is Stop.ENV_ERROR or one.task_id != episode.task_id
            else replace(one, wrappers=setting.wrappers)
            for one, episode in zip(played, episodes, strict=True)
        ]


def places(episode: Trajectory, *, beyond_right: bool) -> range:
    """The turns in whose place something better is asked for: up to the first right attempt, or the one behind it."""
    count = len(episode.turns)
    first_right = next((at for at, turn in enumerate(episode.turns) if turn.reward >= 1), count)
    return range(min(count, first_right + 1 + beyond_right))


def selected(records: Iterable[Record], keep: Keep, *, keep_right: bool) -> list[Record]:
    """The records to learn from.

    Args:
        keep_right: keep those that leave a right attempt right, whatever `keep` says; those behind a right attempt that
            are wrong are never kept.
    """
    plain = [one for one in records if not one.leaves_right]
    if keep == "success":
        found = [one for one in plain if one.is_right]
    elif keep == "better":
        found = [one for one in plain if one.reward > one.before]
    elif keep == "best":
        best: dict[int, Record] = {}
        for one in plain:
            if one.source not in best or one.reward > best[one.source].reward:
                best[one.source] = one
        found = list(best.values())
    else:
        found = plain
    return found + [one for one in records if keep_right and one.leaves_right and one.is_right]


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train rise`, given its arguments."""
    run_command(Config, "rise", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
