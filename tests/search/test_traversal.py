"""A search told as one walk, and lived through."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.agents.scripted import RandomPolicy
from sparring.envs.backtrack import GO_BACK, Backtrack
from sparring.envs.pool import EnvPool
from sparring.episode import Start
from sparring.rollout import rollout
from sparring.search.engine import Budget, search
from sparring.search.evaluators import estimate, playout
from sparring.search.rules import final_score, rules_of
from sparring.search.traversal import backtracks, lasting, looked_at, traversal, turns_of, walk_through
from sparring.search.tree import Node, Tree
from sparring.types import Stop
from tests.search.worlds import SETTING, ReplayedTreeWorld, TreeWorld, uniform


def grown(depth: int, seed: int, simulations: int, *, is_judged: bool = False) -> tuple[Tree, Node]:
    """A tree, and the best ending in it."""
    rules = rules_of("r-mcts", samples=6, children=3, max_depth=None)
    evaluator = estimate(lambda moments: [len(str(moment.observation)) % 7 / 10 for moment in moments])
    tree = search(
        TreeWorld(depth), uniform(), Start(0, sampling_seed=seed), SETTING, rules=rules,
        evaluator=evaluator if is_judged else playout, budget=Budget(simulations),
    )  # fmt: skip
    best = tree.best_ending(final_score)
    return tree, best or tree.nodes[-1]


TREES = {
    "depth": st.integers(2, 4),
    "seed": st.integers(0, 50),
    "simulations": st.integers(1, 25),
    "is_judged": st.booleans(),
}


@settings(max_examples=40, deadline=None)
@given(**TREES)
def test_a_walk_goes_to_every_place_in_order_and_ends_at_the_end(depth, seed, simulations, is_judged):
    tree, end = grown(depth, seed, simulations, is_judged=is_judged)
    walk, place, came_to = traversal(tree, end), tree.root, []
    for edge in walk:
        if edge is None:
            assert place.came_by is not None and not place.is_over
            place = place.came_by.parent
        else:
            assert edge.parent is place and edge.node is not None
            place = edge.node
            came_to.append(place)
    assert place is end
    wanted = looked_at(tree)
    first = list(dict.fromkeys(node.number for node in came_to))
    assert [number for number in first if number in {node.number for node in wanted}] == [one.number for one in wanted]
    assert [walk[number] for number in sorted(lasting(walk))] == end.path
    assert len(lasting(walk)) + 2 * len(backtracks(walk)) == len(walk)


def test_a_walk_takes_no_needless_step():
    tree, end = grown(3, 0, 25)
    for one in tree.nodes[1:]:
        for other in tree.nodes[1:]:
            if one.is_over:
                continue
            shared = len({edge.parent.number for edge in one.path} & {edge.parent.number for edge in other.path})
            while shared and (shared > min(one.depth, other.depth) or one.path[:shared] != other.path[:shared]):
                shared -= 1
            assert len(walk_through([one, other])) == one.depth + (one.depth - shared) + (other.depth - shared)
    assert walk_through([end]) == end.path and walk_through([]) == []


def test_only_where_the_search_stood_is_looked_at():
    tree, _ = grown(4, 0, 3)
    passed = [node for node in tree.nodes[1:] if not node.is_over and node.value is None and not node.is_expanded]
    assert passed and not set(map(id, passed)) & set(map(id, looked_at(tree)))
    assert tree.root not in looked_at(tree) and looked_at(tree)


@pytest.mark.parametrize("world", [TreeWorld, ReplayedTreeWorld])
@settings(max_examples=20, deadline=None)
@given(**TREES)
def test_a_walk_is_a_real_episode(world, depth, seed, simulations, is_judged):
    """Played under the wrapper, every turn is met by what the search saw there, and it ends as the search's ended."""
    tree, end = grown(depth, seed, simulations, is_judged=is_judged)
    walk = traversal(tree, end)
    start = replace(tree.root.moment.start, prefix=turns_of(walk))
    with EnvPool(lambda: Backtrack(world(depth)), 1) as pool:
        [played] = rollout(RandomPolicy(), pool, [start], SETTING)
        assert played.stop is not Stop.ENV_ERROR, played.error
        assert [turn.action.text for turn in played.turns[: len(walk)]] == [
            GO_BACK if edge is None else edge.action.text for edge in walk
        ]
        if end.is_over:
            assert len(played.turns) == len(walk) and played.score == final_score(end.moment)
            assert played.final == end.moment.observation
        [again] = rollout(RandomPolicy(), pool, [replace(start, prefix=played.turns)], SETTING)
    assert again == played
