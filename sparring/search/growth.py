"""How a tree grows: actions are drawn from the policy at a node, and taken in the environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparring.envs.base import EnvType
from sparring.episode import Moment, Step, perform
from sparring.errors import EnvFailed
from sparring.search.fingerprint import fingerprint
from sparring.search.forks import check_again, save
from sparring.search.patience import within
from sparring.search.rules import Rules, final_score
from sparring.search.tree import Edge, Node, Tree
from sparring.types import Action, Policy, Snapshot


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
        EnvFailed: the environment raised, hung, or named a score that is no number; the edge is closed.
        ReplayDiverged: an action that was taken before led elsewhere then.
    """
    tree, parent = place.tree, edge.parent
    patience_s = parent.moment.setting.step_timeout_s
    tree.spent.env_steps += 1
    saved = None
    try:
        result = within(patience_s, perform, place.env, Step(edge.action.text))
        moment = parent.moment.after(edge.action, result)
        if moment.stop is not None:
            final_score(moment)
        elif edge.node is None and (saves or place.rules.merge_states):
            saved = save(place.env, tree.spent, patience_s)
    except EnvFailed as failure:
        edge.error = str(failure)
        raise
    if edge.node is None:
        _lead(tree, edge, moment, saved, merges=place.rules.merge_states)
    elif edge.node.came_by is edge:  # a merged place may show how it was reached, and was first reached otherwise
        seen, turn = moment.observation, moment.turns[-1]
        assert seen is not None
        check_again(edge.node.moment, len(moment.turns), seen.text, is_over=turn.terminated or turn.truncated)
    assert edge.node is not None
    place.node = edge.node


def _lead(tree: Tree, edge: Edge, moment: Moment, saved: Snapshot | None, *, merges: bool) -> None:
    """Let an edge lead to a new node, or to one that stands for an equal state."""
    state = fingerprint(saved) if saved is not None and merges else None
    node = tree.by_state.get(state) if state is not None else None
    if node is None:
        node = Node(len(tree.nodes), moment, edge.parent.depth + 1, edge, saved)
        tree.nodes.append(node)
        if state is not None:
            tree.by_state[state] = node
    edge.turn, edge.node = moment.turns[-1], node  # the turn first: an edge that leads somewhere has one
