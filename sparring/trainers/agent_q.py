"""Agent Q: search every task by MCTS, and prefer in each place the actions that came to more.

    python -m sparring.trainers.agent_q --model runs/first --run runs/agent-q --search.trees 32 --search.simulations 16
    python -m sparring.trainers.agent_q --model smollm2 --run runs/agent-q --critique asked
    python -m sparring.trainers.agent_q --run runs/agent-q --resume

After arXiv:2408.07199, algorithm 1. A round searches new tasks with the policy as it is: places are chosen by UCB1,
actions drawn from the policy, playouts end with the environment's score. In each place every two visited actions whose
values differ by more than `--threshold` make a pair, and the policy learns from the round's pairs by DPO. The reference
is the log-probabilities recorded when the actions were drawn, so that no second model is needed.

An action's value is alpha times the mean of what simulations through it ended with, plus (1 - alpha) times what the
critique says of it (equation 10).

Departures:
1. `--critique none`, the default, leaves the critique out: the paper's ablation "without process supervision". `asked`
   is the paper's: the policy itself is asked for the best action, again and again, which needs a model that
   understands the question.
2. Ranks are mapped to (K - k) / (K - 1): the paper does not say how.
3. The numbers of actions, simulations and rounds, alpha, the threshold and beta are not stated in the paper.
4. Simulations look for something new below a place whose end is known only where the rules say so: `--search.method
   agent-q` visits known endings again, as the paper's statistics have it.
5. `--objective rpo` adds imitation of the chosen side, which keeps a small model from making both sides unlikelier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.search.asking import Judge
from sparring.search.critique import ranking
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import preferences
from sparring.trainers.checkpoint import Learner, load_learner
from sparring.trainers.collect import group_starts, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.node_pairs import node_pairs
from sparring.trainers.optim import OptimConfig
from sparring.trainers.pair_update import PreferenceConfig, update_on_pairs
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads
from sparring.trainers.trees import Forest, SearchConfig, grow


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of an Agent Q run."""

    run: Path = Path("runs/agent-q")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint), best one of sft."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=lambda: LoopConfig(steps=20))
    search: SearchConfig = field(default_factory=lambda: SearchConfig(method="agent-q", save_every=10))
    preference: Annotated[PreferenceConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: PreferenceConfig(minibatches=4)
    )
    seed: int = 0
    """Of tasks, samples and the order of pairs."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    critique: Literal["none", "asked"] = "none"
    """Who judges the actions of a place before they are tried (departure 1)."""
    mean_weight: float = 0.5
    """Alpha: the share of the simulations in an action's value, against that of the critique where there is one."""
    threshold: float = 0.2
    """Theta: two actions make a pair where their values differ by more."""
    min_visits: int = 1
    """Visits that both must have."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    environments: int = 32
    """How many to search in at once."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (("threshold", 0), ("min_visits", 1), ("environments", 1), ("lora_rank", 0), ("seed", 0)):
            if not getattr(self, name) >= low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        self.search.rules(mean_weight=self.mean_weight)

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        EnvNotSearchable: the environment can't be brought back to where it was.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "agent_q", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        policy = learner.policy(config.agent)
        with (
            cpu_threads(learner.model, config.loop.threads),
            Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
            EnvPool(config.env.maker(), config.environments) as pool,
            Session("agent_q", run, config.loop) as session,
        ):
            for step in session.steps():
                judge = Judge(policy)
                with session.timed("rollout"):
                    forest = explore(config, policy, pool, step, judge)
                forest.save_if_due(config.search, run, step)
                session.count(**forest.counts(), judge_questions=judge.asked, judge_tokens=judge.tokens)
                with session.timed("update"):
                    row = forest.summary() | prefer(config, run, learner, policy, forest, step, session.progress)
                    if judge.asked:
                        row["unanswered"] = judge.invalid / judge.asked
                    policy.weights_changed()
                if session.is_evaluation_due:
                    row |= evaluator.row(session)
                session.log(row, status=f"best {row['tree_best']:.3f}, pairs {row['pairs']:.0f}")
                session.save_if_due(learner.write)
            session.finish(learner.write)
    return config.run


def explore(config: Config, policy: HFPolicy, pool: EnvPool, step: int, judge: Judge) -> Forest:
    """Search the tasks of a round. The judge is asked where the settings say so."""
    split = config.split or training_split(pool)
    starts = group_starts(config.seed, step, groups=config.search.trees, size=1, split=split)
    critic = ranking(judge) if config.critique == "asked" else None
    return grow(config.search, policy, pool, starts, config.setting, critic=critic, mean_weight=config.mean_weight)


def prefer(
    config: Config, run: RunFolder, learner: Learner, policy: HFPolicy, forest: Forest, step: int, progress: float
) -> dict[str, float]:
    """Learn from the pairs of a round's trees; what to log about them.

    Raises:
        Diverged: a gradient was not finite.
    """
    pairs = [
        pair
        for tree in forest.trees
        for pair in node_pairs(tree, forest.rules, threshold=config.threshold, min_visits=config.min_visits)
    ]
    if config.search.saves(step):
        preferences.write(run.path / "pairs" / f"step-{step:06d}.jsonl.zst", pairs)
    return update_on_pairs(
        config.preference,
        config.optim,
        learner,
        pairs,
        policy,
        config.agent,
        seed=config.seed,
        step=step,
        progress=progress,
    )


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train agent_q`, given its arguments."""
    run_command(Config, "agent_q", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
