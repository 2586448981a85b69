"""Learning from episodes that older weights played, or somebody else: TOPR and CoPG.

    python -m sparring.trainers.off_policy --model runs/first --run runs/topr --max-age 4
    python -m sparring.trainers.off_policy --model runs/first --run runs/copg --objective copg --beta 0.05
    python -m sparring.trainers.off_policy --model runs/first --run runs/others --groups 0 --data runs/old/trajectories
    python -m sparring.trainers.off_policy --run runs/topr --resume

Groups of episodes are kept for `max_age` steps, and every step learns from all that are kept (or `learn_groups` of
them), beside the groups of `--data`.

TOPR (arXiv:2503.14286) imitates the good and unlearns the bad as far as they are still likely: a bad episode counts
min(policy / behaviour, 1). CoPG (arXiv:2406.19185) pulls the returns of a group's episodes, less beta times the
log-ratio to the start model, towards each other, which holds for samples of any policy and needs no behaviour
probabilities at all.

Departures from the papers:
1. The losses are taken on log-probabilities that a pass without gradient gives; their slopes are then carried into the
   model micro-batch by micro-batch. So an episode's ratio and a group's comparison are exact whatever is cut where,
   for one more forward pass. For CoPG the slope is that of RLOO on the regularised return (the paper's own identity).
2. An episode's probability is the product over all of its turns, so that memory styles whose prompts do not extend
   each other work too: the sequences of an episode are one sample.
3. CoPG's loss is divided by 2 beta and by the mean size of a group: a learning rate then means what it means to RLOO.
4. TOPR's returns are centred on their group by default: the paper's are 1 and -1, and returns that are never below 0
   would leave nothing but imitation. `--baseline none --offset 0.5` makes 0 and 1 into -0.5 and 0.5.
5. Episodes that overran the context count in their group's mean, and are left out of the loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from torch import Tensor

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, InvalidData
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.batch import Floats, Sample, samples_of
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
from sparring.trainers.losses import Aggregation, TOPRRatio, aggregate, copg_loss, kl_estimate, token_weights, topr_loss
from sparring.trainers.optim import OptimConfig, learning_rate, take_step
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads, entropy
from sparring.trainers.tally import Tally
from sparring.trainers.two_pass import add_slopes, score
from sparring.types import Stop, Trajectory


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of an off-policy run."""

    run: Path = Path("runs/off_policy")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint)."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LoopConfig)
    seed: int = 0
    """Of tasks, samples and the choice of groups."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    groups: int = 16
    """Tasks played in a step; 0 learns from `data` alone."""
    group_size: int = 8
    """Episodes of each task."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    run_free: bool = False
    """Let each environment step in a thread of its own, and wait for no other (`grpo`)."""
    max_age: int = 4
    """Steps that a group is kept for; 1 learns from what was just played."""
    learn_groups: int = 0
    """Groups that a step learns from, drawn among all there are; 0 for all."""
    minibatches: int = 1
    """Optimiser steps on them."""
    data: Path | None = None
    """Episodes of others, a `.jsonl.zst` file or a folder of them, which never grow old. They must have been shown what
    this run's policy is shown; episodes of one task and environment seed are a group. Topr needs their recorded
    log-probabilities where they count as bad."""

    objective: Literal["topr", "copg"] = "topr"
    """What is made of them."""
    ratio: TOPRRatio = "sequence"
    """topr: of a whole episode, of its tokens one by one, or the geometric mean of those."""
    baseline: Literal["none", "group"] = "group"
    """topr: what is taken off a return: nothing, or the mean of its group."""
    offset: float = 0.0
    """topr: taken off every return first; of use without baseline, where returns below it count as bad."""
    aggregation: Aggregation = "seq-mean-token-mean"
    """topr: how the losses of tokens become one number, an episode being a sequence."""
    max_episode_tokens: int = 512
    """The constant that seq-mean-token-sum-norm divides by."""
    beta: float = 0.05
    """copg: strength of the pull to the start model."""
    token_cost: float = 0.0
    """Taken off an episode's return for each sampled token, so that length is not free."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (
            ("groups", 0), ("group_size", 1), ("max_age", 1), ("learn_groups", 0), ("minibatches", 1),
            ("max_episode_tokens", 1), ("token_cost", 0), ("lora_rank", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.beta <= 0:
            raise InvalidConfig(f"beta must be above 0, got {self.beta}")
        if not self.groups and self.data is None:
            raise InvalidConfig("groups 0 plays nothing: name other policies' episodes by data, or raise groups")
        if self.group_size < 2 and self.compares:
            raise InvalidConfig(
                f"group_size must be at least 2 where episodes are compared with their group, got {self.group_size}: "
                "raise it, or take objective topr with baseline none"
            )

    @property
    def compares(self) -> bool:
        """Whether an episode alone in its group teaches nothing."""
        return self.objective == "copg" or self.baseline == "group"

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        InvalidData: `data` can't be read, was shown something else, or lacks log-probabilities that are needed.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "off_policy", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        reference = load_reference(learner, run) if config.objective == "copg" else None
        _train(config, run, learner, reference)
    return config.run


def _train(config: Config, run: RunFolder, learner: Learner, reference: Any | None) -> None:
    """The loop."""
    policy = learner.policy(config.agent)
    with (
        cpu_threads(learner.model, config.loop.threads),
        Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        EnvPool(config.env.maker(), max(config.groups * config.group_size, 1)) as pool,
        Session("off_policy", run, config.loop) as session,
    ):
        split = config.split or training_split(pool)
        others = [] if config.data is None else lay_out(config, policy, reference, trajectories.read(config.data))
        check_behaviour(config, others)
        kept = refill(config, run, policy, reference, session.step)
        for step in session.steps():
            collection = Collection((), failed=0)
            if config.groups:
                with session.timed("rollout"):
                    starts = group_starts(config.seed, step, groups=config.groups, size=config.group_size, split=split)
                    collection = collect_groups(
                        policy, pool, starts, config.setting, config.group_size, run_free=config.run_free
                    )
            episodes = collection.trajectories
            with session.timed("update"):
                if config.groups:
                    # Kept as files, from which a resumed run fills its buffer again.
                    trajectories.write(run.trajectories_path(f"step-{step:06d}"), episodes)
                    kept = [*kept, lay_out(config, policy, reference, episodes)][-config.max_age :]
                groups = [*others, *(group for groups in kept for group in groups)]
                learned = update(config, learner, groups, step, session.progress)
                policy.weights_changed()
            session.count(**collection.counts())
            row = {**collection.summary(), **learned}
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            session.log(row, status=f"return {row['return_mean']:.3f}")
            session.save_if_due(learner.write)
        session.finish(learner.write)


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode to learn from.

    Attributes:
        samples: its sequences. worth: its return less what is taken off.
        reference: for each sequence the start model's log-probabilities, float32 [n]; empty where none are needed.
    """

    samples: tuple[Sample, ...]
    worth: float
    reference: tuple[Floats, ...] = ()


