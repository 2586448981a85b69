"""LeTI: imitate all of one's own answers behind the word on each, and ask for good ones.

    sparring train sft --run runs/first --env.wrappers reward-token
    python -m sparring.trainers.leti --model runs/first --run runs/leti --env.wrappers reward-token
    python -m sparring.trainers.leti --model runs/first --run runs/binary --env.wrappers reward-token --no-feedback
    python -m sparring.trainers.leti --run runs/leti --resume

Learning from textual interactions, arXiv:2305.10314. The wrapper `reward-token` ends what the model is shown by
`<|good|>`. A round plays tasks; each answer is then learned from behind what it deserved: `<|good|>`, or `<|bad|>` and
what the environment said about it (a traceback, the place of an error). No gradient goes through rewards, and bad
answers teach too: what goes with which complaint.

Departures:
1. An answer is a turn, good if its reward is at least `--good-reward`. In an episode of several, each is learned from
   on its own, behind the earlier ones as they were asked for.
2. The authors mix in pre-training data, so that the model forgets nothing; nothing is mixed in here.
3. Each round goes on from the weights of the one before, and learns from its own episodes alone, unless
   `--learning.restart` and `--learning.remember` say otherwise.
4. Dropout is off while training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.envs.reward_token import judged, unmarked
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.collect import group_starts, is_usable, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.exploration import Player, summary
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rounds import Flagged, Harvest, LearningConfig, iterate, settled
from sparring.trainers.session import LoopConfig, claim
from sparring.types import Trajectory


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a run of LeTI."""

    run: Path = Path("runs/leti")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint), best one of sft."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: LoopConfig(steps=4, eval_every=1, checkpoint_every=1)
    )
    learning: LearningConfig = field(default_factory=lambda: LearningConfig(max_passes=3))
    seed: int = 0
    """Of tasks, samples, and the order of learning."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    groups: int = 128
    """Tasks played in a round."""
    group_size: int = 4
    """Episodes of each."""
    good_reward: float = 1.0
    """An answer with at least this reward is good."""
    feedback: bool = True
    """Put what the environment said about a bad answer behind `<|bad|>`; without it the word alone is learned from."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    environments: int = 64
    """How many to play in at once."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (("groups", 1), ("group_size", 1), ("environments", 1), ("lora_rank", 0), ("seed", 0)):
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: the environment does not ask by reward-token, `run` holds a run already and `resume` was not
            asked for, or the settings don't fit together.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    if config.env.wrappers[-1:] != ("reward-token",):
        raise InvalidConfig(
            f"LeTI asks for good answers: put reward-token last among --env.wrappers, which are {config.env.wrappers}"
        )
    config = replace(config, learning=settled(config.learning, restart=False, remember=False))
    with claim(config.run, "leti", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)

        def collect(policy: HFPolicy, pool: EnvPool, round: int, /) -> Harvest:
            return judge_own(config, policy, pool, round)

        iterate("leti", config, run, learner, collect, (), environments=config.environments)
    return config.run


def judge_own(config: Config, policy: HFPolicy, pool: EnvPool, round: int) -> Harvest:
    """Play, and put the word on each answer before it: a collector."""
    player = Player(policy, pool, config.setting, config.agent, config.split or training_split(pool))
    starts = group_starts(config.seed, round, groups=config.groups, size=config.group_size, split=player.split)
    played = [one for one in player.play(starts) if one is not None]
    records = [record for one in played if is_usable(one) for record in records_of(config, one)]
    metrics = {**summary(played), "lost": float(player.lost)}
    return Harvest(tuple(records), counts=player.counts, metrics=metrics)


def records_of(config: Config, episode: Trajectory) -> list[Flagged]:
    """Each answer of an episode behind the word on it; what came before it is context, and nothing follows."""
    followed = [turn.observation for turn in episode.turns[1:]] + [episode.final]
    found = []
    for at, (turn, after) in enumerate(zip(episode.turns, followed, strict=True)):
        is_good = turn.reward >= config.good_reward
        feedback = unmarked(after.text) if config.feedback and after is not None else ""
        seen = replace(turn.observation, text=judged(turn.observation.text, is_good=is_good, feedback=feedback))
        # The prompt is not the one that the policy saw, which is the point: there is no checksum to hold it to.
        said = replace(turn.action, prompt_tokens=0, prompt_checksum=0)
        turns = (*episode.turns[:at], replace(turn, observation=seen, action=said))
        found.append(Flagged(replace(episode, turns=turns), frozenset({at})))
    return found


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train leti`, given its arguments."""
    run_command(Config, "leti", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
