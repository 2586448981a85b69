"""The search engine: simulations over many trees at once, whose questions to a model go into one batch.

    tree = search(env, policy, Start(seed=0), setting, rules=rules_of("mcts"), budget=Budget(simulations=50))

A simulation is a generator. It follows the path that the rules select, adds a place to it, values that, and backs the
value up. Whatever needs a model is yielded as a `Call`; the driver gathers the calls of all simulations under way, over
all trees, and answers them together. Within a tree virtual loss keeps simultaneous simulations apart; one at a time is
exact MCTS. The result depends on the starts, the seeds and the widths alone, not on time (unless seconds are budgeted).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sparring.agents.policy import check_actions
from sparring.envs.base import EnvType
from sparring.envs.pool import EnvPool
from sparring.episode import Moment, Reset, Setting, Start, Step, perform, replayed
from sparring.errors import EnvFailed, InvalidConfig, ReplayDiverged
from sparring.garbage import rare_collection
from sparring.search.evaluators import Evaluator, playout
from sparring.search.forks import go_to, require_searchable, save
from sparring.search.growth import Call, Place, cache_key, draw, take
from sparring.search.rules import Rules, open_edges, preference
from sparring.search.tree import Edge, Node, Spent, Tree
from sparring.types import Policy

Critic = Callable[[Sequence[tuple[Moment, tuple[str, ...]]]], Sequence[Sequence[float]]]
Simulation = Generator[Call, Any, None]


@dataclass(frozen=True, slots=True)
class Budget:
    """When a tree is done: as soon as one of these is used up. A simulation under way is finished.

    Attributes:
        simulations, env_steps, tokens: of each tree, in all its searches. seconds: of one call, for all its trees.
    """

    simulations: int | None = 50
    env_steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = [self.simulations, self.env_steps, self.tokens, self.seconds]
        if all(one is None for one in given):
            raise InvalidConfig("a search needs a budget: simulations, env_steps, tokens or seconds")
        if any(one is not None and one <= 0 for one in given):
            raise InvalidConfig(f"a budget must be above 0, got {self}")

    def used_up(self, tree: Tree, seconds: float) -> str | None:
        """What is used up, None while the tree may go on."""
        spent = tree.spent
        for name, used, limit in (
            ("simulations", spent.simulations + tree.running, self.simulations),
            ("env_steps", spent.env_steps, self.env_steps),
            ("tokens", spent.tokens, self.tokens),
            ("seconds", seconds, self.seconds),
        ):
            if limit is not None and used >= limit:
                return name
        return None


def search(
    env: EnvType,
    policy: Policy,
    start: Start,
    setting: Setting,
    *,
    rules: Rules | None = None,
    evaluator: Evaluator = playout,
    budget: Budget | None = None,
    critic: Critic | None = None,
) -> Tree:
    """Search one episode in one environment, one simulation at a time. See `search_many`.

    Raises:
        EnvNotSearchable: the environment can't be brought back to where it was.
        ReplayDiverged: it was brought back to another place than it had been at.
    """
    tree = plant(env, start, setting)
    pool = _Borrowed(lambda: env, 1)
    search_many(pool, policy, [tree], rules=rules, evaluator=evaluator, budget=budget, critic=critic)
    if tree.error is not None:
        raise ReplayDiverged(tree.error)
    return tree


class _Borrowed(EnvPool):
    """One environment of the caller's. It can't be made anew, and is brought back to where it worked instead."""

    def replace(self, index: int, *, close: bool = True) -> None:
        pass


def plant(env: EnvType, start: Start, setting: Setting) -> Tree:
    """A tree of one node: the episode's beginning, or where `start.prefix` leads.

    Raises:
        EnvNotSearchable: the environment can't be brought back to where it was.
        EnvFailed: its reset raised, or the prefix is of another episode.
    """
    require_searchable(env)
    text, info = perform(env, Reset(start.seed, start.options))
    moment = Moment.begin(start, setting, text, info)
    while moment.stop is None and len(moment.turns) < len(start.prefix):
        action = replayed(moment, start.prefix)
        moment = moment.after(action, perform(env, Step(action.text)))
    return Tree(Node(0, moment, snapshot=save(env, Spent()), is_closed=moment.stop is not None))


@rare_collection()
def search_many(
    pool: EnvPool,
    policy: Policy,
    trees: Sequence[Tree],
    *,
    rules: Rules | None = None,
    evaluator: Evaluator = playout,
    budget: Budget | None = None,
    critic: Critic | None = None,
    simulations_at_once: int = 1,
    on_finish: Callable[[Tree], None] | None = None,
) -> None:
    """Grow trees in place, until each has used its budget, found what it looks for, or seen all that it sampled.

    Interrupted at any moment, the trees hold every simulation that ended, and may be searched further. A tree whose
    environment is brought back to another place than it had been at is given up, see `Tree.error`.

    Args:
        pool: one environment for each simulation under way, over all trees.
        trees: from `plant`, or of an earlier search.
        evaluator: what a new place is worth (`sparring.search.evaluators`).
        critic: what the actions drawn at a place are worth beside each other, within 0 and 1; asked in batches.
        simulations_at_once: in one tree, at most; the trees themselves fill the rest of the pool.
        on_finish: called with each tree as it is done.
    Raises:
        Whatever the policy, the evaluator or the critic raises.
    """
    if simulations_at_once < 1:
        raise InvalidConfig(f"simulations_at_once must be at least 1, got {simulations_at_once}")
    _Search(pool, policy, rules or Rules(), evaluator, budget or Budget(), critic, simulations_at_once).run(
        trees, on_finish
    )


class _Lane:
    """A simulation under way in an environment of the pool, of its tree the one of a number (of at most `width`)."""

    def __init__(self, slot: int, number: int, tree: Tree, simulation: Simulation) -> None:
        self.slot, self.number, self.tree, self.simulation = slot, number, tree, simulation
        self.call: Call | None = None
        self.is_done = False

    def end(self) -> None:
        """Count it out of its tree, once."""
        self.call = None
        if not self.is_done:
            self.is_done = True
            self.tree.running -= 1


class _Search:
    """One call of `search_many`."""

    def __init__(
        self,
        pool: EnvPool,
        policy: Policy,
        rules: Rules,
        evaluator: Evaluator,
        budget: Budget,
        critic: Critic | None,
        width: int,
    ) -> None:
        self.pool, self.policy, self.rules = pool, policy, rules
        self.evaluator, self.budget, self.critic, self.width = evaluator, budget, critic, width
        self._act = policy.act  # one bound method, so that all requests to it are one batch

    def run(self, trees: Sequence[Tree], on_finish: Callable[[Tree], None] | None) -> None:
        began = time.perf_counter()
        waiting = list(trees)[::-1]
        active: list[Tree] = []
        free = list(range(len(self.pool)))[::-1]
        lanes: list[_Lane] = []
        for tree in trees:
            tree.stopped = None
        try:
            while waiting or active:
                seconds = time.perf_counter() - began
                self._begin(free, lanes, active, waiting, seconds)
                self._answer(lanes)
                for lane in [one for one in lanes if one.is_done]:
                    lanes.remove(lane)
                    free.append(lane.slot)
                for tree in [one for one in active if not one.running and self._is_done(one, seconds)]:
                    tree.spent.seconds += time.perf_counter() - began
                    active.remove(tree)
                    self._forget(tree)
                    if on_finish is not None:
                        on_finish(tree)
        finally:
            for lane in lanes:  # an interrupted simulation leaves no trace in the statistics
                lane.simulation.close()
                lane.end()
            for tree in active:
                self._forget(tree)

    def _forget(self, tree: Tree) -> None:
        """Let the policy free what it keeps for a tree's simulations."""
        forget = getattr(self.policy, "forget", None)
        if forget is not None:
            for number in range(self.width):
                for index in range(self.rules.samples):
                    forget(cache_key(f"{id(tree)}:{number}", index))

    def _is_done(self, tree: Tree, seconds: float) -> bool:
        if tree.stopped is None:
            tree.stopped = "everything sampled was seen" if tree.root.is_closed else self.budget.used_up(tree, seconds)
        return tree.stopped is not None

    def _begin(
        self, free: list[int], lanes: list[_Lane], active: list[Tree], waiting: list[Tree], seconds: float
    ) -> None:
        """Fill the free environments with simulations, the trees taking turns."""
        began_one = True
        while free and began_one:
            began_one = False
            # A tree that waits comes in when there is room: each active one can fill `width` environments.
            while waiting and len(active) * self.width < len(self.pool):
                active.append(waiting.pop())
            for tree in active:
                if not free:
                    break
                if tree.running >= self.width or self._is_done(tree, seconds):
                    continue
                path = self.rules.select(self.rules, tree)
                if path is None:
                    if not tree.running and not tree.root.is_closed:
                        tree.stopped = "no place is left to look at"
                    continue
                slot = free.pop()
                # What the policy keeps of a tree's last simulation serves its next one, which shares a beginning.
                taken = {lane.number for lane in lanes if lane.tree is tree and not lane.is_done}
                number = next(number for number in range(self.width) if number not in taken)
                lane = _Lane(slot, number, tree, self._simulate(tree, path, slot, number))
                tree.running += 1
                lanes.append(lane)
                self._advance(lane, None, first=True)
                began_one = True

    def _answer(self, lanes: Iterable[_Lane]) -> None:
        """Answer what the simulations ask, each function once, and let them go on."""
        asking = [lane for lane in lanes if lane.call is not None]
        functions: dict[Any, list[_Lane]] = {}
        for lane in asking:
            assert lane.call is not None
            functions.setdefault(lane.call.function, []).append(lane)
        answers: dict[int, Sequence[Any]] = {}
        for function, group in functions.items():
            items = [item for lane in group if lane.call is not None for item in lane.call.items]
            results = list(function(items))
            if function == self._act:
                results = check_actions(self.policy, items, results)
            at = 0
            for lane in group:
                assert lane.call is not None
                answers[lane.slot] = results[at : at + len(lane.call.items)]
                at += len(lane.call.items)
        for lane in asking:
            self._advance(lane, answers[lane.slot])

    def _advance(self, lane: _Lane, answer: Sequence[Any] | None, *, first: bool = False) -> None:
        try:
            lane.call = next(lane.simulation) if first else lane.simulation.send(answer)
        except StopIteration:
            lane.end()
        except EnvFailed:  # its edge is closed; the search goes on around it
            lane.end()
            lane.tree.spent.simulations += 1
            self.pool.replace(lane.slot)
        except ReplayDiverged as error:
            lane.end()
            lane.tree.error = lane.tree.stopped = str(error)
            self.pool.replace(lane.slot)

    def _simulate(self, tree: Tree, path: list[Edge], slot: int, number: int) -> Simulation:
        """Follow a path, add a place, value it, and back the value up."""
        rules, env = self.rules, self.pool.envs[slot]
        place = Place(tree, tree.root, env, self.policy, rules, [], f"{id(tree)}:{number}")
        at = tree.root
        try:
            for edge in path:
                place.enter(edge)
                at = edge.node or at
            place.node = at
            fresh = path[-1] if path and path[-1].node is None else None
            if fresh is None and not at.is_over:
                fresh = yield from self._expand(place)
                if fresh is not None:
                    place.enter(fresh)
            if fresh is not None or not at.is_over:
                self._arrive(place, fresh)
            value = yield from self._value(place)
            back_up(place.path, tree.root, value)
            tree.spent.simulations += 1
            if rules.stop_at is not None and value >= rules.stop_at:
                tree.stopped = f"a value of {value:g} was found"
        finally:
            for edge in place.path:
                edge.in_flight -= 1
            for node in [*reversed([edge.node for edge in place.path if edge.node is not None]), tree.root]:
                close(rules, node)

    def _arrive(self, place: Place, fresh: Edge | None) -> None:
        """Bring the environment to the simulation's place, over a new edge where there is one."""
        spent = place.tree.spent
        if fresh is None:
            go_to(place.env, place.node, spent)
            return
        try:
            go_to(place.env, fresh.parent, spent)
        except EnvFailed as failure:
            fresh.error = str(failure)
            raise
        take(place, fresh, saves=True)

    def _expand(self, place: Place) -> Generator[Call, Any, Edge | None]:
        """Draw the actions of a place; the edge to take first."""
        node, rules = place.node, self.rules
        node.is_expanding = not rules.resample
        try:
            drawn = yield from draw(place, rules.samples, None if rules.resample else rules.children)
            if self.critic is not None and node.edges:
                texts = tuple(edge.action.text for edge in node.edges)
                [opinions] = yield Call(self.critic, [(node.moment, texts)])
                for edge, opinion in zip(node.edges, opinions, strict=True):
                    edge.critique = float(opinion)
            # Where nothing can be said any more, for want of context, asking again would go on for ever.
            node.is_expanded = not (rules.resample and drawn)
        finally:
            node.is_expanding = False
        if rules.resample:
            return drawn[0] if drawn else None
        choices = [edge for edge in open_edges(node) if not edge.in_flight]
        return min(choices, key=lambda edge: preference(rules, node, edge), default=None)

    def _value(self, place: Place) -> Generator[Call, Any, float]:
        """What the place is worth: its outcome where the episode is over, else what the evaluator says."""
        node, rules = place.node, self.rules
        if node.is_over and rules.sees_outcome:
            node.value = rules.outcome(node.moment)
        elif node.value is None or not node.is_over:
            node.value = yield from self.evaluator(place)
        return node.value


def back_up(path: Sequence[Edge], root: Node, value: float) -> None:
    """Count a simulation and its value at every edge and node of its path."""
    root.visits += 1
    for edge in path:
        edge.visits += 1
        edge.total += value
        if edge.node is not None:
            edge.node.visits += 1


def close(rules: Rules, node: Node) -> None:
    """Mark a node below which there is nothing new to find."""
    if node.is_over:
        node.is_closed = not rules.revisit_endings
    elif rules.max_depth is not None and node.depth >= rules.max_depth:
        node.is_closed = node.visits > 0
    else:
        node.is_closed = node.is_expanded and all(edge.is_closed for edge in node.edges)
