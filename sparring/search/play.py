"""Playing episodes by search: what a policy does when it may try things out before it acts.

The environment is its own simulator: places are tried in forks of the very episode that is played. Under
`rules.sees_outcome` the search knows what an ending is worth before it is chosen, as the published methods do; without
it, only what the evaluator thinks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparring.envs.pool import EnvPool
from sparring.episode import Setting, Start
from sparring.errors import EnvFailed
from sparring.rollout import rollout
from sparring.search.asking import Judge
from sparring.search.engine import Budget, Critic, plant, search_many
from sparring.search.evaluators import Evaluator, playout
from sparring.search.patience import replace_broken
from sparring.search.rules import Rules
from sparring.search.tree import Edge, Node, Spent, Tree
from sparring.types import Policy, Trajectory, Turn

COSTS = ("simulations", "env_steps", "tokens")
"""What an episode's info says that its search cost, each name behind `search_`."""


@dataclass(frozen=True, slots=True)
class Searcher:
    """A way to search, and with what.

    Attributes:
        budget: of an episode where the rules commit to a path, of each turn where they commit to an action.
        simulations_at_once: in one tree. judge: whom evaluator and critic ask, whose tokens are a search's cost, too.
    """

    rules: Rules
    budget: Budget
    evaluator: Evaluator = playout
    critic: Critic | None = None
    simulations_at_once: int = 4
    judge: Judge | None = None

    def grow(self, pool: EnvPool, policy: Policy, trees: Sequence[Tree]) -> None:
        """Search all of these."""
        search_many(
            pool,
            policy,
            trees,
            rules=self.rules,
            evaluator=self.evaluator,
            budget=self.budget,
            critic=self.critic,
            simulations_at_once=self.simulations_at_once,
        )


def play(
    searcher: Searcher,
    policy: Policy,
    pool: EnvPool,
    starts: Sequence[Start],
    setting: Setting,
    *,
    on_finish: Callable[[Trajectory], None] | None = None,
    on_tree: Callable[[Tree], None] | None = None,
) -> list[Trajectory]:
    """Play one episode for each start, as `rollout` does, with a search before acting.

    What was chosen is then played for real, every observation compared with that of the search; where a chosen path
    does not reach an end, the policy goes on alone. An episode's info says what it cost in all: `search_simulations`,
    `search_env_steps` (those of playing it for real not among them) and `search_tokens` (all that were sampled; what
    a judge said about several episodes at once is shared evenly among them). Where a search failed, so that the policy
    had to go on without it, `search_error` says how.

    Args:
        on_finish: called with each trajectory. on_tree: called with each tree when its search is done.
    Raises:
        EnvNotSearchable: the environment can't be brought back to where it was.
    """
    found: list[Trajectory] = []
    for first in range(0, len(starts), len(pool)):
        part = starts[first : first + len(pool)]
        judged = searcher.judge.tokens if searcher.judge is not None else 0
        chosen, costs, errors = _choose(searcher, policy, pool, part, setting, on_tree)
        judged = (searcher.judge.tokens if searcher.judge is not None else 0) - judged
        again = [replace(start, prefix=(*start.prefix, *turns)) for start, turns in zip(part, chosen, strict=True)]
        played = rollout(policy, pool, again, setting)
        for start, trajectory, cost, error in zip(again, played, costs, errors, strict=True):
            alone = sum(turn.action.sampled_tokens for turn in trajectory.turns[len(start.prefix) :])
            tokens = cost.tokens + alone + round(judged / len(part))
            counted = zip(COSTS, (cost.simulations, cost.env_steps, tokens), strict=True)
            told: dict[str, Any] = {f"search_{name}": amount for name, amount in counted}
            if error is not None:
                told["search_error"] = error
            found.append(replace(trajectory, info={**trajectory.info, **told}))
            if on_finish is not None:
                on_finish(found[-1])
    return found


def _choose(
    searcher: Searcher,
    policy: Policy,
    pool: EnvPool,
    starts: Sequence[Start],
    setting: Setting,
    on_tree: Callable[[Tree], None] | None,
) -> tuple[list[tuple[Turn, ...]], list[Spent], list[str | None]]:
    """The turns to play of each start, what finding them cost, and how the search failed where it did."""
    costs = [Spent() for _ in starts]
    chosen: list[tuple[Turn, ...]] = [() for _ in starts]
    errors: list[str | None] = [None for _ in starts]
    trees: dict[int, Tree] = {}
    for index, start in enumerate(starts):
        try:
            trees[index] = plant(pool.envs[0], start, setting)
        except EnvFailed as failure:
            errors[index] = str(failure)
            replace_broken(pool, 0, failure)
    while trees:
        searcher.grow(pool, policy, list(trees.values()))
        following: dict[int, Tree] = {}
        for index, tree in trees.items():
            _add(costs[index], tree.spent)
            errors[index] = tree.error
            if on_tree is not None:
                on_tree(tree)
            path = commitment(searcher.rules, tree)
            chosen[index] += tuple(edge.turn for edge in path if edge.turn is not None)
            node = path[-1].node if path else None
            if searcher.rules.commit == "action" and node is not None and not node.is_over and tree.error is None:
                following[index] = replant(node)
        trees = following
    return chosen, costs, errors


def commitment(rules: Rules, tree: Tree) -> list[Edge]:
    """The part of a tree that is played.

    Where rules commit to a path, that to the ending of best outcome (of best value, where outcomes are not seen), or
    the likeliest path where no ending was found. Where they commit to an action, the likeliest path's first edge,
    unless an ending as good as `stop_at` is known.
    """
    if rules.commit == "action":
        best = tree.best_ending(rules.outcome) if rules.sees_outcome else None
        if best is not None and rules.stop_at is not None and rules.outcome(best.moment) >= rules.stop_at:
            return best.path
        return tree.likeliest()[:1]
    if rules.sees_outcome:
        best = tree.best_ending(rules.outcome)
    else:
        endings = [node for node in tree.endings() if node.value is not None]
        best = max(endings, key=lambda node: (node.value or 0.0, -node.number), default=None)
    return best.path if best is not None else tree.likeliest()


def replant(node: Node) -> Tree:
    """A new tree that begins at a node of another."""
    return Tree(Node(0, node.moment, snapshot=node.snapshot))


def _add(total: Spent, spent: Spent) -> None:
    for name in ("simulations", "env_steps", "replayed_steps", "tokens"):
        setattr(total, name, getattr(total, name) + getattr(spent, name))
