"""Self-debugging: after a wrong attempt explain what was wrong, then try again; each is rewarded for its own part.

    sparring train sft --run runs/first --env.wrappers explain
    python -m sparring.trainers.self_debug --model runs/first --run runs/debug --env.wrappers explain
    python -m sparring.trainers.self_debug --model runs/first --run runs/code --env.wrappers explain \\
        --explanation-weight 0
    python -m sparring.trainers.self_debug --run runs/debug --resume

After Self-Debug (arXiv:2304.05128), whose loop the wrapper `explain` plays, and LeDex (arXiv:2405.18649), which learns
it by reinforcement with separate rewards for explanations and for code.

| turn | its reward |
|---|---|
| attempt | 5 r - 5, r from 0 to 1 being the verifier's word on this attempt (LeDex: 5 (CodeBLEU + tests) - 5) |
| explanation | `explanation_weight` times what the attempt after it gained on the one before it |

Tokens of a turn learn from that turn's reward alone, compared with others of the group at the same turn and of the same
kind.

Departures:
1. LeDex rewards explanations by their likeness to a larger model's. There is none here: an explanation is worth what it
   brought. CodeBLEU is left out likewise, since nothing tells right programs that look different.
2. A group shares task and environment seed; PPO with a critic there, a mean of the others of the group here.
3. Dropout is off while training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import tyro

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.batch import samples_of
from sparring.trainers.checkpoint import Learner, load_learner, load_reference
from sparring.trainers.collect import Collection, collect_groups, group_starts, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.losses import attempt_advantages
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import Lesson, ObjectiveConfig, update_policy
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads
from sparring.types import Stop, Trajectory, Turn

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a run of self-debugging."""

    run: Path = Path("runs/self-debug")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint), best one of sft."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LoopConfig)
    objective: Annotated[ObjectiveConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=ObjectiveConfig)
    seed: int = 0
    """Of tasks, samples and minibatches."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    groups: int = 16
    """Tasks in a step."""
    group_size: int = 8
    """Episodes of each task."""
    explanation_weight: float = 1.0
    """What an explanation is paid for each point that the attempt after it gained; 0 teaches attempts alone."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""
    save_episodes_every: int = 50
    """Steps between files of training episodes in `trajectories/`; 0 for none."""

    def __post_init__(self) -> None:
        for name, low in (
            ("groups", 1), ("group_size", 2), ("explanation_weight", 0), ("lora_rank", 0), ("save_episodes_every", 0),
            ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: nothing asks for explanations, `run` holds a run already and `resume` was not asked for, or the
            settings don't fit together.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    if "explain" not in config.env.wrappers:
        raise InvalidConfig(
            f"self-debugging explains between attempts: put explain among --env.wrappers, which are "
            f"{config.env.wrappers}"
        )
    with claim(config.run, "self_debug", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        reference = load_reference(learner, run) if config.objective.kl_coef else None
        _train(config, run, learner, reference)
    return config.run


def _train(config: Config, run: RunFolder, learner: Learner, reference: Any | None) -> None:
    """The loop."""
    policy = learner.policy(config.agent)
    with (
        cpu_threads(learner.model, config.loop.threads),
        Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        EnvPool(config.env.maker(), config.groups * config.group_size) as pool,
        Session("self_debug", run, config.loop) as session,
    ):
        split = config.split or training_split(pool)
        for step in session.steps():
            with session.timed("rollout"):
                starts = group_starts(config.seed, step, groups=config.groups, size=config.group_size, split=split)
                collection = collect_groups(policy, pool, starts, config.setting, config.group_size)
            with session.timed("update"):
                learned = update_policy(
                    config.objective,
                    config.optim,
                    learner,
                    lessons_of(config, policy, collection),
                    reference=reference,
                    temperature=config.agent.temperature,
                    seed=config.seed,
                    step=step,
                    progress=session.progress,
                )
                policy.weights_changed()
            session.count(**collection.counts())
            row = {**collection.summary(), **learned}
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            if config.save_episodes_every and step % config.save_episodes_every == 0:
                trajectories.write(run.trajectories_path(f"step-{step:06d}"), collection.trajectories)
            session.log(row, status=f"return {row['return_mean']:.3f}")
            session.save_if_due(learner.write)
        session.finish(learner.write)


def is_explanation(turn: Turn) -> bool:
    """Whether a turn explained, and did not attempt."""
    return bool(turn.info.get("explanation", False))


def turn_rewards(episode: Trajectory, explanation_weight: float) -> list[float]:
    """What each turn is paid (see the table above); an explanation that nothing follows gets nothing."""
    rewards = []
    last = 0.0
    for number, turn in enumerate(episode.turns):
        if not is_explanation(turn):
            last = turn.reward
            rewards.append(5 * turn.reward - 5)
            continue
        after = next((one.reward for one in episode.turns[number + 1 :] if not is_explanation(one)), last)
        rewards.append(explanation_weight * (after - last))
    return rewards


def turn_advantages(config: Config, episodes: Sequence[tuple[int, Trajectory]]) -> list[Floats]:
    """The advantage of each turn of each episode, float32, one array an episode.

    Args:
        episodes: each with the number of its group, and at least one turn.
    """
    turns_S = torch.tensor([len(one.turns) for _, one in episodes], dtype=torch.int64)
    sequence_K = torch.repeat_interleave(torch.arange(len(episodes)), turns_S)
    rewards_K = torch.tensor(
        [reward for _, one in episodes for reward in turn_rewards(one, config.explanation_weight)], dtype=torch.float64
    )
    # Turns are compared where they have both number and kind in common.
    kind_K = torch.tensor(
        [2 * at + is_explanation(turn) for _, one in episodes for at, turn in enumerate(one.turns)], dtype=torch.int64
    )
    group_S = torch.tensor([number for number, _ in episodes], dtype=torch.int64)
    advantages_K = attempt_advantages(rewards_K, sequence_K, kind_K, group_S, "leave-one-out")
    return [part.numpy() for part in torch.split(advantages_K, turns_S.tolist())]


def lessons_of(config: Config, policy: HFPolicy, collection: Collection) -> list[Lesson]:
    """Compare turns with turns, and lay out their tokens."""
    episodes = [(number, one) for number, group in enumerate(collection.groups) for one in group if one.turns]
    grammar = policy.grammar if config.agent.constrained else None
    return [
        Lesson(sample, number, advantages_T[sample.turn_n])
        for (number, one), advantages_T in zip(episodes, turn_advantages(config, episodes), strict=True)
        if one.stop is not Stop.CONTEXT_FULL
        for sample in samples_of(one, policy.chat, grammar, system=config.agent.system)
    ]


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train self_debug`, given its arguments."""
    run_command(Config, "self_debug", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