def refill(
    config: Config, run: RunFolder, policy: HFPolicy, reference: Any | None, last_step: int
) -> list[list[list[Episode]]]:
    """The groups of the newest steps as they stood after `last_step`, from the run's files of episodes."""
    if not config.groups:
        return []
    paths = [
        run.trajectories_path(f"step-{step:06d}")
        for step in range(max(1, last_step + 1 - config.max_age), last_step + 1)
    ]
    return [lay_out(config, policy, reference, trajectories.read(path)) for path in paths]


def lay_out(
    config: Config, policy: HFPolicy, reference: Any | None, played: Iterable[Trajectory]
) -> list[list[Episode]]:
    """Sort episodes into groups (same task and environment seed), and spell them as the model reads them.

    Groups too small to compare in are left out.

    Raises:
        InvalidData: a rebuilt prompt is not the one that its policy saw.
    """
    grammar = policy.grammar if config.agent.constrained else None
    groups: dict[tuple[str, str, int], list[Trajectory]] = {}
    for one in played:
        if one.turns and one.stop is not Stop.ENV_ERROR:
            groups.setdefault((one.env_id, one.task_id, one.seed), []).append(one)
    found = []
    for group in groups.values():
        returns = [one.total_reward - config.token_cost * action_tokens(one) for one in group]
        baseline = config.offset if config.objective == "topr" else 0.0
        if config.objective == "topr" and config.baseline == "group":
            # Exactly 0 is left of equal returns, which then cost no pass through the model.
            baseline = returns[0] if len(set(returns)) == 1 else sum(returns) / len(returns)
        members = [
            Episode(tuple(samples_of(one, policy.chat, grammar, system=config.agent.system)), value - baseline)
            for one, value in zip(group, returns, strict=True)
            if one.stop is not Stop.CONTEXT_FULL
        ]
        if len(members) >= (2 if config.compares else 1):
            found.append(members)
    return found if reference is None else _with_reference(config, reference, found)


def _with_reference(config: Config, reference: Any, groups: list[list[Episode]]) -> list[list[Episode]]:
    samples = [sample for group in groups for one in group for sample in one.samples]
    scored = iter(score(reference, samples, config.optim.micro_batch_tokens, config.agent.temperature, Tally()))
    return [
        [replace(one, reference=tuple(next(scored).cpu().numpy() for _ in one.samples)) for one in group]
        for group in groups
    ]


