"""What the places of a finished tree are worth, inferred from its endings: labels for a value model.

    for one in process_rewards(tree, lambda moment: moment.trajectory().success):
        examples.append((one.node.moment, one.value))

`process_rewards` follows ReST-MCTS* (arXiv:2406.03816 and its code): with m_k for the steps that are left at a place k,
itself counted, s_k = 1 where a right ending was found below it and -1 where not,

    v_0 = 0,    v_k = max(0, v_(k-1) + s_k (1 - v_(k-1)) / m_k).

A step on the shortest way to a right ending takes an equal share of what is missing, a step away from all of them gives
as much back. Nobody need say what single steps are worth: it follows from which endings are right.

`outcome_values` is the plain alternative, a Monte-Carlo return: the mean outcome of the endings below a place.

Departures from the released code:
1. The root has its label, 0, so that a model knows what the first step starts from.
2. A place that several ways lead to (merged states) has its shortest distance over all of them, and takes the value
   before it from the way that found it first, which is the one that its moment tells of.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sparring.episode import Moment
from sparring.search.tree import Node, Tree


@dataclass(frozen=True, slots=True)
class Inferred:
    """What was inferred about a place.

    Attributes:
        node: the place. value: v, within 0 and 1.
        steps: m, places from here to the nearest right ending, both counted; those of the nearest ancestor where no
            right ending is below. leads: whether one is.
    """

    node: Node
    value: float
    steps: int
    leads: bool


def value_after(before: float, steps: int, *, leads: bool) -> float:
    """The value of a place.

    Args:
        before: that of the place before it, within 0 and 1. steps: m, at least 1. leads: to a right ending (s = 1).
    """
    share = (1 - before) / steps
    return before + share if leads else max(0.0, before - share)


def process_rewards(tree: Tree, is_right: Callable[[Moment], bool]) -> list[Inferred]:
    """Infer the value of every place from which an ending was found, by the numbers of their nodes.

    Where no ending was found nothing is known, and nothing is inferred; nor in a tree without a right ending.

    Args:
        is_right: whether an episode that is over went right.
    """
    arrivals = _arrivals(tree)
    finished = _distances(tree.endings(), arrivals)
    right = _distances((node for node in tree.endings() if is_right(node.moment)), arrivals)
    if not right:
        return []
    found: dict[int, Inferred] = {}
    for node in tree.nodes:  # a place that led here first has a lower number
        if node.number not in finished:
            continue
        if node.came_by is None:
            found[node.number] = Inferred(node, 0.0, right[node.number], leads=True)
            continue
        before = found[node.came_by.parent.number]
        leads = node.number in right
        steps = right[node.number] if leads else before.steps
        found[node.number] = Inferred(node, value_after(before.value, steps, leads=leads), steps, leads)
    return list(found.values())


def outcome_values(tree: Tree, outcome: Callable[[Moment], float]) -> list[tuple[Node, float]]:
    """The mean outcome of the endings below each place that has some, each as often as simulations came to it."""
    arrivals = _arrivals(tree)
    totals: dict[int, float] = defaultdict(float)
    weights: dict[int, int] = defaultdict(int)
    for ending in tree.endings():
        worth, visits = outcome(ending.moment), max(ending.visits, 1)
        for number in _distances([ending], arrivals):
            totals[number] += visits * worth
            weights[number] += visits
    return [(node, totals[node.number] / weights[node.number]) for node in tree.nodes if node.number in weights]


def _arrivals(tree: Tree) -> dict[int, list[Node]]:
    """For each node those from which an action led to it."""
    arrivals: dict[int, list[Node]] = defaultdict(list)
    for edge in tree.edges:
        if edge.node is not None:
            arrivals[edge.node.number].append(edge.parent)
    return arrivals


def _distances(endings: Iterable[Node], arrivals: dict[int, list[Node]]) -> dict[int, int]:
    """From each node that leads to one of the endings the places up to the nearest, both counted."""
    found = {node.number: 1 for node in endings}
    waiting = deque(found)
    while waiting:
        number = waiting.popleft()
        for node in arrivals[number]:
            if node.number not in found:
                found[node.number] = found[number] + 1
                waiting.append(node.number)
    return found
