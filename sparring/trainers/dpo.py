"""Learning from preferences: the better of two trajectories against the worse, DPO and its relatives.

    python -m sparring.trainers.dpo --model runs/first --run runs/dpo --groups 16 --group-size 8
    python -m sparring.trainers.dpo --model runs/first --run runs/rpo --objective rpo --nll-coef 1 --minibatches 4
    python -m sparring.trainers.dpo --model runs/first --run runs/offline --data runs/first/trajectories
    python -m sparring.trainers.dpo --model runs/first --run runs/steps --pairs runs/search/pairs --reference model
    python -m sparring.trainers.dpo --run runs/dpo --resume

| `--objective` | what it wants of a pair | source |
|---|---|---|
| `dpo` | the chosen side likelier against the rejected one than the reference had it | arXiv:2305.18290 |
| `cdpo` | the same, where a share of pairs is the wrong way round (`--label-smoothing`) | E. Mitchell (2023) |
| `ipo` | likelier by a fixed distance, 1 / (2 beta) | arXiv:2310.12036 |
| `rpo` | as dpo, and the chosen side imitated as well (`--nll-coef`) | arXiv:2404.19733 |
| `simpo` | likelier by the token, without a reference (`--beta 2 --simpo-margin 0.5`) | arXiv:2405.14734 |

Offline (`--pairs`, `--data`) a step is one batch of pairs, and nothing is played. Pairs may begin in the midst of an
episode: earlier turns are context and out of the loss, which makes a pair of single steps step-DPO (arXiv:2406.18629).
Episodes of `--data` are paired within their task and seed by return.

Online a step is a round (iterative DPO): the policy plays groups of episodes, the best of each group is paired with the
worst, and the pairs are learned from over `--epochs` and `--minibatches`. The reference is the policy as it was at the
start of the round.

Departures:
1. Log-probabilities are those of the distribution that was sampled from: tempered, and renormalised over the admissible
   tokens where decoding was constrained. Sums run over the tokens that the policy sampled, over all turns of a side.
2. `--reference behaviour`, the default, takes the log-probabilities recorded when the tokens were sampled, as Agent Q
   does (arXiv:2408.07199), and needs no second model. They are the reference policy's own where it played the pairs;
   where others did, `--reference model` compares with the frozen start.
3. Where several episodes of a group share the best or worst return, the first of each is taken (`--which all` makes
   every pair that the gap admits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, InvalidData
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import preferences
from sparring.trainers.checkpoint import Learner, load_learner, load_reference
from sparring.trainers.collect import collect_groups, epoch_indices, group_starts, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.optim import OptimConfig
from sparring.trainers.pair_update import (
    PreferenceConfig,
    check_reference,
    update_on_pairs,
    update_on_samples,
    with_reference,
)
from sparring.trainers.preferences import Pair, PairSamples, outcome_pairs, pair_samples
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a run on preferences."""

    run: Path = Path("runs/dpo")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint)."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LoopConfig)
    preference: Annotated[PreferenceConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=PreferenceConfig)
    seed: int = 0
    """Of tasks, samples and the order of pairs."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    pairs: Path | None = None
    """Pairs to learn from, a `.jsonl.zst` file or a folder of them; nothing is played then."""
    data: Path | None = None
    """Episodes to make pairs of, a `.jsonl.zst` file or a folder of them, beside `pairs` or alone; nothing is played
    then."""
    batch_pairs: int = 32
    """Pairs that a step learns from, where nothing is played."""
    groups: int = 16
    """Tasks played in a round."""
    group_size: int = 8
    """Episodes of each."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    run_free: bool = False
    """Let each environment step in a thread of its own, and wait for no other (`grpo`)."""
    min_gap: float = 0.0
    """Episodes are paired where their returns are more than this apart."""
    which: Literal["extremes", "all"] = "extremes"
    """Pair the best of a group with its worst, or make every pair that the gap admits."""
    save_pairs_every: int = 50
    """Rounds between files of pairs in `pairs/`; 0 for none."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (
            ("batch_pairs", 1), ("groups", 1), ("group_size", 2), ("min_gap", 0), ("save_pairs_every", 0),
            ("lora_rank", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")

    @property
    def is_offline(self) -> bool:
        """Whether the run learns from files and plays nothing."""
        return self.pairs is not None or self.data is not None

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        InvalidData: the files hold no pairs, or pairs without the log-probabilities that the reference needs, or were
            shown something else.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "dpo", replace(config, resume=False), resume=config.resume) as run:
        given = read_pairs(config) if config.is_offline else []
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        policy = learner.policy(config.agent)
        with (
            cpu_threads(learner.model, config.loop.threads),
            Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        ):
            if config.is_offline:
                _train_offline(config, run, learner, evaluator, spelled(config, run, learner, policy, given))
            else:
                _train_online(config, run, learner, evaluator, policy)
    return config.run


def read_pairs(config: Config) -> list[Pair]:
    """The pairs of `config.pairs`, and those that the episodes of `config.data` make.

    Raises:
        InvalidData: there are none.
    """
    found: list[Pair] = []
    if config.pairs is not None:
        found += preferences.read(config.pairs)
    if config.data is not None:
        groups = preferences.grouped(trajectories.read(config.data))
        found += outcome_pairs(groups, config.min_gap, which=config.which)
    if not found:
        raise InvalidData(
            f"there are no pairs in {config.pairs or config.data}: two episodes make one if they share task and seed "
            f"and their returns are more than min_gap ({config.min_gap}) apart"
        )
    return found


def spelled(
    config: Config, run: RunFolder, learner: Learner, policy: HFPolicy, pairs: Sequence[Pair]
) -> list[PairSamples]:
    """All pairs as the model reads them, with their reference: recorded, or that of the frozen start.

    All at once and in their order, so that a resumed run finds the very same numbers.

    Raises:
        InvalidData: no pair fits the model's context, or log-probabilities are missing.
    """
    found = pair_samples(pairs, policy, config.agent)
    if not found:
        raise InvalidData(
            f"none of {len(pairs)} pairs fits the model's context of {policy.max_context} tokens: show less "
            "(--agent.memory, --env.wrappers), or take a model with a longer context"
        )
    if config.preference.needs_model:
        reference = load_reference(learner, run)
        found = with_reference(found, reference, config.optim.micro_batch_tokens, config.agent.temperature)
    check_reference(config.preference, found)
    return found


def _train_offline(
    config: Config, run: RunFolder, learner: Learner, evaluator: Evaluator, pairs: Sequence[PairSamples]
) -> None:
    """The loop over batches of given pairs."""
    with Session("dpo", run, config.loop) as session:
        for step in session.steps():
            with session.timed("update"):
                indices = epoch_indices(config.seed, step, size=config.batch_pairs, count=len(pairs))
                row = update_on_samples(
                    config.preference,
                    config.optim,
                    learner,
                    [pairs[index] for index in indices],
                    temperature=config.agent.temperature,
                    seed=config.seed,
                    step=step,
                    progress=session.progress,
                )
            row["epoch"] = step * config.batch_pairs / len(pairs)
            _conclude(session, evaluator, learner, row)
        session.finish(learner.write)


def _train_online(config: Config, run: RunFolder, learner: Learner, evaluator: Evaluator, policy: HFPolicy) -> None:
    """The loop over rounds of playing and learning."""
    with (
        EnvPool(config.env.maker(), config.groups * config.group_size) as pool,
        Session("dpo", run, config.loop) as session,
    ):
        split = config.split or training_split(pool)
        for step in session.steps():
            with session.timed("rollout"):
                starts = group_starts(config.seed, step, groups=config.groups, size=config.group_size, split=split)
                collection = collect_groups(
                    policy, pool, starts, config.setting, config.group_size, run_free=config.run_free
                )
            with session.timed("update"):
                pairs = outcome_pairs(collection.groups, config.min_gap, which=config.which)
                if config.save_pairs_every and step % config.save_pairs_every == 0:
                    preferences.write(run.path / "pairs" / f"step-{step:06d}.jsonl.zst", pairs)
                learned = update_on_pairs(
                    config.preference,
                    config.optim,
                    learner,
                    pairs,
                    policy,
                    config.agent,
                    seed=config.seed,
                    step=step,
                    progress=session.progress,
                )
                policy.weights_changed()
            session.count(**collection.counts())
            _conclude(session, evaluator, learner, {**collection.summary(), **learned})
        session.finish(learner.write)


def _conclude(session: Session, evaluator: Evaluator, learner: Learner, row: dict[str, float]) -> None:
    """Evaluate where it is time to, write the step's metrics, and a checkpoint where it is time to."""
    if session.is_evaluation_due:
        row |= evaluator.row(session)
    session.log(row, status=f"loss {row['loss']:.3f}")
    session.save_if_due(learner.write)


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train dpo`, given its arguments."""
    run_command(Config, "dpo", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
