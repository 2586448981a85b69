"""Trees written by hand, for tests of what is inferred from them."""

from __future__ import annotations

from collections.abc import Mapping

from sparring.episode import Moment, Setting, Start
from sparring.search.tree import Edge, Node, Tree
from sparring.types import Action, Observation, Stop, Turn


def tree_of(paths: Mapping[str, bool | None]) -> Tree:
    """A tree by its paths.

    Args:
        paths: an action a letter; the episode is over at a path's end, and whether it went right stands behind it
            (None: it is not over there).
    """
    root = Node(0, Moment(Start(0), Setting("tests/By-hand-v1"), task="by hand", observation=Observation("root")))
    tree = Tree(root)
    for path, is_right in paths.items():
        node = root
        for at in range(len(path)):
            node = _step(tree, node, path[: at + 1], is_right if at + 1 == len(path) else None)
    return tree


def join(tree: Tree, start: str, end: str) -> None:
    """Let a further action lead from one place to another, as where states are merged."""
    node = at(tree, start)
    node.edges.append(Edge(Action("joined"), node, at(tree, end)))


def at(tree: Tree, path: str) -> Node:
    """The place that a path leads to."""
    return next(node for node in tree.nodes if name(node) == path)


def name(node: Node) -> str:
    """The path to a place."""
    return "".join(edge.action.text for edge in node.path)


def _step(tree: Tree, node: Node, path: str, is_right: bool | None) -> Node:
    edge = node.edge(path[-1])
    if edge is None:
        turns = (*node.moment.turns, Turn(Observation("before"), Action(path[-1]), 0.0))
        moment = Moment(
            node.moment.start,
            node.moment.setting,
            task="by hand",
            turns=turns,
            observation=Observation(path),
            stop=None if is_right is None else Stop.TERMINATED,
            info={"success": bool(is_right), "score": float(bool(is_right))},
        )
        edge = Edge(Action(path[-1]), node, visits=1)
        edge.node = Node(len(tree.nodes), moment, node.depth + 1, edge, visits=1)
        node.edges.append(edge)
        tree.nodes.append(edge.node)
    assert edge.node is not None
    return edge.node
