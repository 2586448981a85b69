"""Trees on disk: one JSON object a line, compressed with Zstandard.

A tree is written with everything but its snapshots: one that is read again can be looked at, learned from, and searched
further, for which its episode is then replayed from the reset (and new places merged with each other alone). Places are
written once, by what they show; the actions that led to them and what these earned stand at the edges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sparring import trajectories
from sparring.episode import Moment
from sparring.errors import EnvFailed, InvalidData
from sparring.search.rules import final_score
from sparring.search.tree import Edge, Node, Spent, Tree
from sparring.types import Action, Observation, Stop, Turn


@dataclass(frozen=True, slots=True)
class _Edge:
    """An edge: `to` is the number of the node that it leads to; None before its first visit."""

    action: Action
    to: int | None = None
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    prior: float = 0.0
    samples: int = 0
    visits: int = 0
    total: float = 0.0
    critique: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Node:
    """A place. Its number is its position; `parent` and `edge` say which edge led here first (None at the root)."""

    observation: Observation | None
    parent: int | None = None
    edge: int = 0
    stop: Stop | None = None
    error: str | None = None
    info: dict[str, Any] = field(default_factory=dict)
    edges: tuple[_Edge, ...] = ()
    drawn: int = 0
    visits: int = 0
    value: float | None = None
    is_expanded: bool = False
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class _Tree:
    """A tree, whose root stands at a moment of an episode."""

    root: Moment
    nodes: tuple[_Node, ...]
    spent: Spent = field(default_factory=Spent)
    stopped: str | None = None
    error: str | None = None


def write(path: Path, trees: Iterable[Tree]) -> int:
    """Write a `.jsonl.zst` file of trees atomically, and return how many it holds."""
    return trajectories.write_lines(path, map(to_json, trees))


def read(path: Path) -> Iterator[Tree]:
    """Read the trees of a file, or of all the `.jsonl.zst` files of a folder in the order of their names.

    Raises:
        InvalidData: nothing is there, or a line is no tree; the message names file, line and field.
    """
    return trajectories.read_lines(path, from_json, "trees")


def to_json(tree: Tree) -> str:
    """One line of JSON for a tree."""
    nodes = tuple(_plain_node(node) for node in tree.nodes)
    return trajectories.to_json(_Tree(tree.root.moment, nodes, tree.spent, tree.stopped, tree.error))


def from_json(line: str) -> Tree:
    """The inverse of `to_json`, but for snapshots.

    Raises:
        InvalidData: the line is no tree; the message names the field.
    """
    found = _parse(line)
    nodes: list[Node] = []
    for number, plain in enumerate(found.nodes):
        node = _root(found, plain) if number == 0 else _node(number, plain, nodes, found.nodes)
        node.edges = [
            Edge(
                one.action,
                node,
                prior=one.prior,
                samples=one.samples,
                visits=one.visits,
                total=one.total,
                critique=one.critique,
                error=one.error,
            )
            for one in plain.edges
        ]
        nodes.append(node)
        if number:
            assert plain.parent is not None
            node.came_by = nodes[plain.parent].edges[plain.edge]
    for node, plain in zip(nodes, found.nodes, strict=True):
        for edge, one in zip(node.edges, plain.edges, strict=True):
            if one.to is not None:
                if not 0 <= one.to < len(nodes):
                    raise InvalidData(f"an edge leads to node {one.to}, but the tree has {len(nodes)}")
                edge.node, edge.turn = nodes[one.to], _turn(node, one)
    _check_ways(nodes)
    return Tree(nodes[0], nodes, found.spent, stopped=found.stopped, error=found.error)


def _parse(line: str) -> _Tree:
    """What a line says, whose fields are as they must be, each by itself."""
    try:
        found = trajectories.parse(line, _Tree, "tree")
    except InvalidData:
        raise
    except RecursionError as error:
        raise InvalidData("no tree: it is nested too deep") from error
    except TypeError as error:
        raise InvalidData("no tree: a line must be a JSON object") from error
    except ValueError as error:  # a number of too many digits
        raise InvalidData(f"no tree: {error}") from error
    if not found.nodes or found.nodes[0].parent is not None:
        raise InvalidData("a tree's first node must be its root, which has no parent")
    spent = found.spent
    _check_counts("the tree", spent.simulations, spent.env_steps, spent.replayed_steps, spent.tokens)
    _check_numbers("the tree", spent.seconds, spent.fork_seconds)
    for number, node in enumerate(found.nodes):
        where = f"node {number}"
        if (node.observation if number else found.root.observation) is None:
            raise InvalidData(f"{where} shows nothing: it must have an observation")
        if len({edge.action.text for edge in node.edges}) < len(node.edges):
            raise InvalidData(f"{where} has an action twice")
        _check_counts(where, node.drawn, node.visits)
        _check_numbers(where, node.value)
        for edge in node.edges:
            _check_counts(where, edge.samples, edge.visits)
            _check_numbers(where, edge.reward, edge.prior, edge.total, edge.critique)
    return found


def _check_counts(where: str, *counts: int) -> None:
    if any(one < 0 for one in counts):
        raise InvalidData(f"counts of {where} must be at least 0, got {', '.join(map(str, counts))}")


def _check_numbers(where: str, *numbers: float | None) -> None:
    if any(one is not None and not math.isfinite(one) for one in numbers):
        raise InvalidData(f"numbers of {where} must be finite, got {', '.join(map(str, numbers))}")


def _check_ways(nodes: Iterable[Node]) -> None:
    """Check that each node is where the edge leads that it came by, and that endings are worth a number."""
    for node in nodes:
        if node.came_by is not None and node.came_by.node is not node:
            raise InvalidData(f"node {node.number} must be where the edge leads that it came by")
        try:
            final_score(node.moment)
        except EnvFailed as error:
            raise InvalidData(f"node {node.number}: {error}") from error


def _plain_node(node: Node) -> _Node:
    by = node.came_by
    return _Node(
        node.moment.observation,
        parent=None if by is None else by.parent.number,
        edge=0 if by is None else by.parent.edges.index(by),
        stop=node.moment.stop,
        error=node.moment.error,
        info=node.moment.info,
        edges=tuple(_plain_edge(edge) for edge in node.edges),
        drawn=node.drawn,
        visits=node.visits,
        value=node.value,
        is_expanded=node.is_expanded,
        is_closed=node.is_closed,
    )


def _plain_edge(edge: Edge) -> _Edge:
    turn = edge.turn
    return _Edge(
        edge.action,
        to=None if edge.node is None else edge.node.number,
        reward=0.0 if turn is None else turn.reward,
        terminated=turn is not None and turn.terminated,
        truncated=turn is not None and turn.truncated,
        info={} if turn is None else dict(turn.info),
        prior=edge.prior,
        samples=edge.samples,
        visits=edge.visits,
        total=edge.total,
        critique=edge.critique,
        error=edge.error,
    )


def _root(found: _Tree, plain: _Node) -> Node:
    return _with_statistics(Node(0, found.root), plain)


def _node(number: int, plain: _Node, before: list[Node], plains: tuple[_Node, ...]) -> Node:
    """A node whose parent is among those `before` it."""
    if plain.parent is None or not 0 <= plain.parent < number or not 0 <= plain.edge < len(before[plain.parent].edges):
        raise InvalidData(
            f"node {number} must come by an edge of an earlier node, got edge {plain.edge} of {plain.parent}"
        )
    parent = before[plain.parent]
    turn = _turn(parent, plains[plain.parent].edges[plain.edge])
    moment = replace(
        parent.moment,
        turns=(*parent.moment.turns, turn),
        observation=plain.observation,
        stop=plain.stop,
        error=plain.error,
        info=plain.info,
    )
    return _with_statistics(Node(number, moment, parent.depth + 1), plain)


def _with_statistics(node: Node, plain: _Node) -> Node:
    node.drawn, node.visits, node.value = plain.drawn, plain.visits, plain.value
    node.is_expanded, node.is_closed = plain.is_expanded, plain.is_closed
    return node


def _turn(parent: Node, edge: _Edge) -> Turn:
    assert parent.moment.observation is not None
    return Turn(parent.moment.observation, edge.action, edge.reward, edge.terminated, edge.truncated, edge.info)