def check_behaviour(config: Config, groups: Sequence[Sequence[Episode]]) -> None:
    """Check that bad episodes of others say how likely they were.

    Raises:
        InvalidData: some do not, and topr must know.
    """
    if config.objective != "topr":
        return
    lacking = sum(
        one.worth < 0 and any(np.isnan(sample.logprobs_n).any() for sample in one.samples)
        for group in groups
        for one in group
    )
    if lacking:
        raise InvalidData(
            f"{lacking} of the episodes in {config.data} count as bad and have no log-probabilities (scripts and "
            "servers record none), by which topr would weigh them. Take objective copg, which needs none, or play the "
            "data with a model"
        )


def update(
    config: Config, learner: Learner, groups: Sequence[Sequence[Episode]], step: int, progress: float
) -> dict[str, float]:
    """Take the optimiser steps of one step; return what to log about them.

    Raises:
        Diverged: a gradient was not finite.
    """
    began = time.monotonic()
    lr = learning_rate(config.optim, step, progress)
    rng = np.random.default_rng(entropy(config.seed, step, "groups"))
    order = rng.permutation(len(groups))[: config.learn_groups or None]
    tally, tokens = Tally(), 0
    losses: list[float] = []
    norms: list[float] = []
    for numbers in np.array_split(order, config.minibatches):
        part = [groups[int(number)] for number in numbers]
        if part:
            losses.append(add_gradients(config, learner.model, part, tally))
            norms.append(take_step(learner.optimizer, config.optim, lr))
            tokens += sum(len(sample.ids_T) for group in part for one in group for sample in one.samples)
    return {
        "loss": float(np.mean(losses)) if losses else math.nan,
        "grad_norm": float(np.mean(norms)) if norms else math.nan,
        "lr": lr,
        "groups_learned": float(len(order)),
        **tally.means(),
        "tokens_per_second": tokens / (time.monotonic() - began),
    }


def add_gradients(config: Config, model: Any, groups: Sequence[Sequence[Episode]], tally: Tally) -> float:
    """Add the gradient of the objective on some whole groups to the model's (departure 1); return the loss."""
    episodes = [one for group in groups for one in group]
    samples = [sample for one in episodes for sample in one.samples]
    budget, temperature = config.optim.micro_batch_tokens, config.agent.temperature
    scored = score(model, samples, budget, temperature, tally)
    logprobs_N = torch.cat(scored).float().requires_grad_()
    loss = objective(config, logprobs_N, groups, tally)
    (slope_N,) = torch.autograd.grad(loss, logprobs_N)
    slopes = [part.cpu().numpy() for part in torch.split(slope_N, [len(one) for one in scored])]
    add_slopes(model, samples, slopes, budget, temperature)
    return loss.item()


def objective(config: Config, logprobs_N: Tensor, groups: Sequence[Sequence[Episode]], tally: Tally) -> Tensor:
    """The loss of some whole groups as a function of the log-probabilities of their N sampled tokens.

    Args:
        logprobs_N: of all tokens of all sequences in order, with gradient, shape [N].
    """
    device = logprobs_N.device
    episodes = [one for group in groups for one in group]
    lengths_S = torch.tensor([sum(len(sample.sampled_n) for sample in one.samples) for one in episodes])
    episode_N = torch.repeat_interleave(torch.arange(len(episodes)), lengths_S).to(device)
    worth_S = torch.tensor([one.worth for one in episodes], dtype=torch.float32, device=device)
    if config.objective == "copg":
        reference = np.concatenate([part for one in episodes for part in one.reference])
        log_ratio_N = logprobs_N - torch.from_numpy(reference).to(device)
        log_ratio_S = logprobs_N.new_zeros(len(episodes)).index_add(0, episode_N, log_ratio_N)
        group_S = torch.tensor([number for number, group in enumerate(groups) for _ in group], device=device)
        tally.add(log_ratio=log_ratio_S)
        return copg_loss(log_ratio_S, worth_S, group_S, config.beta) * len(groups) / (2 * config.beta * len(episodes))
    behaviour_N = torch.from_numpy(
        np.concatenate([sample.logprobs_n for one in episodes for sample in one.samples])
    ).to(device)
    weights_S = token_weights(lengths_S, config.aggregation, max_tokens=config.max_episode_tokens).to(device)
    found = topr_loss(logprobs_N, behaviour_N, worth_S[episode_N], episode_N, config.ratio)
    tally.add(bad=(worth_S < 0).float(), clip_fraction=found.clipped_N)
    known_N = ~behaviour_N.isnan()
    tally.add(kl=kl_estimate(logprobs_N[known_N], behaviour_N[known_N], "k3"))
    return aggregate(found.loss_N, weights_S[episode_N])


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train off_policy`, given its arguments."""
    run_command(Config, "off_policy", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
