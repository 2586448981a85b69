"""What tells one search from another: which place is looked at next, how many actions are tried there, what counts.

`Rules` is data, and `PRESETS` has those of the papers. A selection is a function from a tree to the path that the next
simulation takes: edges from the root, of which the last may be unvisited; the empty path is the root itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sparring.episode import Moment
from sparring.errors import EnvFailed, InvalidConfig, unknown
from sparring.search import scores
from sparring.search.tree import Edge, Node, Tree

Score = Callable[["Rules", Node, Edge], float]
Select = Callable[["Rules", Tree], "list[Edge] | None"]


def final_score(moment: Moment) -> float:
    """What the environment says at the end: `info["score"]`, or the return where it names none; 0 before the end.

    Raises:
        EnvFailed: that is no finite number.
    """
    if moment.stop is None:
        return 0.0
    try:
        score = moment.trajectory().score
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise EnvFailed(f"a score must be a finite number, got {moment.info.get('score')!r}")
    return score


def edge_value(rules: Rules, edge: Edge) -> float:
    """The mean of an edge's values, mixed with the critic's opinion where there is one (Agent Q, equation 10).

    Simulations under way count as visits that found `rules.virtual_value`.
    """
    visits = edge.visits + edge.in_flight
    mean = (edge.total + edge.in_flight * rules.virtual_value) / visits if visits else rules.first_value
    if edge.critique is None:
        return mean
    return rules.mean_weight * mean + (1 - rules.mean_weight) * edge.critique


def _counts(node: Node, edge: Edge) -> tuple[int, int]:
    under_way = sum(one.in_flight for one in node.edges)
    return edge.visits + edge.in_flight, node.visits + under_way


def _by(formula: Callable[[float, int, int, float], float]) -> Score:
    def score(rules: Rules, node: Node, edge: Edge) -> float:
        return formula(edge_value(rules, edge), *_counts(node, edge), rules.exploration)

    score.__doc__ = f"`scores.{formula.__name__}`."
    return score


by_ucb1, by_ucb, by_uct, by_rest = (_by(one) for one in (scores.ucb1, scores.ucb, scores.uct, scores.rest))


def by_puct(rules: Rules, node: Node, edge: Edge) -> float:
    """`scores.puct`."""
    return scores.puct(edge_value(rules, edge), *_counts(node, edge), edge.prior, rules.exploration)


def descend(rules: Rules, tree: Tree) -> list[Edge] | None:
    """Tree policy of MCTS: from the root along the best edges to a new one, or to a place that wants actions.

    Equal scores are told apart by the critic's opinion, then by the prior, then by age. Where the best edge leads
    only to what is being looked at by another simulation, the next best is taken; None where all do.
    """
    path: list[Edge] = []
    left = [iter(_in_order(rules, tree.root))]
    met = {tree.root.number}  # a merged place is met by many ways, from all of which there is the same to find
    if _wants_actions(tree.root):
        return None if tree.root.is_expanding else path
    while left:
        edge = next(left[-1], None)
        if edge is None:
            left.pop()
            path = path[:-1]
        elif edge.node is None:
            if not edge.in_flight:
                return [*path, edge]
        elif edge.node.number not in met:
            met.add(edge.node.number)
            if not _wants_actions(edge.node):
                path = [*path, edge]
                left.append(iter(_in_order(rules, edge.node)))
            elif not edge.node.is_expanding:
                return [*path, edge]
    return None


def _wants_actions(node: Node) -> bool:
    return node.is_over or not node.is_expanded


def _in_order(rules: Rules, node: Node) -> list[Edge]:
    return sorted(open_edges(node), key=lambda edge: preference(rules, node, edge))


def open_edges(node: Node) -> list[Edge]:
    """The edges through which there may be something new."""
    return [edge for edge in node.edges if not edge.is_closed]


def preference(rules: Rules, node: Node, edge: Edge) -> tuple[float, float, float]:
    """A key by which the edge to take next comes first; sorting keeps the older of equals in front."""
    return (-rules.score(rules, node, edge), -(edge.critique or 0.0), -edge.prior)


def best_first(rules: Rules, tree: Tree) -> list[Edge] | None:
    """The most valuable place anywhere in the tree: backtracking whenever another branch looks better.

    Unvisited actions are worth what the place is worth at which they were found (Koh et al., arXiv:2407.01476).
    """
    best: tuple[float, list[Edge]] | None = None
    for node in tree.nodes:
        if node.is_closed or node.is_over or node.is_expanding:
            continue
        worth = node.value if node.value is not None else rules.first_value
        if best is not None and worth <= best[0]:
            continue
        if not node.is_expanded:
            best = worth, node.path
            continue
        fresh = next((edge for edge in open_edges(node) if edge.node is None and not edge.in_flight), None)
        if fresh is not None:
            best = worth, [*node.path, fresh]
    return best[1] if best else None


def beam(rules: Rules, tree: Tree) -> list[Edge] | None:
    """Level by level: every action of the `rules.width` most valuable places of a level, then those of the next."""
    level = [tree.root]
    met = {tree.root.number}
    while level:
        for node in level:
            if node.is_expanding or any(edge.in_flight for edge in node.edges):
                return None
            if not node.is_expanded:
                return node.path
            fresh = next((edge for edge in open_edges(node) if edge.node is None), None)
            if fresh is not None:
                return [*node.path, fresh]
        below = {edge.node.number: edge.node for node in level for edge in node.edges if edge.node and not edge.error}
        alive = [node for node in below.values() if not node.is_over and node.number not in met]
        met |= below.keys()  # merged states may lead back to an earlier level
        if rules.max_depth is not None:
            alive = [node for node in alive if node.depth < rules.max_depth]
        level = sorted(alive, key=lambda node: -(node.value or 0.0))[: rules.width]
    tree.root.is_closed = True
    return None


def from_root(rules: Rules, tree: Tree) -> list[Edge] | None:
    """Always the root: independent episodes (best of n)."""
    return []


@dataclass(frozen=True, slots=True)
class Rules:
    """How to search.

    Attributes:
        select: where the next simulation goes. score: what MCTS descends by. exploration: the constant in it.
        samples: actions drawn when a place is expanded. children: how many different ones are kept, the most frequent
            first. Equal texts are one action, its prior being its share of the samples.
        resample: ask anew at every simulation (best of n), instead of once a place.
        max_depth: places so far below the root are valued but not expanded; None leaves the end to the environment.
        width: of a beam.
        mean_weight: alpha of Agent Q's equation 10, where a critic is asked.
        first_value: what an unvisited edge is worth. virtual_value: what a simulation under way is taken to find.
        sees_outcome: whether an ending is worth what the environment says. At test time that is a privilege: without
            it the evaluator values endings too.
        outcome: what an ending is worth. revisit_endings: let simulations end again where an episode is known to end,
            as the papers' statistics have it; without it they look for something new.
        stop_at: the search ends as soon as a value is as good.
        merge_states: places in equal states are one, whatever way they were reached by.
        commit: `action` plays the best action at the root and searches again, `path` plays the best episode found.
    """

    select: Select = descend
    score: Score = by_ucb1
    exploration: float = 1.0
    samples: int = 5
    children: int = 5
    resample: bool = False
    max_depth: int | None = None
    width: int = 3
    mean_weight: float = 0.5
    first_value: float = 0.0
    virtual_value: float = 0.0
    sees_outcome: bool = True
    outcome: Callable[[Moment], float] = final_score
    revisit_endings: bool = False
    stop_at: float | None = 1.0
    merge_states: bool = False
    commit: Literal["action", "path"] = "path"

    def __post_init__(self) -> None:
        for name, low in (("samples", 1), ("children", 1), ("width", 1), ("exploration", 0)):
            if not getattr(self, name) >= low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.max_depth is not None and self.max_depth < 1:
            raise InvalidConfig(f"max_depth must be at least 1, got {self.max_depth}")
        if not 0 <= self.mean_weight <= 1:
            raise InvalidConfig(f"mean_weight must lie within 0 and 1, got {self.mean_weight}")
        if self.commit not in ("action", "path"):
            raise InvalidConfig(f'commit must be "action" or "path", got "{self.commit}"')


PRESETS: Mapping[str, Rules] = {
    "mcts": Rules(),
    "agent-q": Rules(score=by_ucb1, revisit_endings=True, stop_at=None),
    "agent-r": Rules(score=by_ucb, exploration=0.25, samples=4, children=4, stop_at=None),
    "lats": Rules(score=by_uct, exploration=1.0, revisit_endings=True),
    "r-mcts": Rules(score=by_puct, samples=20, children=5, max_depth=4, commit="action"),
    # The released code values all actions of a place before it follows one: each must come first once.
    "rest-mcts": Rules(score=by_rest, exploration=0.7, samples=3, children=3, stop_at=0.9, first_value=1.0),
    "best-first": Rules(select=best_first, max_depth=5, first_value=0.5),
    "beam": Rules(select=beam),
    "best-of-n": Rules(select=from_root, samples=1, children=1, resample=True, stop_at=None),
}


def rules_of(method: str, **changes: Any) -> Rules:
    """The rules of a method by its name, with changes.

    Raises:
        UnknownName: no such method. InvalidConfig: an impossible change.
    """
    if method not in PRESETS:
        raise unknown("search method", method, PRESETS)
    return replace(PRESETS[method], **changes)
