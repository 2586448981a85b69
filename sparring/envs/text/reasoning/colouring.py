"""Colour a graph such that neighbours differ (`sparring/Colouring-v1`).

    a-b a-c b-c c-d  ->  r g b r

The colours are said in the order of the nodes, so the first ones are chosen before it shows whether they leave one for
the last: finding a colouring takes search, while checking one takes a look at each edge. A wrong attempt shows which
edge it breaks, and the detailed feedback names it. Every proper colouring is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from string import ascii_lowercase
from typing import Unpack

import numpy as np

from sparring.envs.text.reasoning.self_correction import RIGHT, Options, SelfCorrection, Verdict, wrong
from sparring.errors import InvalidConfig
from sparring.types import ActionSet, Form

# Letters that are no names of nodes.
_COLOURS = ("r", "y", "z", "w")
_MOST_NODES = 12


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes from 0 up, and edges between them, the lesser first and sorted."""

    nodes: int
    edges: tuple[tuple[int, int], ...]


def first_colouring(graph: Graph, colours: int) -> tuple[int, ...] | None:
    """The first proper colouring in the order of a dictionary, None where there is none."""
    earlier: list[list[int]] = [[] for _ in range(graph.nodes)]
    for one, other in graph.edges:
        earlier[other].append(one)
    chosen: list[int] = []
    candidate = 0
    while len(chosen) < graph.nodes:
        taken = {chosen[one] for one in earlier[len(chosen)]}
        candidate = next((colour for colour in range(candidate, colours) if colour not in taken), colours)
        if candidate < colours:
            chosen.append(candidate)
            candidate = 0
        elif chosen:
            candidate = chosen.pop() + 1
        else:
            return None
    return tuple(chosen)


class Colouring(SelfCorrection[Graph]):
    """Say a colour for each node, such that no edge joins two of one colour.

    Args:
        nodes: 3 to 12. edges: how many. colours: 2 to 4.
        options: `attempts`, `feedback` and the others of `SelfCorrection`.
    Raises:
        InvalidConfig: sizes out of range, or more edges than a graph of these nodes and colours surely has.
    """

    def __init__(self, *, nodes: int = 9, edges: int = 18, colours: int = 3, **options: Unpack[Options]) -> None:
        if not 3 <= nodes <= _MOST_NODES or not 2 <= colours <= len(_COLOURS):
            raise InvalidConfig(f"nodes must be 3 to 12 and colours 2 to 4, got {nodes} and {colours}")
        super().__init__(**options)
        # Classes of equal size leave the most edges between them, and each draw has such classes.
        sizes = [len(range(first, nodes, colours)) for first in range(colours)]
        most = (nodes * nodes - sum(size * size for size in sizes)) // 2
        if not 1 <= edges <= most:
            raise InvalidConfig(f"edges must be 1 to {most} for {nodes} nodes of {colours} colours, got {edges}")
        self.nodes, self.edges, self.colours = nodes, edges, colours
        names = _COLOURS[:colours]
        listed = " ".join(ascii_lowercase[:nodes])
        self.rules = f"Say a colour of {' '.join(names)} for each of {listed}; neighbours differ."
        self.actions = ActionSet(forms=(Form("", "", names),))

    def draw(self, rng: np.random.Generator) -> Graph:
        """Hide a colouring, and draw edges between its colours."""
        hidden = rng.permutation([node % self.colours for node in range(self.nodes)])
        allowed = [pair for pair in combinations(range(self.nodes), 2) if hidden[pair[0]] != hidden[pair[1]]]
        picked = rng.choice(len(allowed), size=self.edges, replace=False)
        return Graph(self.nodes, tuple(sorted(allowed[int(one)] for one in picked)))

    def problem(self, problem: Graph) -> str:
        return " ".join(f"{ascii_lowercase[one]}-{ascii_lowercase[other]}" for one, other in problem.edges)

    def solve(self, problem: Graph) -> str:
        found = first_colouring(problem, self.colours)
        assert found is not None, "a colouring is hidden in every graph"
        return " ".join(_COLOURS[colour] for colour in found)

    def verify(self, problem: Graph, answer: str) -> Verdict:
        said = answer.split()
        if len(said) != problem.nodes:
            return wrong(f"it names {len(said)} colours")
        for one, other in problem.edges:
            if said[one] == said[other]:
                return wrong(f"{ascii_lowercase[one]} and {ascii_lowercase[other]} are both {said[one]}")
        return RIGHT
