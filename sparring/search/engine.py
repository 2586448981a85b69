"""The search engine: simulations over many trees at once, whose questions to a model go into one batch.

    tree = search(env, policy, Start(seed=0), setting, rules=rules_of("mcts"), budget=Budget(simulations=50))

A simulation is a generator. It follows the path that the rules select, adds a place to it, values that, and backs the
value up. Whatever needs a model is yielded as a `Call`; the driver gathers the calls of all simulations under way, over
all trees, and answers them together. Within a tree virtual loss keeps simultaneous simulations apart; one at a time is
exact MCTS. The result depends on the starts, the seeds and the widths alone, not on time (unless seconds are budgeted).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from sparring.agents.policy import check_actions
from sparring.envs.base import EnvType
from sparring.envs.pool import EnvPool
from sparring.episode import Moment, Reset, Setting, Start, Step, perform, replayed
from sparring.errors import EnvFailed, InvalidConfig, InvalidData, ReplayDiverged
from sparring.garbage import rare_collection
from sparring.search.backup import back_up, close, make_whole
from sparring.search.budget import Budget as Budget
from sparring.search.budget import Idleness
from sparring.search.evaluators import Evaluator, playout
from sparring.search.forks import go_to, require_searchable, save
from sparring.search.growth import Call, Place, cache_key, draw, take
from sparring.search.patience import replace_broken, within
from sparring.search.rules import Rules, final_score, open_edges, preference
from sparring.search.tree import Edge, Node, Spent, Tree
from sparring.types import Policy

Critic = Callable[[Sequence[tuple[Moment, tuple[str, ...]]]], Sequence[Sequence[float]]]
Simulation = Generator[Call, Any, None]


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
        EnvFailed: its reset raised, or it hung.
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
        if not close:
            raise EnvFailed("the environment hangs, and can't be replaced here: give search_many a pool")


def plant(env: EnvType, start: Start, setting: Setting) -> Tree:
    """A tree of one node: the episode's beginning, or where `start.prefix` leads.

    Raises:
        EnvNotSearchable: the environment can't be brought back to where it was.
        EnvFailed: it raised or hung, or the prefix is of another episode.
    """
    require_searchable(env)
    patience_s = setting.step_timeout_s
    text, info = within(patience_s, perform, env, Reset(start.seed, start.options))
    moment = Moment.begin(start, setting, text, info)
    while moment.stop is None and len(moment.turns) < len(start.prefix):
        action = replayed(moment, start.prefix)
        moment = moment.after(action, within(patience_s, perform, env, Step(action.text)))
    final_score(moment)
    return Tree(Node(0, moment, snapshot=save(env, Spent(), patience_s), is_closed=moment.stop is not None))


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
    environment is brought back to another place than it had been at is given up, see `Tree.error`. An environment that
    takes longer over a call than the setting's `step_timeout_s` is left behind; the others wait so long for it.

    Args:
        pool: one environment for each simulation under way, over all trees. A tree comes in when as many are free as it
            may use at once, so that it does not depend on the other trees.
        trees: from `plant`, or of an earlier search.
        evaluator: what a new place is worth (`sparring.search.evaluators`).
        critic: what the actions drawn at a place are worth beside each other, within 0 and 1; asked in batches.
        simulations_at_once: in one tree, at most, and no more than the pool has environments; the trees themselves fill
            the rest of the pool.
        on_finish: called with each tree as it is done.
    Raises:
        InvalidData: the evaluator or the critic gave too few or too many values, or one that is no finite number.
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
        self.evaluator, self.budget, self.critic, self.width = evaluator, budget, critic, min(width, len(pool))
        self._act = policy.act  # one bound method, so that all requests to it are one batch
        self._began = time.perf_counter()
        self._idleness = Idleness(budget)

    def run(self, trees: Sequence[Tree], on_finish: Callable[[Tree], None] | None) -> None:
        waiting = list(trees)[::-1]
        active: list[Tree] = []
        free = list(range(len(self.pool)))[::-1]
        lanes: list[_Lane] = []
        for tree in trees:
            tree.stopped = tree.error
        try:
            # No loop stands in this block itself: from Python 3.12 on the jump back to some loops (of a comprehension
            # with a condition, for one) lies outside of the block that they stand in, and an interruption that comes
            # in that jump would pass by what is under `finally`.
            self._grow(free, lanes, active, waiting, on_finish)
        finally:
            for lane in lanes:
                lane.simulation.close()
                lane.end()
            for tree in active:
                tree.spent.seconds += self._seconds
                self._forget(tree)
                make_whole(tree)

    def _grow(
        self,
        free: list[int],
        lanes: list[_Lane],
        active: list[Tree],
        waiting: list[Tree],
        on_finish: Callable[[Tree], None] | None,
    ) -> None:
        """Run simulations until all trees are done."""
        while waiting or active:
            self._begin(free, lanes, active, waiting)
            self._answer(lanes)
            for lane in [one for one in lanes if one.is_done]:
                lanes.remove(lane)
                free.append(lane.slot)
            for tree in [one for one in active if not one.running and self._is_done(one)]:
                tree.spent.seconds += self._seconds
                active.remove(tree)
                self._forget(tree)
                if on_finish is not None:
                    on_finish(tree)

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._began

    def _forget(self, tree: Tree) -> None:
        """Let the policy free what it keeps for a tree's simulations."""
        forget = getattr(self.policy, "forget", None)
        if forget is not None:
            for number in range(self.width):
                for index in range(self.rules.samples):
                    forget(cache_key(f"{id(tree)}:{number}", index))

    def _is_done(self, tree: Tree) -> bool:
        if tree.stopped is None and tree.root.is_closed:
            tree.stopped = "everything sampled was seen"
        if tree.stopped is None:
            tree.stopped = self.budget.used_up(tree, self._seconds) or self._idleness.of(tree)
        return tree.stopped is not None

    def _begin(self, free: list[int], lanes: list[_Lane], active: list[Tree], waiting: list[Tree]) -> None:
        """Fill the free environments with simulations, the trees taking turns."""
        began_one = True
        while free and began_one:
            began_one = False
            # Its simulations at once make a tree what it is, so it comes in when there is room for all of them.
            while waiting and (len(active) + 1) * self.width <= len(self.pool):
                active.append(waiting.pop())
            for tree in active:
                if tree.running >= self.width or self._is_done(tree):
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
                if lane.is_done:  # it had nothing to ask
                    lanes.remove(lane)
                    free.append(slot)

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
            answered = function(items)
            results = [] if answered is None else list(answered)
            if function == self._act:
                results = check_actions(self.policy, items, results)
            elif len(results) != len(items):
                raise InvalidData(
                    f"{getattr(function, '__qualname__', function)} was asked about {len(items)} places and answered "
                    f"{len(results)}: evaluators and critics must give one answer for each, in their order"
                )
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
        except EnvFailed as failure:  # its edge is closed; the search goes on around it
            lane.end()
            lane.tree.spent.simulations += 1
            replace_broken(self.pool, lane.slot, failure)
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
            back_up(tree, place.path, value)
            if rules.stop_at is not None and value >= rules.stop_at:
                tree.stopped = f"a value of {value:g} was found"
        finally:
            for edge in place.path:
                edge.in_flight -= 1
            for node in [*reversed([edge.node for edge in place.path if edge.node is not None]), tree.root]:
                close(rules, node)

    def _arrive(self, place: Place, fresh: Edge | None) -> None:
        """Bring the environment to the simulation's place, over a new edge where there is one."""
        try:
            go_to(place.env, place.node if fresh is None else fresh.parent, place.tree.spent)
        except EnvFailed as failure:
            if place.path:
                place.path[-1].error = str(failure)
            raise
        if fresh is not None:
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
                if len(opinions) != len(texts):
                    raise InvalidData(f"the critic was given {len(texts)} actions of a place and rated {len(opinions)}")
                for edge, opinion in zip(node.edges, opinions, strict=True):
                    edge.critique = _finite("the critic", opinion, node)
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
            node.value = _finite("the rules' outcome", rules.outcome(node.moment), node)
        elif node.value is None or not node.is_over:
            node.value = _finite("the evaluator", (yield from self.evaluator(place)), node)
        return node.value


def _finite(whose: str, value: float, node: Node) -> float:
    if not math.isfinite(value):
        raise InvalidData(f'{whose} must give finite numbers, got {value} in task "{node.moment.task}"')
    return float(value)
