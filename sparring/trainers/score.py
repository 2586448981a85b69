"""SCoRe: learn to correct one's own answers by two stages of reinforcement learning over several attempts.

    python -m sparring.trainers.score --model runs/first --run runs/score --stage-1-steps 100 --steps 300
    python -m sparring.trainers.score --model runs/first --run runs/plain --stage-1-steps 0 --alpha 0
    python -m sparring.trainers.score --model runs/first --run runs/single --stage-1-steps 0 --attempts 1
    python -m sparring.trainers.score --model runs/first --run runs/mixed --mix 0.5
    python -m sparring.trainers.score --run runs/score --resume

Kumar et al., arXiv:2409.12917. The environment is one of attempts: each turn is an answer to the same problem, and its
reward r_i, from 0 to 1, is the verifier's word on that answer alone.

| stage | rewarded | held to the start (KL) |
|---|---|---|
| I | r_2 alone | the first attempt by `beta_2`, later ones by `beta_1` |
| II | r_1, and r_2 + `alpha` (r_2 - r_1) | every attempt by `beta_1` |

Each attempt's tokens learn from that attempt's reward alone: the first is not credited with what the second earned. A
first attempt that were would learn to be wrong, so as to be corrected, and the gain from attempt to attempt would look
splendid.

| ablation | options |
|---|---|
| no stage I | `--stage-1-steps 0` |
| no shaping | `--alpha 0` |
| two-turn RL with neither | `--stage-1-steps 0 --alpha 0` |
| single-turn RL | `--stage-1-steps 0 --attempts 1` |

Departures from the paper:
1. The baseline is the mean of the *others* of a group of episodes of one task and seed, attempt by attempt, not stated
   there; `--baseline mean` and `none` are there to compare.
2. The KL is a loss on the sampled tokens (`--kl-estimator`, exact among them), not part of the reward.
3. With more than two attempts, every attempt after the first is rewarded as the second.
4. `--mix`: that share of the groups of stage II goes on from first attempts of the start's model, one for each group;
   these first attempts are not learned from. The paper says that such prompts are mixed in, and not how many.
5. The last weights are kept, not those with the best training reward.
6. Dropout is off while training.
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
from sparring.rollout import Setting, Start, rollout
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.batch import samples_of
from sparring.trainers.checkpoint import Learner, load_learner, load_reference
from sparring.trainers.collect import Collection, collect_groups, group_starts, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.losses import AttemptBaseline, attempt_advantages, shaped_rewards
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import Lesson, ObjectiveConfig, update_policy
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads
from sparring.types import Stop, Trajectory

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a run of SCoRe."""

    run: Path = Path("runs/score")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start, and what the KL holds on to: tiny, smollm2, a model folder, or a run folder (its newest
    checkpoint), best one of sft."""
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
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    stage_1_steps: int = 100
    """Steps of stage I; those after it, up to `steps`, are stage II."""
    alpha: float = 10.0
    """Stage II: what an attempt is paid for each point that it gained on the attempt before, or lost."""
    beta_1: float = 0.01
    """Weight of the KL to the start."""
    beta_2: float = 0.1
    """Stage I: weight of the KL of first attempts, which must stay as they are. Paper: .1 (MATH), .25 (code)."""
    baseline: AttemptBaseline = "leave-one-out"
    """What an attempt's reward is compared with (`losses.self_correction`)."""
    mix: float = 0.0
    """Stage II: share of groups that go on from a first attempt of the start's model."""
    attempts: int | None = None
    """Play no more attempts than so many while training; by default as many as the environment allows."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""
    save_episodes_every: int = 50
    """Steps between files of training episodes in `trajectories/`; 0 for none."""

    def __post_init__(self) -> None:
        for name, low in (
            ("groups", 1), ("group_size", 1), ("stage_1_steps", 0), ("alpha", 0), ("beta_1", 0), ("beta_2", 0),
            ("mix", 0), ("lora_rank", 0), ("save_episodes_every", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.mix > 1:
            raise InvalidConfig(f"mix is a share of the groups, at most 1, got {self.mix}")
        if self.attempts is not None and self.attempts < 1:
            raise InvalidConfig(f"attempts must be at least 1, got {self.attempts}")
        if self.attempts == 1 and self.stage_1_steps:
            raise InvalidConfig("stage I rewards second attempts alone: with attempts 1, stage_1_steps must be 0")
        if self.baseline == "leave-one-out" and self.group_size < 2:
            raise InvalidConfig("leave-one-out compares the episodes of a group: group_size must be at least 2")
        if self.objective.kl_coef:
            raise InvalidConfig("SCoRe weighs its KL by beta_1 and beta_2: leave kl_coef out")
        if self.objective.minibatches > self.groups:
            raise InvalidConfig(
                f"minibatches ({self.objective.minibatches}) can't exceed groups ({self.groups}): "
                "a group is never split"
            )

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)

    @property
    def needs_reference(self) -> bool:
        """Whether anything needs the model that the run began with."""
        return self.beta_1 > 0 or self.mix > 0 or (self.beta_2 > 0 and self.stage_1_steps > 0)

    def is_first_stage(self, step: int) -> bool:
        """Whether a step, counted from 1, is one of stage I."""
        return step <= self.stage_1_steps


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "score", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        reference = load_reference(learner, run) if config.needs_reference else None
        _train(config, run, learner, reference)
    return config.run


def _train(config: Config, run: RunFolder, learner: Learner, reference: Any | None) -> None:
    """The loop."""
    policy = learner.policy(config.agent)
    base = Learner(reference, learner.tokenizer, learner.optimizer).policy(config.agent) if config.mix else None
    objective = replace(config.objective, kl_coef=1.0 if reference is not None else 0.0)
    with (
        cpu_threads(learner.model, config.loop.threads),
        Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        EnvPool(config.env.maker(), config.groups * config.group_size) as pool,
        Session("score", run, config.loop) as session,
    ):
        split = config.split or training_split(pool)
        for step in session.steps():
            with session.timed("rollout"):
                played = play(config, policy, base, pool, step, split)
            with session.timed("update"):
                learned = update_policy(
                    objective,
                    config.optim,
                    learner,
                    lessons_of(config, policy, played, first_stage=config.is_first_stage(step)),
                    reference=reference,
                    temperature=config.agent.temperature,
                    seed=config.seed,
                    step=step,
                    progress=session.progress,
                )
                policy.weights_changed()
            session.count(**played.whole.counts())
            row = {**played.own.summary(), "stage": 1.0 if config.is_first_stage(step) else 2.0, **learned}
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            if config.save_episodes_every and step % config.save_episodes_every == 0:
                trajectories.write(run.trajectories_path(f"step-{step:06d}"), played.whole.trajectories)
            session.log(row, status=f"return {row['return_mean']:.3f}")
            session.save_if_due(learner.write)
        session.finish(learner.write)


@dataclass(frozen=True, slots=True)
class Played:
    """A step's episodes.

    Attributes:
        whole: all of them. mixed: numbers of the groups that went on from a first attempt of the start's model.
    """

    whole: Collection
    mixed: frozenset[int] = frozenset()

    @property
    def own(self) -> Collection:
        """Those whose first attempts were the policy's own, for metrics."""
        groups = [group for number, group in enumerate(self.whole.groups) if number not in self.mixed]
        return Collection(tuple(groups), self.whole.failed)


