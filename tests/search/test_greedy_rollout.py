"""The evaluators that ask a function of moments, on a world small enough to know everything about."""

from __future__ import annotations

import pytest

from sparring.errors import InvalidConfig
from sparring.search.engine import Budget, search
from sparring.search.evaluators import blend, estimate, playout
from sparring.search.greedy_rollout import greedy_rollout
from sparring.search.rules import rules_of
from tests.search.worlds import SETTING, START, LeftPolicy, TreeWorld

DEPTH = {0: 0.1, 1: 0.2, 2: 0.6, 3: 0.9}


def by_depth(moments):
    return [DEPTH[len(moment.turns)] for moment in moments]


def first_value(evaluator, **changes):
    """What the first place left of the root is found to be worth, and the tree."""
    tree = search(
        TreeWorld(3),
        LeftPolicy(),
        START,
        SETTING,
        rules=rules_of("rest-mcts", **changes),
        evaluator=evaluator,
        budget=Budget(simulations=1),
    )
    return tree.root.edges[0].node.value, tree


LEAF = TreeWorld(3).values[("left",) * 3]


@pytest.mark.parametrize(
    ("steps", "weight", "expected"),
    [
        (3, 0.5, 0.5 * 0.2 + 0.5 * max(0.6, LEAF)),
        (1, 0.5, 0.5 * 0.2 + 0.5 * 0.6),
        (3, 0.25, 0.75 * 0.2 + 0.25 * max(0.6, LEAF)),
        (3, 0.0, 0.2),
        (0, 0.5, 0.2),
    ],
)
def test_a_place_is_worth_its_value_and_the_best_ahead(steps, weight, expected):
    value, tree = first_value(greedy_rollout(by_depth, steps=steps, weight=weight))
    assert value == pytest.approx(expected)
    assert tree.root.edges[0].total == pytest.approx(expected)


def test_what_a_rollout_tried_is_in_the_tree_with_its_values():
    _, tree = first_value(greedy_rollout(by_depth))
    assert [node.value for node in tree.nodes[2:]] == [0.6, LEAF]
    assert [edge.visits for edge in tree.edges] == [1, 1, 1] and tree.endings()[0].is_closed
    _, shorter = first_value(greedy_rollout(by_depth, steps=1))
    assert len(shorter.nodes) == 3 and not shorter.endings()


def test_without_the_privilege_endings_too_are_judged():
    value, tree = first_value(greedy_rollout(by_depth), sees_outcome=False)
    assert value == pytest.approx(0.5 * 0.2 + 0.5 * 0.9)
    assert tree.endings()[0].value == 0.9


def test_where_nothing_can_be_said_a_place_is_worth_its_own_value():
    class Mute(LeftPolicy):
        def act(self, prompts):
            from sparring.types import Action

            full = [bool(len(prompt.messages) > 1) for prompt in prompts]
            return [Action("", stop="context") if one else Action("left") for one in full]

    tree = search(
        TreeWorld(3),
        Mute(),
        START,
        SETTING,
        rules=rules_of("rest-mcts"),
        evaluator=greedy_rollout(by_depth),
        budget=Budget(simulations=1),
    )
    assert tree.root.edges[0].node.value == pytest.approx(0.2)


def test_opinions_and_playouts_blend():
    value, _ = first_value(blend([(0.5, estimate(by_depth)), (0.5, playout)]))
    assert value == pytest.approx(0.5 * 0.2 + 0.5 * LEAF)


@pytest.mark.parametrize("settings", [{"steps": -1}, {"weight": 1.5}])
def test_impossible_settings_teach(settings):
    with pytest.raises(InvalidConfig, match="steps must be at least 0 and weight within 0 and 1"):
        greedy_rollout(by_depth, **settings)
