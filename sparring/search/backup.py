"""What a simulation leaves in its tree: counts and values on its path, and nothing where it was interrupted."""

from __future__ import annotations

from collections.abc import Sequence

from sparring.search.rules import Rules
from sparring.search.tree import Edge, Node, Tree


def back_up(tree: Tree, path: Sequence[Edge], value: float) -> None:
    """Count a simulation and its value at every edge and node of its path: all of it, or nothing where interrupted."""
    nodes = [tree.root, *(edge.node for edge in path if edge.node is not None)]
    before = [(edge, edge.visits, edge.total) for edge in path], [(node, node.visits) for node in nodes]
    ended = tree.spent.simulations
    try:
        for edge in path:
            edge.visits, edge.total = edge.visits + 1, edge.total + value
        for node in nodes:
            node.visits += 1
        tree.spent.simulations = ended + 1
    except BaseException:
        for edge, visits, total in before[0]:
            edge.visits, edge.total = visits, total
        for node, visits in before[1]:
            node.visits = visits
        tree.spent.simulations = ended
        raise


def make_whole(tree: Tree) -> None:
    """Take out of a tree what simulations that were interrupted, wherever they stood, have left in it."""
    tree.running = 0
    newest = tree.nodes[-1]
    if newest.came_by is not None and newest.came_by.node is not newest:
        tree.nodes.pop()
        tree.by_state = {state: node for state, node in tree.by_state.items() if node is not newest}
    for node in tree.nodes:
        node.is_expanding = False
        for edge in node.edges:
            edge.in_flight = 0


def close(rules: Rules, node: Node) -> None:
    """Mark a node below which there is nothing new to find."""
    if node.is_over:
        node.is_closed = not rules.revisit_endings
    elif rules.max_depth is not None and node.depth >= rules.max_depth:
        node.is_closed = node.visits > 0
    else:
        node.is_closed = node.is_expanded and all(edge.is_closed for edge in node.edges)
