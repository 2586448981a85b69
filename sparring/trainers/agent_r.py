"""Agent-R: learn to notice a mistake and to recover from it, out of trees of one's own.

    python -m sparring.trainers.agent_r --model runs/first --run runs/agent-r --search.trees 64 --steps 3
    python -m sparring.trainers.agent_r --model runs/first --run runs/direct --judge end
    python -m sparring.trainers.agent_r --model runs/first --run runs/paper --judge policy --splice thought \\
        --env.wrappers second-thought
    python -m sparring.trainers.agent_r --run runs/agent-r --resume

After arXiv:2501.11425. A round searches tasks by MCTS, pairs good endings with clearly worse ones, finds the first
action of the worse branch that is judged bad, and makes a revision of it: the bad beginning, and a good continuation.
The policy imitates the continuations (the bad beginning is context), good episodes as a whole, and demonstrations, and
the next round searches with what it has become. What counts as good rises from round to round (`--alpha`).

| `--judge` | the first bad action is |
|---|---|
| `value` | the first whose mean value in the tree lies more than `--gap` below that of another action of its place |
| `policy` | the first that the policy itself calls bad when asked: good, bad or uncertain? (the paper's) |
| `end` | the last behind which there is still room for a good end (the paper's ablation, Direct-Revision) |

| `--splice` | a revision goes on |
|---|---|
| `recover` | from the very state behind the bad action, as the tree or a further search finds |
| `thought` | by a sentence that takes the bad steps back, then as the good branch did (the paper's) |

Departures:
1. `--judge value` is the default: a model that was never asked what it thinks of an action can't say. It is hindsight
   of the search, not the policy's own word, and so not bound to what the policy can see by itself.
2. `--splice recover` is the default. In the paper the good branch, seen from another state, is pasted behind the bad
   one. Here every revision is an episode that can be played again: `recover` finds one that leads on from the bad
   state; `thought` needs the wrapper `second-thought`, which truly brings the earlier state back.
3. An action that ended the episode can't be recovered from. Where it is the first bad one, there is no revision.
   Where no action is judged bad, the revision is that of `end`, as in the authors' code. `end` leaves room for a good
   end (`revisions.last_to_leave`): the paper's pasted episodes know no limit of turns.
4. At alpha 1 an ending worth 1 is good; above it, as the paper writes, there is none.
5. A bad ending is paired with one good ending, the best (of equals the nearest for `thought`, else the shortest), not
   with each; and of a tree `--revisions-per-task` different mistakes are revised.
6. The data that keeps what was known are demonstrations, `--demos-share` of the episodes of a round (the paper's eta,
   for which it takes dialogues).
7. The paper's trees have 8 simulations of 4 actions to a depth of 20; so have these, but for the depth, which is the
   environment's own. Numbers of tasks and updates are our own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting, Start, rollout
from sparring.runs import RunFolder
from sparring.search.asking import Judge, Question, indented
from sparring.search.tree import Edge, Node, Tree
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.collect import group_starts, is_usable, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.demos import DemosConfig, demonstrations
from sparring.trainers.exploration import drawn, sampling_seeds
from sparring.trainers.optim import OptimConfig
from sparring.trainers.revisions import (
    Contrast,
    Mistake,
    Outcome,
    Verdict,
    below,
    by_value,
    contrasts,
    good_endings,
    is_contrast,
    is_good,
    mistake_of,
    revised,
    spliced,
)
from sparring.trainers.rounds import Collector, Flagged, Harvest, LearningConfig, iterate, settled
from sparring.trainers.session import LoopConfig, claim
from sparring.trainers.trees import SearchConfig, grow
from sparring.types import Trajectory

_VERDICTS: dict[str, Verdict] = {"Good": "Good", "Bad": "Bad", "Uncertain": "Uncertain"}


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of an Agent-R run."""

    run: Path = Path("runs/agent-r")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint), best one of sft."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: LoopConfig(steps=3, eval_every=1, checkpoint_every=1)
    )
    learning: LearningConfig = field(default_factory=LearningConfig)
    search: SearchConfig = field(default_factory=lambda: SearchConfig(method="agent-r", trees=64, simulations=8))
    demos: DemosConfig = field(default_factory=lambda: DemosConfig(episodes=500))
    seed: int = 0
    """Of demonstrations, tasks, samples, and the order of learning."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    judge: Literal["value", "policy", "end"] = "value"
    """Who says which action of a bad branch was the first bad one (see the table above)."""
    splice: Literal["recover", "thought"] = "recover"
    """How a revision goes on behind it (see the table above)."""
    alpha: tuple[float, ...] = (0.5, 0.7, 1.0)
    """Round by round, what an ending must be worth more than to be good; the last is that of all later rounds."""
    beta: float = 0.2
    """By more than this a good ending must be better than the bad one."""
    gap: float = 0.2
    """judge value: by more than this another action's mean value must be higher."""
    revisions_per_task: int = 4
    """Different mistakes of a tree that are revised, those that the search came to first."""
    good_per_task: int = 1
    """Good episodes of a tree that are imitated as a whole, the best and shortest first."""
    recovery_simulations: int = 4
    """recover: simulations of a further search, where the tree knows no good ending below the bad state; 0 for none."""
    demos_share: float = 0.2
    """Share of demonstrations among the episodes that a round learns from."""
    data: Path | None = None
    """Demonstrations: a .jsonl.zst file or a folder of them; by default `demos` plays them."""
    split: str | None = None
    """Split to train on, and of the tasks of the demonstrations; by default the environment's training split."""
    environments: int = 32
    """How many to search in at once."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (
            ("beta", 0), ("gap", 0), ("revisions_per_task", 0), ("good_per_task", 0), ("recovery_simulations", 0),
            ("environments", 1), ("lora_rank", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not self.alpha or any(not 0 <= one <= 1 for one in self.alpha):
            raise InvalidConfig(f"alpha must be one or more numbers within 0 and 1, got {self.alpha}")
        if not 0 <= self.demos_share < 1:
            raise InvalidConfig(f"demos_share must be within 0 and below 1, got {self.demos_share}")
        if self.splice == "thought" and self.env.wrappers[-1:] != ("second-thought",):
            raise InvalidConfig(
                "splice thought needs a world in which steps can be taken back: put second-thought last among "
                f"--env.wrappers, which are {self.env.wrappers}"
            )

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)

    def alpha_of(self, round: int) -> float:
        """What a good ending must be worth more than in a round, from 1."""
        return self.alpha[min(round, len(self.alpha)) - 1]


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        EnvNotSearchable: the environment can't be brought back to where it was.
        InvalidData: `data` holds no trajectories.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    config = replace(config, learning=settled(config.learning, restart=False, remember=False))
    with claim(config.run, "agent_r", replace(config, resume=False), resume=config.resume) as run:
        demonstrated: list[Trajectory] = []
        if config.demos_share:
            demos = replace(config.demos, split=config.demos.split or config.split)
            demonstrated = demonstrations(demos, run, config.env, config.setting, data=config.data, seed=config.seed)
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        collect = collector(config, run, demonstrated)
        iterate("agent_r", config, run, learner, collect, (), environments=config.environments)
    return config.run


def collector(config: Config, run: RunFolder, demonstrated: Sequence[Trajectory]) -> Collector:
    """Searches the tasks of a round, and makes lessons of the trees."""

    def collect(policy: HFPolicy, pool: EnvPool, round: int, /) -> Harvest:
        alpha, split = config.alpha_of(round), config.split or training_split(pool)
        starts = group_starts(config.seed, round, groups=config.search.trees, size=1, split=split)
        forest = grow(config.search, policy, pool, starts, config.setting)
        forest.save_if_due(config.search, run, round)
        good = [
            Flagged(node.moment.trajectory(policy.version))
            for tree in forest.trees
            for node in good_endings(tree.endings(), forest.rules.outcome, alpha)[: config.good_per_task]
        ]
        reviser = Reviser(config, policy, pool, round, forest.rules.outcome)
        revisions = reviser.revise(forest.trees)
        shown = demonstrations_for(config, demonstrated, len(good) + len(revisions), round)
        return Harvest(
            (*revisions, *good, *shown),
            counts={name: amount + reviser.counts.get(name, 0) for name, amount in forest.counts().items()},
            metrics={
                **forest.summary(),
                **reviser.metrics,
                "alpha": alpha,
                "good": float(len(good)),
                "demonstrations": float(len(shown)),
            },
        )

    return collect


def demonstrations_for(config: Config, demonstrated: Sequence[Trajectory], others: int, round: int) -> list[Flagged]:
    """Good demonstrations to learn from beside `others` episodes, so many that they are `demos_share` of all."""
    good = [one for one in demonstrated if is_usable(one) and is_good(one.score, config.alpha_of(round))]
    count = round_share(config.demos_share, others)
    return [Flagged(one) for one in drawn(good, count, seed=config.seed, round=round)] if count and good else []


def round_share(share: float, others: int) -> int:
    """How many things beside `others` make up `share` of them all."""
    return round(others * share / (1 - share))


class Reviser:
    """Makes the revisions of a round.

    Args:
        outcome: what an ending is worth.

    Attributes:
        counts: what that cost. metrics: how far the pairs got: `contrasts` of good and bad endings, `mistakes` of them
            that an episode went on from, and `revisions`.
    """

    def __init__(self, config: Config, policy: HFPolicy, pool: EnvPool, round: int, outcome: Outcome) -> None:
        self._config, self._policy, self._pool, self._round = config, policy, pool, round
        self._alpha, self._outcome = config.alpha_of(round), outcome
        self.counts: dict[str, int] = {}
        self.metrics: dict[str, float] = {}

    def revise(self, trees: Sequence[Tree]) -> list[Flagged]:
        """The revisions of some trees, one for each place that a bad branch is left at."""
        nearest = self._config.splice == "thought"
        pairs = [
            (tree, contrast)
            for tree in trees
            for contrast in contrasts(tree, self._outcome, alpha=self._alpha, beta=self._config.beta, nearest=nearest)
        ]
        verdicts = self._judge([contrast for _, contrast in pairs])
        found: dict[int, dict[int, tuple[Tree, Mistake]]] = defaultdict(dict)
        for (tree, contrast), said in zip(pairs, verdicts, strict=True):
            mistake = mistake_of(contrast, said)
            if mistake is not None:
                found[id(tree)].setdefault(mistake.node.number, (tree, mistake))
        mistakes = [one for places in found.values() for one in [*places.values()][: self._config.revisions_per_task]]
        revisions = self._recover(mistakes) if self._config.splice == "recover" else self._think_again(mistakes)
        self.metrics |= {
            "contrasts": float(len(pairs)),
            "mistakes": float(len(mistakes)),
            "revisions": float(len(revisions)),
        }
        return revisions

    def _judge(self, pairs: Sequence[Contrast]) -> list[list[Verdict]]:
        if self._config.judge == "value":
            return [by_value(one.branch, gap=self._config.gap) for one in pairs]
        if self._config.judge == "end":
            return [[] for _ in pairs]
        judge = Judge(self._policy)
        verdicts = by_asking(judge, [one.branch for one in pairs])
        self._count(action_tokens=judge.tokens)
        self.metrics["unanswered"] = judge.invalid / max(judge.asked, 1)
        return verdicts

    def _recover(self, mistakes: Sequence[tuple[Tree, Mistake]]) -> list[Flagged]:
        """Good continuations from the very states behind mistakes: of their own trees, or of a further search."""
        found = [self._continuation(mistake, below(mistake.node, tree.endings())) for tree, mistake in mistakes]
        lost = [index for index, one in enumerate(found) if one is None]
        self.metrics["recoveries_known"] = float(len(found) - len(lost))
        if lost and self._config.recovery_simulations:
            seeds = sampling_seeds(self._config.seed, self._round, "recover", len(lost))
            starts = [
                replace(mistakes[index][1].node.moment.start, sampling_seed=seed, prefix=mistakes[index][1].kept)
                for index, seed in zip(lost, seeds, strict=True)
            ]
            for index, tree in zip(lost, self._search(starts), strict=True):
                found[index] = self._continuation(mistakes[index][1], tree.endings() if tree is not None else [])
        return [
            revised(one, len(mistake.kept))
            for (_, mistake), one in zip(mistakes, found, strict=True)
            if one is not None
        ]

    def _search(self, starts: Sequence[Start]) -> list[Tree | None]:
        """The tree of each start, None where the environment failed."""
        search = replace(self._config.search, simulations=self._config.recovery_simulations)
        forest = grow(search, self._policy, self._pool, starts, self._config.setting)
        self._count(**forest.counts())
        grown = {id(tree.root.moment.start): tree for tree in forest.trees}
        return [grown.get(id(start)) for start in starts]

    def _continuation(self, mistake: Mistake, endings: Sequence[Node]) -> Trajectory | None:
        """The best of the endings that are good and clearly better than the bad one of the mistake."""
        bad = mistake.contrast.bad[-1].node
        assert bad is not None
        worth = self._outcome(bad.moment)
        for node in good_endings(endings, self._outcome, self._alpha):
            if is_contrast(self._outcome(node.moment), worth, alpha=self._alpha, beta=self._config.beta):
                return node.moment.trajectory(self._policy.version)
        return None

    def _think_again(self, mistakes: Sequence[tuple[Tree, Mistake]]) -> list[Flagged]:
        """Revisions by a thought, taken again in the environment: kept where it bears them out."""
        written = [(mistake, turns) for _, mistake in mistakes if (turns := spliced(mistake)) is not None]
        starts = [replace(mistake.node.moment.start, prefix=turns) for mistake, turns in written]
        played = rollout(self._policy, self._pool, starts, self._config.setting)
        self._count(env_turns=sum(len(one.turns) for one in played))
        return [
            revised(one, len(mistake.kept))
            for (mistake, turns), one in zip(written, played, strict=True)
            if is_usable(one) and len(one.turns) == len(turns) and is_good(one.score, self._alpha)
        ]

    def _count(self, **amounts: int) -> None:
        for name, amount in amounts.items():
            self.counts[name] = self.counts.get(name, 0) + amount


def by_asking(judge: Judge, branches: Sequence[Sequence[Edge]]) -> list[list[Verdict]]:
    """What a policy says of the actions of bad branches, one after the other, each until it has called one bad.

    Args:
        judge: the policy. An answer that is no verdict counts as uncertain.
    Returns:
        For each branch the verdicts up to and with the first that is bad, of all its actions where none is.
    """
    verdicts: list[list[Verdict]] = [[] for _ in branches]
    while asked := [
        (said, branch[len(said)])
        for said, branch in zip(verdicts, branches, strict=True)
        if len(said) < len(branch) and "Bad" not in said
    ]:
        answers = judge.ask([_question(edge) for _, edge in asked])
        for (said, _), answer in zip(asked, answers, strict=True):
            said.append(_VERDICTS.get(answer or "", "Uncertain"))
    return verdicts


def _question(edge: Edge) -> Question:
    assert edge.node is not None
    text = f"The last action was:\n{indented(edge.action.text)}\nWas it a good one to take, for the task?"
    return Question(edge.node.moment, text, tuple(_VERDICTS))


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train agent_r`, given its arguments."""
    run_command(Config, "agent_r", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
