"""Group policy gradient: play every task several times, and make likelier what did better than its siblings.

    python -m sparring.trainers.grpo --model runs/first --run runs/second --steps 100
    python -m sparring.trainers.grpo --model runs/first --run runs/third --advantage rloo --kl-coef 0.01
    python -m sparring.trainers.grpo --model runs/first --run runs/dapo --drop-zero-variance --resample-attempts 2 \\
        --max-episode-tokens 400 --overlong-tokens 80
    python -m sparring.trainers.grpo --model runs/first --run runs/gigpo --advantage gigpo
    python -m sparring.trainers.grpo --run runs/second --resume

GRPO (DeepSeekMath, arXiv:2402.03300), RLOO (arXiv:2402.14740), Dr. GRPO (arXiv:2503.20783), REINFORCE++
(arXiv:2501.03262), GiGPO (arXiv:2505.10978), with the surrogates of PPO, GSPO and CISPO, and DAPO's sampling
(arXiv:2503.14476), for episodes of many turns: an episode is one sequence (or one a turn, under a memory style whose
prompts do not extend each other), and observations are masked out.

Departures from the papers:
1. A group shares task *and* environment seed, so that its members differ by the policy's draws alone.
2. The old policy's log-probabilities are those recorded while sampling; no pass recomputes them (unless `--correction`
   asks for it). Sampler and trainer share their weights, and `mismatch` in the metrics (mean difference before the
   first update) shows that they agree.
3. KL to a reference is off unless asked for, and is then a loss (k3), never part of the reward; so too in REINFORCE++.
4. Losses are averaged over all tokens of the batch (DAPO); GRPO's own mean per sequence is
   `--aggregation seq-mean-token-mean`, Dr. GRPO's constant `seq-mean-token-sum-norm`.
5. Dropout is off while training: the ratio of new to old probabilities must be 1 before the first step.
6. Groups with fewer than two members left (failed environments) teach nothing and are left out. Episodes that overran
   the context count in their group's mean, and are left out of the loss.
7. GiGPO's anchors are equal observation texts, less what `--anchor-ignores` matches; no similarity search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import regex
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
from sparring.trainers.collect import (
    Collection,
    action_tokens,
    collect_groups,
    group_starts,
    shared_setting,
    training_split,
)
from sparring.trainers.command import run_command, run_module
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.losses import (
    discounted_returns,
    gigpo_advantages,
    group_advantages,
    overlong_penalty,
    turn_group_advantages,
)
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import Lesson, ObjectiveConfig, update_policy
from sparring.trainers.rewards import Rewards, RewardsConfig
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads
from sparring.types import Stop, Trajectory

Credit = Literal["grpo", "rloo", "dr_grpo", "reinforce++", "reinforce++-baseline", "gigpo", "turn"]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a group policy gradient run."""

    run: Path = Path("runs/grpo")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint)."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LoopConfig)
    objective: Annotated[ObjectiveConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=ObjectiveConfig)
    rewards: Annotated[RewardsConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=RewardsConfig)
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
    run_free: bool = False
    """Let each environment step in a thread of its own, and wait for no other: for environments slower than the model.
    Batches then depend on timing, so that a run can't be repeated bit by bit."""
    drop_zero_variance: bool = False
    """Leave out groups whose returns are all equal (DAPO, arXiv:2503.14476, section 3.2), so that they do not thin
    out the mean over tokens."""
    resample_attempts: int = 0
    """With drop_zero_variance: how often to play other tasks in the place of groups left out."""

    advantage: Credit = "grpo"
    """How an episode is compared with its group (`losses.advantages`), or a turn: gigpo adds a comparison with turns
    of the group that saw the same observation, turn compares what followed each turn with the group at that turn."""
    gamma: float = 0.95
    """Discount from turn to turn, for gigpo and turn alone."""
    step_weight: float = 1.0
    """gigpo: weight of the comparison of turns beside that of episodes."""
    normalise: bool = False
    """gigpo: divide both comparisons by their standard deviations (the paper does so on ALFWorld, not on WebShop)."""
    anchor_ignores: str = ""
    """gigpo: a regular expression for what changes in an observation without meaning, such as counters or tags."""
    overlong_tokens: int = 0
    """DAPO's soft penalty: an episode's return falls by up to 1 over the last so many tokens below max_episode_tokens,
    and by 1 beyond; 0 for none."""
    token_cost: float = 0.0
    """Taken off an episode's return for each sampled token, so that length is not free."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""
    save_episodes_every: int = 50
    """Steps between files of training episodes in `trajectories/`; 0 for none."""

    def __post_init__(self) -> None:
        for name, low in (
            ("groups", 1), ("group_size", 2), ("resample_attempts", 0), ("overlong_tokens", 0), ("token_cost", 0),
            ("step_weight", 0), ("lora_rank", 0), ("save_episodes_every", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 <= self.gamma <= 1:
            raise InvalidConfig(f"gamma must lie within 0 and 1, got {self.gamma}")
        if self.objective.minibatches > self.groups:
            raise InvalidConfig(
                f"minibatches ({self.objective.minibatches}) can't exceed groups ({self.groups}): "
                "a group is never split"
            )
        if self.overlong_tokens > self.objective.max_episode_tokens:
            raise InvalidConfig(
                f"overlong_tokens ({self.overlong_tokens}) can't exceed max_episode_tokens "
                f"({self.objective.max_episode_tokens})"
            )
        if self.resample_attempts and not self.drop_zero_variance:
            raise InvalidConfig("resample_attempts replaces dropped groups: it needs drop_zero_variance")
        try:
            regex.compile(self.anchor_ignores)
        except regex.error as error:
            raise InvalidConfig(f"anchor_ignores must be a regular expression: {error}") from error

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)

    def learning_return(self, trajectory: Trajectory) -> float:
        """What an episode is worth to the trainer: its return less the cost of its tokens."""
        tokens = action_tokens(trajectory)
        worth = trajectory.total_reward - self.token_cost * tokens
        if self.overlong_tokens:
            lengths_S = torch.tensor([tokens])
            worth += float(overlong_penalty(lengths_S, self.objective.max_episode_tokens, self.overlong_tokens))
        return worth


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "grpo", replace(config, resume=False), resume=config.resume) as run:
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
        Session("grpo", run, config.loop) as session,
    ):
        split = config.split or training_split(pool)
        rewards = Rewards(
            config.rewards, run, seed=config.seed, setting=config.setting, agent=config.agent, split=split
        )

        def write(folder: Path) -> None:
            learner.write(folder)
            rewards.write(folder)

        for step in session.steps():
            with session.timed("rollout"):
                collection, alike = play(config, policy, pool, step, split)
                groups, shaping, probed = rewards(policy, pool, collection.groups, step)
            with session.timed("update"):
                learned = update_policy(
                    config.objective,
                    config.optim,
                    learner,
                    lessons_of(config, policy, replace(collection, groups=groups)),
                    reference=reference,
                    temperature=config.agent.temperature,
                    seed=config.seed,
                    step=step,
                    progress=session.progress,
                )
                policy.weights_changed()
            episodes = collection.trajectories
            session.count(**collection.counts())
            session.count(**probed)
            row = {**collection.summary(), "zero_variance": alike, **shaping, **learned}
            if step == 1:
                advise(session, row)
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            if config.save_episodes_every and step % config.save_episodes_every == 0:
                trajectories.write(run.trajectories_path(f"step-{step:06d}"), episodes)
            session.log(row, status=f"return {row['return_mean']:.3f}")
            session.save_if_due(write)
        session.finish(write)


def advise(session: Session, row: Mapping[str, float]) -> None:
    """Say what to do where the first step shows that there is nothing to learn from."""
    if row["context_full"] > 0.5:
        session.say(
            f"{row['context_full']:.0%} of the episodes overran the model's context and teach nothing: show less "
            "(--env.wrappers, --agent.memory last_observation), or take a model with a longer context."
        )
    elif row["zero_variance"] == 1:
        session.say(
            "All episodes of each group ended alike, so that nothing was learned. A model that never succeeds "
            "needs imitation first (sparring train sft, then --model RUN); one that always does needs harder tasks."
        )


def play(config: Config, policy: HFPolicy, pool: EnvPool, step: int, split: str) -> tuple[Collection, float]:
    """Play a step's groups; return those to learn from, and the share of all played whose returns were equal."""
    kept: list[tuple[Trajectory, ...]] = []
    failed = played = alike = 0
    for attempt in range(1 + config.resample_attempts):
        starts = group_starts(
            config.seed,
            step,
            groups=config.groups - len(kept),
            size=config.group_size,
            split=split,
            attempt=attempt,
        )
        found = collect_groups(policy, pool, starts, config.setting, config.group_size, run_free=config.run_free)
        failed += found.failed
        played += len(found.groups)
        for group in found.groups:
            equal = len({config.learning_return(one) for one in group}) <= 1
            alike += equal
            if len(group) >= 2 and not (equal and config.drop_zero_variance):
                kept.append(group)
        if len(kept) == config.groups:
            break
    return Collection(tuple(kept), failed), alike / played


