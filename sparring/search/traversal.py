"""A search as one walk through the environment: to each place that it looked at, back, and at last to the end.

    walk = traversal(tree, ending)
    start = replace(tree.root.moment.start, prefix=turns_of(walk))     # an episode under the wrapper `backtrack`

Exploratory learning, arXiv:2410.02052: what the search did in many simulations is told as what one agent does that can
go back. Places at which an episode was over can't be left again, so of those the walk visits the last alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparring.envs.backtrack import GO_BACK
from sparring.search.tree import Edge, Node, Tree
from sparring.types import Action, Turn

Walk = Sequence[Edge | None]
"""Moves from a tree's root: an action that is taken, or None where the last one is undone."""


def looked_at(tree: Tree) -> list[Node]:
    """The places at which the search stood before any end, in the order in which it first came to them.

    Places that a playout merely passed are not among them.
    """
    return [
        node
        for node in tree.nodes
        if node is not tree.root and not node.is_over and (node.value is not None or node.is_expanded)
    ]


def traversal(tree: Tree, ending: Node) -> list[Edge | None]:
    """The walk to every place that the search looked at, then to `ending`."""
    return walk_through([*looked_at(tree), ending])


def walk_through(places: Sequence[Node]) -> list[Edge | None]:
    """The shortest walk from the root through places of its tree, in their order."""
    moves: list[Edge | None] = []
    at: list[Edge] = []
    for node in places:
        path = node.path
        shared = next(
            (number for number, (one, other) in enumerate(zip(at, path, strict=False)) if one is not other),
            min(len(at), len(path)),
        )
        moves += [None] * (len(at) - shared)
        moves += path[shared:]
        at = path
    return moves


def turns_of(walk: Walk) -> tuple[Turn, ...]:
    """The walk as turns to take again under the wrapper `backtrack`.

    Only what is seen and said counts. The actions are scripted ones: no policy sampled them on what they now stand
    behind.
    """
    turns: list[Turn] = []
    way: list[Edge] = []
    for edge in walk:
        here = edge.parent if edge is not None else way[-1].node
        assert here is not None and here.moment.observation is not None
        turns.append(Turn(here.moment.observation, Action(GO_BACK if edge is None else edge.action.text), 0.0))
        if edge is None:
            way.pop()
        else:
            way.append(edge)
    return tuple(turns)


def lasting(walk: Walk) -> frozenset[int]:
    """The numbers of the moves that are never undone: the path that the walk ends on."""
    way: list[int] = []
    for number, edge in enumerate(walk):
        if edge is None:
            way.pop()
        else:
            way.append(number)
    return frozenset(way)


def backtracks(walk: Walk) -> frozenset[int]:
    """The numbers of the moves that undo one."""
    return frozenset(number for number, edge in enumerate(walk) if edge is None)
