"""How a tree grows: actions are drawn from the policy at a node, and taken in the environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparring.envs.base import EnvType
from sparring.episode import Step, perform
from sparring.errors import EnvFailed
from sparring.search.forks import fingerprint, save
from sparring.search.rules import Rules
from sparring.search.tree import Edge, Node, Tree
from sparring.types import Action, Policy


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a batched function: `function(items)` returns a result for each item."""

    function: Callable[[Sequence[Any]], Sequence[Any]]
    items: Sequence[Any]


@dataclass(slots=True)
class Place:
    """Where a simulation stands.

    Attributes:
        env: the simulation's own environment. It stands at `node` while an evaluator is asked.
        path: the edges from the root to `node`. key: of the simulation, for the policy's caches.
    """

    tree: Tree
    node: Node
    env: EnvType
    policy: Policy
    rules: Rules
    path: list[Edge]
    key: str

    def enter(self, edge: Edge) -> None:
        """Note that the simulation goes through an edge."""
        edge.in_flight += 1
        self.path.append(edge)


def cache_key(simulation: str, sample: int) -> str:
    """What the policy keeps its cache for one of a simulation's samples under."""
    return f"{simulation}.{sample}"


def draw(place: Place, samples: int, children: int | None) -> Generator[Call, list[Action], list[Edge]]:
    """Sample actions at the place's node, and give it an edge for each new text.

    Args:
        samples: how many are drawn. children: how many edges the node has at most afterwards, the most frequent texts
            first; edges that are there stay. None: any number.
    Returns:
        The edges of the sampled texts, the most frequent first, without those that found no room; empty where the
        conversation no longer fits the policy's context.
    """
    node = place.node
    prompt = node.moment.prompt(place.key)
    # Every sample of a tree has entropy of its own, whatever order the simulations come in.
    prompts = [
        replace(prompt, seed=(*prompt.seed, node.number, node.drawn + index), episode=cache_key(place.key, index))
        for index in range(samples)
    ]
    node.drawn += samples
    actions = yield Call(place.policy.act, prompts)
    place.tree.spent.tokens += sum(action.sampled_tokens for action in actions)
    said = [action for action in actions if action.stop != "context"]
    first: dict[str, Action] = {}
    for action in said:
        first.setdefault(action.text, action)
    found = []
    for text, count in Counter(action.text for action in said).most_common():
        edge = node.edge(text)
        if edge is None and (children is None or len(node.edges) < children):
            edge = Edge(first[text], node)
            node.edges.append(edge)
        if edge is not None:
            edge.samples += count
            found.append(edge)
    total = sum(edge.samples for edge in node.edges)
    for edge in node.edges:
        edge.prior = edge.samples / total
    return found


def take(place: Place, edge: Edge, *, saves: bool) -> None:
    """Take an edge's action in the environment, which stands at its parent, and move the place to where it leads.

    Args:
        saves: take a snapshot of a new node.
    Raises:
        EnvFailed: the environment raised; the edge is closed.
    """
    tree, parent = place.tree, edge.parent
    tree.spent.env_steps += 1
    try:
        result = perform(place.env, Step(edge.action.text))
        moment = parent.moment.after(edge.action, result)
    except EnvFailed as failure:
        edge.error = str(failure)
        raise
    if edge.node is None:
        saved = save(place.env, tree.spent) if (saves or place.rules.merge_states) and moment.stop is None else None
        state = fingerprint(saved) if saved is not None and place.rules.merge_states else None
        node = tree.by_state.get(state) if state is not None else None
        if node is None:
            node = Node(len(tree.nodes), moment, parent.depth + 1, edge, saved)
            tree.nodes.append(node)
            if state is not None:
                tree.by_state[state] = node
        edge.node, edge.turn = node, moment.turns[-1]
    place.node = edge.node