def lessons_of(config: Config, policy: HFPolicy, collection: Collection) -> list[Lesson]:
    """Compare the episodes within their groups, and lay out their tokens."""
    episodes = [(number, one) for number, group in enumerate(collection.groups) for one in group if one.turns]
    grammar = policy.grammar if config.agent.constrained else None
    return [
        Lesson(sample, number, advantages_T[sample.turn_n])
        for (number, one), advantages_T in zip(episodes, turn_advantages(config, episodes), strict=True)
        if one.stop is not Stop.CONTEXT_FULL
        for sample in samples_of(one, policy.chat, grammar, system=config.agent.system)
    ]


def turn_advantages(config: Config, episodes: Sequence[tuple[int, Trajectory]]) -> list[Floats]:
    """The advantage of each turn of each episode, float32, one array an episode.

    Args:
        episodes: each with the number of its group, and at least one turn.
    """
    returns_S = torch.tensor([config.learning_return(one) for _, one in episodes], dtype=torch.float64)
    group_S = torch.tensor([number for number, _ in episodes], dtype=torch.int64)
    turns_S = torch.tensor([len(one.turns) for _, one in episodes], dtype=torch.int64)
    sequence_K = torch.repeat_interleave(torch.arange(len(episodes)), turns_S)
    if config.advantage == "gigpo" or config.advantage == "turn":
        rewards_K = torch.tensor([turn.reward for _, one in episodes for turn in one.turns], dtype=torch.float64)
        ends_K = torch.zeros(len(rewards_K), dtype=torch.bool)
        ends_K[turns_S.cumsum(0) - 1] = True
        # What the trainer takes off an episode's return (tokens) is paid at its end.
        plain_S = torch.tensor([one.total_reward for _, one in episodes], dtype=torch.float64)
        rewards_K[ends_K] += returns_S - plain_S
        to_go_K = discounted_returns(rewards_K, ends_K, config.gamma)
        if config.advantage == "gigpo":
            advantages_K = gigpo_advantages(
                returns_S,
                group_S,
                to_go_K,
                sequence_K,
                anchors(config, episodes),
                omega=config.step_weight,
                normalise=config.normalise,
            )
        else:
            turn_K = torch.cat([torch.arange(int(count)) for count in turns_S]) if len(episodes) else sequence_K
            advantages_K = turn_group_advantages(to_go_K, sequence_K, turn_K, group_S)
    else:
        advantages_K = group_advantages(returns_S, group_S, config.advantage)[sequence_K]
    return [part.float().numpy() for part in torch.split(advantages_K, turns_S.tolist())]


def anchors(config: Config, episodes: Sequence[tuple[int, Trajectory]]) -> torch.Tensor:
    """A number for each turn's observation, equal for equal texts, int64, shape [K]."""
    ignored = regex.compile(config.anchor_ignores) if config.anchor_ignores else None
    numbers: dict[str, int] = {}
    found = []
    for _, one in episodes:
        for turn in one.turns:
            text = ignored.sub("", turn.observation.text) if ignored else turn.observation.text
            found.append(numbers.setdefault(text, len(numbers)))
    return torch.tensor(found, dtype=torch.int64)


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train grpo`, given its arguments."""
    run_command(Config, "grpo", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
