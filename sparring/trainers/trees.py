"""Trees to learn from: a search of every task of a round, all grown together.

    forest = grow(config.search, policy, pool, starts, setting)
    for tree in forest.trees: ...
    session.count(**forest.counts())

What a trainer makes of a tree (pairs of siblings, revisions, labels for a value model, a walk through it) is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparring.envs.pool import EnvPool
from sparring.episode import Setting, Start
from sparring.errors import EnvFailed, InvalidConfig
from sparring.runs import RunFolder
from sparring.search import files
from sparring.search.engine import Budget, Critic, plant, search_many
from sparring.search.evaluators import Evaluator, playout
from sparring.search.patience import replace_broken
from sparring.search.rules import Rules, rules_of
from sparring.search.tree import Tree
from sparring.types import Policy


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """How the tasks of a round are searched."""

    method: str = "mcts"
    """The rules to begin with: mcts, agent-q, agent-r, lats, r-mcts, rest-mcts, best-first, beam or best-of-n."""
    trees: int = 32
    """Tasks searched in a round."""
    simulations: int = 16
    """Simulations of each tree."""
    samples: int | None = None
    """Actions drawn at a place; by default as the method does."""
    children: int | None = None
    """Different ones among them that are kept; by default as the method does."""
    exploration: float | None = None
    """The constant before the exploration term; by default as the method does."""
    max_depth: int | None = None
    """Turns below the root that are looked at; by default as the method does."""
    at_once: int = 1
    """Simulations at once in one tree (virtual loss); 1 is exact, and the trees fill the model's batch."""
    save_every: int = 1
    """Rounds from one file of trees in the run's `trees/` to the next, the first round's included; 0 for none."""

    def __post_init__(self) -> None:
        for name, low in (("trees", 1), ("simulations", 1), ("at_once", 1), ("save_every", 0)):
            if getattr(self, name) < low:
                raise InvalidConfig(f"search.{name} must be at least {low}, got {getattr(self, name)}")
        self.rules()

    def saves(self, round: int) -> bool:
        """Whether a round's trees are kept."""
        return self.save_every > 0 and (round - 1) % self.save_every == 0

    def rules(self, **changes: Any) -> Rules:
        """The method's rules under these settings, and with a trainer's own changes.

        Raises:
            UnknownName: no such method. InvalidConfig: an impossible setting.
        """
        given = {name: getattr(self, name) for name in ("samples", "children", "exploration", "max_depth")}
        return rules_of(self.method, **{name: value for name, value in given.items() if value is not None} | changes)


@dataclass(frozen=True, slots=True)
class Forest:
    """The trees of a round.

    Attributes:
        trees: those that a search grew on, in the order of their starts. rules: by which.
        lost: starts that the environment failed at, and trees whose replay diverged.
    """

    trees: tuple[Tree, ...]
    rules: Rules = field(repr=False)
    lost: int = 0

    def counts(self) -> dict[str, int]:
        """What a run counts over all its rounds."""
        return {
            "simulations": sum(tree.spent.simulations for tree in self.trees),
            "env_turns": sum(tree.spent.env_steps for tree in self.trees),
            "action_tokens": sum(tree.spent.tokens for tree in self.trees),
        }

    def summary(self) -> dict[str, float]:
        """What metrics say about the trees: means over them."""
        count = len(self.trees) or float("nan")
        best = [tree.best_ending(self.rules.outcome) for tree in self.trees]
        endings = [[self.rules.outcome(one.moment) for one in tree.endings()] for tree in self.trees]
        return {
            "tree_places": sum(len(tree.nodes) for tree in self.trees) / count,
            "tree_endings": sum(map(len, endings)) / count,
            "tree_ending_mean": sum(sum(found) / len(found) if found else 0.0 for found in endings) / count,
            "tree_best": sum(self.rules.outcome(one.moment) if one else 0.0 for one in best) / count,
            "lost": float(self.lost),
        }

    def save_if_due(self, config: SearchConfig, run: RunFolder, round: int) -> None:
        """Write the trees of a round to the run's `trees/` where its turn has come."""
        if config.saves(round):
            files.write(run.path / "trees" / f"step-{round:06d}.jsonl.zst", self.trees)


def grow(
    config: SearchConfig,
    policy: Policy,
    pool: EnvPool,
    starts: Sequence[Start],
    setting: Setting,
    *,
    evaluator: Evaluator = playout,
    critic: Critic | None = None,
    on_finish: Callable[[Tree], None] | None = None,
    **changes: Any,
) -> Forest:
    """Search the starts.

    Args:
        pool: one environment for each simulation under way.
        evaluator, critic: as for `search_many`. on_finish: called with each tree as it is done.
        changes: of the method's rules, a trainer's own.
    Raises:
        EnvNotSearchable: the environment can't be brought back to where it was.
    """
    rules = config.rules(**changes)
    trees = []
    for start in starts:
        try:
            trees.append(plant(pool.envs[0], start, setting))
        except EnvFailed as failure:
            replace_broken(pool, 0, failure)
    search_many(
        pool,
        policy,
        trees,
        rules=rules,
        evaluator=evaluator,
        budget=Budget(config.simulations),
        critic=critic,
        simulations_at_once=config.at_once,
        on_finish=on_finish,
    )
    whole = tuple(tree for tree in trees if tree.error is None)
    return Forest(whole, rules, lost=len(starts) - len(whole))
