"""iTool: imitate tool use from easy to hard, find out what still fails, and prefer the better fragments of calls there.

    python -m sparring.trainers.itool --model runs/first --run runs/itool --env.id ToolWorld-v1 --warmup-rounds 3
    python -m sparring.trainers.itool --model runs/first --run runs/itool --warmup-rounds 0 --data runs/demos.jsonl.zst
    python -m sparring.trainers.itool --run runs/itool --resume

After arXiv:2501.09766, for environments of tool calls (`sparring.envs.tools.base.ToolEnv`). The first
`--warmup-rounds` rounds imitate demonstrations, the easiest first: round k of K learns from the shortest k/K. In all
others the policy plays `--mined` tasks, and those that it fails are searched by MCTS. In each place of a tree actions
that call the same tools and whose values differ make pairs, and the policy learns from these by DPO.

What two such actions differ in is a fragment: an argument's value, or which arguments there are. What they share stands
on both sides of a pair and weighs nothing.

Departures:
1. How hard a demonstration is, is the number of its turns; in the paper that of tools and of their parameters.
2. A task is deficient where the policy fails it in one of `--attempts` plays. The paper ranks responses by a model.
3. `--fragments any` also pairs actions that call different tools, which the paper's preference data leaves out.
4. Numbers of tasks, simulations and updates, and beta, are our own. A round has tens of pairs: learned from more than
   twice, or at the learning rate that is usual for random weights, they undo what the policy could do before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.envs.tools.base import ToolEnv
from sparring.envs.tools.calls import Call, Style, Unreadable, parse_calls
from sparring.errors import InvalidConfig
from sparring.rollout import Setting, Start
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.collect import collect_groups, group_starts, is_usable, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.demos import DemosConfig, demonstrations
from sparring.trainers.node_pairs import node_pairs
from sparring.trainers.optim import OptimConfig
from sparring.trainers.preferences import Pair
from sparring.trainers.rounds import Collector, Flagged, Harvest, LearningConfig, iterate, settled
from sparring.trainers.session import LoopConfig, claim
from sparring.trainers.trees import SearchConfig, grow
from sparring.types import Trajectory


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a run of iTool."""

    run: Path = Path("runs/itool")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint), best one of sft."""
    env: EnvConfig = field(default_factory=lambda: EnvConfig("ToolWorld-v1"))
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: LoopConfig(steps=6, eval_every=1, checkpoint_every=1)
    )
    learning: LearningConfig = field(default_factory=lambda: LearningConfig(updates=40, max_passes=2))
    search: SearchConfig = field(default_factory=lambda: SearchConfig(method="agent-q", trees=32, simulations=16))
    demos: DemosConfig = field(default_factory=lambda: DemosConfig("expert", episodes=500))
    seed: int = 0
    """Of demonstrations, tasks, samples, and the order of learning."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    warmup_rounds: int = 3
    """Rounds of imitation, from easy to hard, before the others; 0 for none."""
    data: Path | None = None
    """Demonstrations: a .jsonl.zst file or a folder of them; by default `demos` plays them."""
    min_score: float = 1.0
    """Demonstrations of a lower score are left out."""
    mined: int = 64
    """Tasks that the policy plays to find those that it fails, of which `search.trees` are searched."""
    attempts: int = 1
    """How often it plays each; one failure is enough."""
    threshold: float = 0.2
    """Two actions make a pair where their values differ by more."""
    min_visits: int = 1
    """Visits that both must have."""
    fragments: Literal["same-tools", "any"] = "same-tools"
    """Which actions make pairs: those that call the same tools, or any two (departure 3)."""
    split: str | None = None
    """Split to train on, and of the tasks of the demonstrations; by default the environment's training split."""
    environments: int = 32
    """How many to play and search in at once."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (
            ("warmup_rounds", 0), ("mined", 1), ("attempts", 1), ("threshold", 0), ("min_visits", 1),
            ("environments", 1), ("lora_rank", 0), ("seed", 0),
        ):  # fmt: skip
            if not getattr(self, name) >= low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, the environment is none of tool calls,
            no demonstration is good enough, or the settings don't fit together.
        EnvNotSearchable: the environment can't be brought back to where it was.
        InvalidData: `data` holds no trajectories.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    config = replace(config, learning=settled(config.learning, restart=False, remember=False))
    with claim(config.run, "itool", replace(config, resume=False), resume=config.resume) as run:
        shown: list[Trajectory] = []
        if config.warmup_rounds:
            demos = replace(config.demos, split=config.demos.split or config.split)
            played = demonstrations(demos, run, config.env, config.setting, data=config.data, seed=config.seed)
            shown = easiest_first(played, config.min_score)
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        iterate("itool", config, run, learner, collector(config, run, shown), (), environments=config.environments)
    return config.run


def easiest_first(played: Sequence[Trajectory], min_score: float) -> list[Trajectory]:
    """The good ones among demonstrations, those of few turns first.

    Raises:
        InvalidConfig: there is none.
    """
    good = [one for one in played if is_usable(one) and one.score >= min_score]
    if not good:
        raise InvalidConfig(f"none of {len(played)} demonstrations has a score of {min_score}: lower min_score")
    return sorted(good, key=lambda one: len(one.turns))


def collector(config: Config, run: RunFolder, shown: Sequence[Trajectory]) -> Collector:
    """Brings demonstrations home while the warm-up lasts, and pairs of fragments behind it."""

    def collect(policy: HFPolicy, pool: EnvPool, round: int, /) -> Harvest:
        if round <= config.warmup_rounds:
            part = shown[: max(1, len(shown) * round // config.warmup_rounds)]
            return Harvest(tuple(map(Flagged, part)), metrics={"turns_most": float(len(part[-1].turns))})
        split = config.split or training_split(pool)
        starts = group_starts(config.seed, round, groups=config.mined, size=config.attempts, split=split)
        played = collect_groups(policy, pool, starts, config.setting, config.attempts)
        failed = deficient(starts, played.trajectories)
        forest = grow(config.search, policy, pool, failed[: config.search.trees], config.setting)
        forest.save_if_due(config.search, run, round)
        every = [
            pair
            for tree in forest.trees
            for pair in node_pairs(tree, forest.rules, threshold=config.threshold, min_visits=config.min_visits)
        ]
        style = style_of(pool)
        pairs = [one for one in every if config.fragments == "any" or is_fragment(one, style)]
        counts = played.counts()
        return Harvest(
            pairs={"fragments": pairs},
            counts={name: amount + counts.get(name, 0) for name, amount in forest.counts().items()}
            | {"episodes": counts["episodes"]},
            metrics={
                **played.summary(),
                **forest.summary(),
                "deficient": len(failed) / config.mined,
                "all_pairs": float(len(every)),
            },
        )

    return collect


def deficient(starts: Sequence[Start], played: Sequence[Trajectory]) -> list[Start]:
    """One start of each task that was failed, in the order of `starts`."""
    failed = {one.seed for one in played if not one.success}
    first = {start.seed: start for start in reversed(starts)}
    return [start for seed, start in reversed(first.items()) if seed in failed]


def style_of(pool: EnvPool) -> Style:
    """How calls are written in these environments.

    Raises:
        InvalidConfig: their actions are no calls.
    """
    core = pool.envs[0].unwrapped
    if not isinstance(core, ToolEnv):
        raise InvalidConfig(
            f"iTool compares calls of tools, and the actions of {type(core).__name__} are none: take an environment "
            "of tools such as ToolWorld-v1, or --fragments any under agent_q"
        )
    return core.style


def is_fragment(pair: Pair, style: Style) -> bool:
    """Whether the two actions of a pair call the same tools in the same order, and so differ in arguments alone."""
    better, worse = (_calls(side.turns[pair.first].action.text, style) for side in (pair.chosen, pair.rejected))
    names = [[call.name for call in side] for side in (better, worse)]
    return bool(better) and names[0] == names[1] and list(better) != list(worse)


def _calls(text: str, style: Style) -> tuple[Call, ...]:
    """The calls of an action, none where it can't be read."""
    try:
        return parse_calls(text, style).calls
    except Unreadable:
        return ()


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train itool`, given its arguments."""
    run_command(Config, "itool", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