def play(config: Config, policy: HFPolicy, base: HFPolicy | None, pool: EnvPool, step: int, split: str) -> Played:
    """Play a step's groups.

    Args:
        base: the start's model, where first attempts of it are mixed in.
    """
    starts = group_starts(config.seed, step, groups=config.groups, size=config.group_size, split=split)
    setting = replace(config.setting, max_turns=config.attempts)
    mixed: dict[int, Trajectory] = {}
    if base is not None and not config.is_first_stage(step):
        mixed = first_attempts(config, base, pool, starts)
        starts = [
            replace(start, prefix=mixed[index // config.group_size].turns)
            if index // config.group_size in mixed
            else start
            for index, start in enumerate(starts)
        ]
    return Played(collect_groups(policy, pool, starts, setting, config.group_size), frozenset(mixed))


def first_attempts(config: Config, base: HFPolicy, pool: EnvPool, starts: Sequence[Start]) -> dict[int, Trajectory]:
    """A first attempt by `base` at each of the first `mix` of the groups, by the number of the group."""
    chosen = [starts[group * config.group_size] for group in range(round(config.mix * config.groups))]
    played = rollout(base, pool, chosen, replace(config.setting, max_turns=1))
    return {
        group: one
        for group, one in enumerate(played)
        if one.turns and one.stop not in (Stop.ENV_ERROR, Stop.CONTEXT_FULL)
    }


def lessons_of(config: Config, policy: HFPolicy, played: Played, *, first_stage: bool) -> list[Lesson]:
    """Compare attempts with attempts, and lay out their tokens."""
    episodes = [(number, one) for number, group in enumerate(played.whole.groups) for one in group if one.turns]
    grammar = policy.grammar if config.agent.constrained else None
    lessons = []
    for (number, one), advantages_T in zip(
        episodes, turn_advantages(config, episodes, first_stage=first_stage), strict=True
    ):
        if one.stop is Stop.CONTEXT_FULL:
            continue
        betas_T = np.full(len(one.turns), config.beta_1, dtype=np.float32)
        if first_stage:
            betas_T[0] = config.beta_2
        for sample in samples_of(one, policy.chat, grammar, system=config.agent.system):
            assert sample.turn_n is not None
            own = sample.keeping(sample.turn_n >= 1) if number in played.mixed else sample
            assert own.turn_n is not None
            if len(own.sampled_n):
                lessons.append(Lesson(own, number, advantages_T[own.turn_n], betas_T[own.turn_n]))
    return lessons


def turn_advantages(config: Config, episodes: Sequence[tuple[int, Trajectory]], *, first_stage: bool) -> list[Floats]:
    """The advantage of each attempt of each episode, float32, one array an episode.

    Args:
        episodes: each with the number of its group, and at least one turn.
    """
    turns_S = torch.tensor([len(one.turns) for _, one in episodes], dtype=torch.int64)
    sequence_K = torch.repeat_interleave(torch.arange(len(episodes)), turns_S)
    attempt_K = torch.tensor([at for _, one in episodes for at in range(len(one.turns))], dtype=torch.int64)
    rewards_K = torch.tensor([turn.reward for _, one in episodes for turn in one.turns], dtype=torch.float64)
    group_S = torch.tensor([number for number, _ in episodes], dtype=torch.int64)
    if first_stage:
        rewards_K = rewards_K.where(attempt_K > 0, 0.0)
    else:
        rewards_K = shaped_rewards(rewards_K, sequence_K, config.alpha)
    advantages_K = attempt_advantages(rewards_K, sequence_K, attempt_K, group_S, config.baseline)
    return [part.numpy() for part in torch.split(advantages_K, turns_S.tolist())]


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train score`, given its arguments."""
    run_command(Config, "score", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
