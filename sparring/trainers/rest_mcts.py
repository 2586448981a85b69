"""ReST-MCTS*: a policy and a value model that teach each other by searching.

    python -m sparring.trainers.rest_mcts --model runs/first --run runs/rest --search.trees 64 --search.simulations 16
    python -m sparring.trainers.rest_mcts --model runs/first --run runs/returns --values outcome
    python -m sparring.trainers.rest_mcts --model runs/first --run runs/rest-em --values none \\
        --search.method best-of-n --learning.restart True
    python -m sparring.trainers.rest_mcts --run runs/rest --resume

After arXiv:2406.03816, algorithm 1 and its code. A step is a round: search new tasks with the policy and the value
model as they are; let the policy imitate what went right, and regress the value model on labels that follow from the
trees.

| `--values` | the value model learns | places are valued by |
|---|---|---|
| `process` | process rewards, inferred from right endings (`process_rewards`) | it, and the best some steps ahead |
| `outcome` | the mean outcome of the endings found below a place | the same |
| `none` | nothing: there is none | playouts |

`none` with the options of the third command is ReST-EM, arXiv:2312.06585: independent samples of which the right ones
are imitated, always from the same start.

`sparring.agents.models.value.load_value_model(run)` gives the trained value model to a search.

Departures:
1. There is no initial value model: until the first right ending was found, places are valued by playouts. Begin with
   another run's by `--value-from`.
2. The environment says which endings are right, so no answer is checked, and no search ends by the value model's word
   (the end gate of .9): in training it goes on for all its simulations, whose wrong endings teach, too.
3. What a rollout tried becomes part of the tree, and is counted there. Actions of a place are valued one at a time, as
   simulations come to them, and all once before one of them is followed; the code values all when it draws them.
4. The value model is a linear head on the hidden state of a decoder that begins as a copy of the policy's. In the
   paper it is another model, under a linear layer on its logits.
5. The paper begins with fine-tuning on data of others; here `--model` is the model that this was done to (`sft`).
6. Of a tree the `--traces` shortest right episodes are imitated, where the code has all. It also drops those that the
   value model rates below .2; here a right ending is one by the environment's word.
7. Departures of the labels are those of `process_rewards`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.episode import Moment
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.search.evaluators import Evaluator, playout
from sparring.search.greedy_rollout import greedy_rollout
from sparring.search.rules import final_score
from sparring.search.tree import Tree
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.checkpoint import Learner, load_learner
from sparring.trainers.collect import group_starts, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.exploration import distinct
from sparring.trainers.optim import OptimConfig
from sparring.trainers.process_rewards import outcome_values, process_rewards
from sparring.trainers.rounds import Flagged, Harvest, LearningConfig, iterate, settled
from sparring.trainers.session import LoopConfig, claim
from sparring.trainers.trees import Forest, SearchConfig, grow
from sparring.trainers.value_training import Example, ValueLearner, ValueTrainingConfig, fit, load_value_learner
from sparring.types import Trajectory


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a run of ReST-MCTS*."""

    run: Path = Path("runs/rest-mcts")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint), best one of sft."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    critic: OptimConfig = field(default_factory=lambda: OptimConfig(decay="linear"))
    """Of the value model; its decay is that of a round."""
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: LoopConfig(steps=4, eval_every=1, checkpoint_every=1)
    )
    search: SearchConfig = field(default_factory=lambda: SearchConfig(method="rest-mcts", trees=64))
    learning: LearningConfig = field(default_factory=LearningConfig)
    value: ValueTrainingConfig = field(default_factory=ValueTrainingConfig)
    seed: int = 0
    """Of tasks, samples, and the order of learning."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    values: Literal["process", "outcome", "none"] = "process"
    """What the value model learns (see the table above)."""
    value_from: Path | None = None
    """Begin with the value model of another run, or of its checkpoint's folder (same shape)."""
    rollout_steps: int = 3
    """How far beyond a place its value is looked for; 0 for the value model's opinion of the place alone. Only endings
    teach: where episodes are longer than trees get deep, look to their end (50), or there is little to learn from."""
    rollout_weight: float = 0.5
    """What counts of the best that was found there; the paper's alpha."""
    traces: int = 4
    """Right episodes of a tree that are imitated, the shortest."""
    min_score: float | None = None
    """What counts as right is a score of at least this, instead of the environment's own word."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    environments: int = 32
    """How many to search in at once."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has). The value model
    trains in full."""

    def __post_init__(self) -> None:
        for name, low in (("rollout_steps", 0), ("traces", 1), ("environments", 1), ("lora_rank", 0), ("seed", 0)):
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 <= self.rollout_weight <= 1:
            raise InvalidConfig(f"rollout_weight must lie within 0 and 1, got {self.rollout_weight}")
        if self.values == "none" and self.value_from is not None:
            raise InvalidConfig("--values none has no value model, so leave out --value-from")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)

    def succeeded(self, episode: Trajectory) -> bool:
        """Whether an episode went right."""
        return episode.success if self.min_score is None else episode.score >= self.min_score

    def is_right(self, moment: Moment) -> bool:
        """Whether an episode that is over went right."""
        return self.succeeded(moment.trajectory())


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        EnvNotSearchable: the environment can't be brought back to where it was.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    config = replace(config, learning=settled(config.learning, restart=False, remember=False))
    with claim(config.run, "rest_mcts", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        value = None
        if config.values != "none":
            value = load_value_learner(learner, config.critic, run, seed=config.seed, start_from=config.value_from)
        searching = Searching(config, run, learner, value)
        iterate(
            "rest_mcts",
            config,
            run,
            learner,
            searching.collect,
            (),
            environments=config.environments,
            after=searching.teach,
            write=searching.write,
        )
    return config.run


@dataclass(slots=True)
class Searching:
    """The collector of the rounds, and what the value model makes of its trees.

    Attributes:
        value: None where there is no value model. examples: what it learns from the newest round's trees.
    """

    config: Config
    run: RunFolder
    learner: Learner
    value: ValueLearner | None
    examples: list[Example] = field(default_factory=list)

    def collect(self, policy: HFPolicy, pool: EnvPool, round: int, /) -> Harvest:
        """Search new tasks, and bring home what went right."""
        config = self.config
        split = config.split or training_split(pool)
        starts = group_starts(config.seed, round, groups=config.search.trees, size=1, split=split)
        evaluator = self.evaluator()
        forest = grow(
            config.search, policy, pool, starts, config.setting, evaluator=evaluator, stop_at=None, first_value=1.0
        )
        forest.save_if_due(config.search, self.run, round)
        if self.value is not None:
            self.examples = list(labels(config, forest))
        found = [Flagged(one) for tree in forest.trees for one in traces(config, tree, policy.version)]
        by_model = float(evaluator is not playout)
        return Harvest(tuple(found), counts=forest.counts(), metrics={**forest.summary(), "by_value_model": by_model})

    def evaluator(self) -> Evaluator:
        """How places are valued now.

        A value model that has learned nothing can't, nor does it help rules that begin anew at every simulation.
        """
        config = self.config
        if self.value is None or not self.value.has_learned or config.search.rules().resample:
            return playout
        return greedy_rollout(self.value.model, steps=config.rollout_steps, weight=config.rollout_weight)

    def teach(self, round: int) -> dict[str, float]:
        """Let the value model learn from the round's trees; what to log about it.

        Raises:
            Diverged: a gradient was not finite.
        """
        if self.value is None:
            return {}
        return fit(self.config.value, self.value, self.examples, seed=self.config.seed, round=round)

    def write(self, folder: Path) -> None:
        """Fill a checkpoint's folder."""
        self.learner.write(folder)
        if self.value is not None:
            self.value.critic.write(folder)


def labels(config: Config, forest: Forest) -> Iterator[Example]:
    """What the value model learns from the trees of a round.

    Raises:
        InvalidData: an outcome outside 0 and 1.
    """
    for tree in forest.trees:
        if config.values == "process":
            yield from (Example(one.node.moment, one.value) for one in process_rewards(tree, config.is_right))
        else:
            yield from (Example(node.moment, worth) for node, worth in outcome_values(tree, final_score))


def traces(config: Config, tree: Tree, policy_version: int) -> list[Trajectory]:
    """The right episodes of a tree that are imitated: different ones, the shortest first."""
    right = [node for node in tree.endings() if config.is_right(node.moment)]
    right.sort(key=lambda node: (node.depth, node.number))
    return distinct(node.moment.trajectory(policy_version) for node in right)[: config.traces]


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train rest_mcts`, given its arguments."""
    run_command(Config, "rest_mcts", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
