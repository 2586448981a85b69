"""Preferences from a tree: of two actions that were tried in one place, the one that came to more."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from sparring.search.rules import Rules, edge_value
from sparring.search.tree import Edge, Tree, episode_along
from sparring.trainers.preferences import Pair


def node_pairs(tree: Tree, rules: Rules, *, threshold: float, min_visits: int = 1) -> list[Pair]:
    """Pair the actions of each place whose values lie more than a threshold apart (Agent Q, section 4.2).

    A pair compares single turns: both sides are the episode up to and with the action, and what came before is context.
    Actions that ran into an error of the environment make no pair.

    Args:
        rules: of the search, by which an action's value is the mean of what simulations through it ended with, mixed
            with the critic's opinion (`edge_value`).
        threshold: theta. min_visits: both actions must have been visited so often; at least 1.
    Returns:
        The pairs by the number of their place, with the difference of values for their margin.
    """
    return [pair for edges in _tried(tree, min_visits) for pair in _pairs(edges, rules, threshold)]


def _tried(tree: Tree, min_visits: int) -> Iterable[list[Edge]]:
    for node in tree.nodes:
        tried = [
            edge
            for edge in node.edges
            if edge.visits >= max(min_visits, 1) and edge.node is not None and not edge.error
        ]
        if len(tried) > 1:
            yield tried


def _pairs(edges: list[Edge], rules: Rules, threshold: float) -> Iterable[Pair]:
    # A merged place may have several ways to it: all the sides of its pairs come by the first.
    before = edges[0].parent.path
    rated = [(edge_value(rules, edge), episode_along([*before, edge]).trajectory()) for edge in edges]
    for one, other in combinations(rated, 2):
        (high, better), (low, worse) = (one, other) if one[0] >= other[0] else (other, one)
        if high - low > threshold:
            yield Pair(better, worse, first=len(better.turns) - 1, margin=high - low)
