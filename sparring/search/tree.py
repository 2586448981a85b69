"""A search's result: places of an episode, joined by the actions that were tried there, with what came of them.

A `Node` is a place, an `Edge` an action tried there. Statistics live on edges, because under merging several actions
may lead to one place. A tree holds everything that training needs: the actions as sampled, with their
log-probabilities, each on the observation that it was taken on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sparring.episode import Moment
from sparring.types import Action, Snapshot, Turn


@dataclass(eq=False, slots=True)
class Edge:
    """An action tried at a node.

    Attributes:
        action: as sampled first; later samples of the same text are counted in `samples` alone.
        parent: where it was tried. node: where it led; None until it is visited. turn: what came of it then.
        prior: its share of the samples at its node.
        samples: how often it was sampled. visits: how many simulations went through it. total: sum of their values.
        in_flight: simulations under way through it (virtual loss).
        critique: what a critic said of it beside the other actions here, within 0 and 1; None where none was asked.
        error: how the environment failed on it; such an edge is closed.
    """

    action: Action
    parent: Node
    node: Node | None = None
    turn: Turn | None = None
    prior: float = 0.0
    samples: int = 0
    visits: int = 0
    total: float = 0.0
    in_flight: int = 0
    critique: float | None = None
    error: str | None = None

    @property
    def mean(self) -> float:
        """Mean of the values that simulations through it ended with; 0 before the first."""
        return self.total / self.visits if self.visits else 0.0

    @property
    def is_closed(self) -> bool:
        """Whether there is nothing new to find through it."""
        return self.error is not None or (self.node is not None and self.node.is_closed)


@dataclass(eq=False, slots=True)
class Node:
    """A place of the episode.

    Attributes:
        number: in the order of creation, from 0 for the root. depth: actions below the root.
        moment: the episode up to here. came_by: the edge that led here first; None at the root.
        snapshot: the environment's state here; None where it can be had again only from an ancestor's.
        edges: the actions tried here. drawn: samples asked of the policy here. visits: simulations that came here.
        value: an evaluator's estimate of this place; None where none was asked.
        is_expanded: whether the policy was asked for all the actions that the rules want.
        is_expanding: whether a simulation is asking it now.
        is_closed: whether everything below has been seen: it is over here, too deep, or all edges are closed.
    """

    number: int
    moment: Moment
    depth: int = 0
    came_by: Edge | None = None
    snapshot: Snapshot | None = None
    edges: list[Edge] = field(default_factory=list)
    drawn: int = 0
    visits: int = 0
    value: float | None = None
    is_expanded: bool = False
    is_expanding: bool = False
    is_closed: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the episode has ended here."""
        return self.moment.stop is not None

    @property
    def path(self) -> list[Edge]:
        """The edges that led here first, from the root."""
        edges: list[Edge] = []
        node = self
        while node.came_by is not None:
            edges.append(node.came_by)
            node = node.came_by.parent
        return edges[::-1]

    def edge(self, text: str) -> Edge | None:
        """The edge of an action, by its text."""
        return next((edge for edge in self.edges if edge.action.text == text), None)


@dataclass(slots=True)
class Spent:
    """What a search has used.

    Attributes:
        simulations: those that ended. env_steps: of the environment, replayed ones included.
        replayed_steps: those among them that only brought a state back.
        tokens: sampled by the policy. seconds: from the beginning of a call until the tree was done, other trees' share
            included. fork_seconds: in saving and bringing back its states.
    """

    simulations: int = 0
    env_steps: int = 0
    replayed_steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    fork_seconds: float = 0.0


@dataclass(eq=False, slots=True)
class Tree:
    """What a search knows about one episode. It is whole after every simulation, and a search can go on from it.

    Attributes:
        nodes: all of them, by number. by_state: where states are merged, the first node of each.
        running: simulations under way. stopped: why no further one is begun, None while the search may go on.
        error: how a replay diverged, which ends the search of this tree.
    """

    root: Node
    nodes: list[Node] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    by_state: dict[bytes, Node] = field(default_factory=dict)
    running: int = 0
    stopped: str | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if not self.nodes:
            self.nodes = [self.root]

    @property
    def edges(self) -> Iterator[Edge]:
        """All edges, by the number of their node."""
        return (edge for node in self.nodes for edge in node.edges)

    def endings(self) -> list[Node]:
        """The places at which an episode was over, in the order in which they were found."""
        return [node for node in self.nodes if node.is_over]

    def best_ending(self, outcome: Callable[[Moment], float]) -> Node | None:
        """The ending with the best outcome; of equal ones that which was reached in the fewest turns, then first."""
        endings = self.endings()
        return min(endings, key=lambda node: (-outcome(node.moment), node.depth, node.number), default=None)

    def likeliest(self) -> list[Edge]:
        """From the root the most visited edge at each node (then the one of higher mean), as far as they go."""
        path: list[Edge] = []
        node: Node | None = self.root
        passed: set[int] = set()
        while node is not None and node.number not in passed:
            passed.add(node.number)
            visited = [edge for edge in node.edges if edge.visits]
            if not visited:
                break
            path.append(max(visited, key=lambda edge: (edge.visits, edge.mean)))
            node = path[-1].node
        return path


def episode_along(path: Sequence[Edge]) -> Moment:
    """The episode along a path, whichever way its nodes were first reached by.

    Args:
        path: consecutive visited edges, at least one, the first of which leaves the root.
    """
    last = path[-1].node
    assert last is not None
    taken = [edge.turn for edge in path if edge.turn is not None]
    assert len(taken) == len(path)
    return replace(last.moment, turns=(*path[0].parent.moment.turns, *taken))
