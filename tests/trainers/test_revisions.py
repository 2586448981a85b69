"""The rules of revisions, against hand-made trees and against brute force on a world that is known in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sparring.envs.second_thought import FURTHEST, sentence
from sparring.search.engine import Budget, search
from sparring.search.rules import final_score, rules_of
from sparring.search.tree import Edge, Tree
from sparring.trainers.revisions import (
    Contrast,
    below,
    by_value,
    contrasts,
    good_endings,
    is_contrast,
    is_good,
    last_to_leave,
    mistake_of,
    revised,
    shared_actions,
    spliced,
)
from tests.search.worlds import CHOICES, SETTING, START, TreeWorld, uniform
from tests.trainers.hand_made import episode

DEPTH = 4


@pytest.fixture(scope="module")
def whole() -> tuple[Tree, dict[tuple[str, ...], float]]:
    """A tree of all paths, whose statistics are those of one simulation of each, and what each is worth."""
    env = TreeWorld(DEPTH, seed=5)
    rules = rules_of("mcts", samples=40, children=3, stop_at=None)
    tree = search(env, uniform(), START, SETTING, rules=rules, budget=Budget(simulations=1000))
    assert len(tree.endings()) == len(CHOICES) ** DEPTH
    for edge in tree.edges:
        edge.visits, edge.total = 0, 0.0
    for ending in tree.endings():
        for edge in ending.path:
            edge.visits, edge.total = edge.visits + 1, edge.total + final_score(ending.moment)
    return tree, env.values


def texts(path: Sequence[Edge]) -> tuple[str, ...]:
    return tuple(edge.action.text for edge in path)


def common(one: Sequence[str], other: Sequence[str]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


# Endings


@pytest.mark.parametrize(
    ("good", "bad", "alpha", "pair"),
    [
        (0.8, 0.5, 0.5, True),
        (0.8, 0.6, 0.5, False),  # a difference of exactly beta is none
        (0.5, 0.0, 0.5, False),  # alpha itself is not good
        (0.8, 0.5, 0.8, False),
        (1.0, 0.0, 1.0, True),  # but the best there is always is
        (0.99, 0.0, 1.0, False),
        (0.0, 1.0, 0.5, False),
    ],
)
def test_which_endings_make_a_pair(good: float, bad: float, alpha: float, pair: bool) -> None:
    # .8 - .6 is above .2 by the last bit only
    assert is_contrast(good, bad, alpha=alpha, beta=0.2 + 1e-9) is pair


def test_good_endings_come_best_and_shortest_first(whole: tuple[Tree, dict[tuple[str, ...], float]]) -> None:
    tree, values = whole
    found = [values[texts(node.path)] for node in good_endings(tree.endings(), final_score, 0.5)]
    assert found == sorted((worth for worth in values.values() if worth > 0.5), reverse=True)


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.0), (0.5, 0.2), (0.7, 0.5), (1.0, 0.2)])
def test_pairs_are_those_of_brute_force(
    whole: tuple[Tree, dict[tuple[str, ...], float]], alpha: float, beta: float, nearest: bool
) -> None:
    tree, values = whole
    found = contrasts(tree, final_score, alpha=alpha, beta=beta, nearest=nearest)
    wanted = {}
    for bad, worth in values.items():
        partners = [one for one, high in values.items() if (high > alpha or high == 1) and high - worth > beta]
        if partners:
            wanted[bad] = max(partners, key=values.__getitem__)
    assert {texts(one.bad): texts(one.good) for one in found} == wanted and wanted
    assert [one.bad[-1].node.number for one in found if one.bad[-1].node] == sorted(
        one.bad[-1].node.number for one in found if one.bad[-1].node
    )
    for one in found:
        assert one.shared == common(texts(one.good), texts(one.bad)) == shared_actions(one.good, one.bad)
        assert texts(one.branch) == texts(one.bad)[one.shared :] and one.branch[0] is not one.good[one.shared]


def test_the_nearest_of_equally_good_endings_shares_most() -> None:
    env = TreeWorld(2)
    env.values = dict.fromkeys(env.values, 1.0) | {("left", "left"): 0.0}
    rules = rules_of("mcts", samples=40, children=3, stop_at=None)
    tree = search(env, uniform(), START, SETTING, rules=rules, budget=Budget(simulations=100))
    [near] = contrasts(tree, final_score, alpha=0.5, beta=0.2, nearest=True)
    assert near.shared == 1 and texts(near.good)[0] == "left"
    [first] = contrasts(tree, final_score, alpha=0.5, beta=0.2, nearest=False)
    assert first.good[-1].node is good_endings(tree.endings(), final_score, 0.5)[0]


# The transition point


def test_values_are_judged_as_by_brute_force(whole: tuple[Tree, dict[tuple[str, ...], float]]) -> None:
    tree, values = whole
    gap = 0.1

    def mean(prefix: tuple[str, ...]) -> float:
        return float(np.mean([value for path, value in values.items() if path[: len(prefix)] == prefix]))

    seen = set()
    for ending in tree.endings():
        path = ending.path
        for number, verdict in enumerate(by_value(path, gap=gap)):
            before, taken = texts(path)[:number], texts(path)[number]
            behind = max(mean((*before, one)) for one in CHOICES if one != taken) - mean((*before, taken))
            assert verdict == ("Bad" if behind > gap else "Good" if behind <= 0 else "Uncertain")
            seen.add(verdict)
    assert seen == {"Good", "Bad", "Uncertain"}


def test_an_action_without_alternative_is_uncertain() -> None:
    rules = rules_of("best-of-n")
    tree = search(TreeWorld(), uniform(), START, SETTING, rules=rules, budget=Budget(simulations=1))
    assert by_value(tree.endings()[0].path, gap=0.0) == ["Uncertain"] * 3


@pytest.fixture(scope="module")
def contrast(whole: tuple[Tree, dict[tuple[str, ...], float]]) -> Contrast:
    """A pair that parts at once, so that all four actions are of the bad branch."""
    return next(one for one in contrasts(whole[0], final_score, alpha=0.5, beta=0.2, nearest=False) if one.shared == 0)


@pytest.mark.parametrize(
    ("verdicts", "turn"),
    [
        (["Good", "Bad", "Bad", "Good"], 1),
        (["Bad"], 0),
        (["Good", "Uncertain", "Good", "Uncertain"], 2),  # none is bad: the last from which it goes on
        ([], 2),  # Direct-Revision
        (["Good", "Good", "Good", "Bad"], None),  # which ended the episode
    ],
)
def test_the_first_bad_action_is_left_behind(contrast: Contrast, verdicts: list[Any], turn: int | None) -> None:
    mistake = mistake_of(contrast, verdicts)
    assert (mistake.turn if mistake else None) == turn
    if mistake is not None:
        kept = [one.action.text for one in mistake.kept]
        assert kept == list(texts(contrast.bad))[: mistake.turn + 1]
        assert not mistake.node.is_over


def test_an_only_action_that_ended_the_episode_leaves_nothing_to_revise(
    whole: tuple[Tree, dict[tuple[str, ...], float]],
) -> None:
    last = next(
        one for one in contrasts(whole[0], final_score, alpha=0.3, beta=0.0, nearest=False) if one.shared == DEPTH - 1
    )
    assert mistake_of(last, []) is None


def test_a_limit_of_turns_leaves_room_for_the_good_branch() -> None:
    """Of 6 turns two are for the good branch and one is to get there: at most three can be wasted."""
    env = TreeWorld(2)
    step = env.step

    def lazily(action: str) -> Any:
        if action == "right":  # time passes
            text, info = env.observe()
            return text, 0.0, False, False, info
        return step(action)

    env.step = lazily  # type: ignore[method-assign]
    env.values = dict.fromkeys(env.values, 1.0)
    rules, setting = rules_of("best-of-n"), replace(SETTING, max_turns=6)
    tree = search(env, uniform(), START, setting, rules=rules, budget=Budget(simulations=3000))
    [idle] = [
        one
        for one in contrasts(tree, final_score, alpha=0.5, beta=0.2, nearest=False)
        if texts(one.bad) == ("right",) * 6
    ]
    assert len(idle.good) == 2 and last_to_leave(idle) == 2
    assert last_to_leave(Contrast(idle.good, idle.bad[:3], 0)) == 2  # which has not ended by a limit


# Lessons


def test_what_is_below_a_place(whole: tuple[Tree, dict[tuple[str, ...], float]]) -> None:
    tree, values = whole
    node = tree.root.edges[1].node
    assert node is not None
    start = tree.root.edges[1].action.text
    assert {texts(one.path) for one in below(node, tree.endings())} == {path for path in values if path[0] == start}
    assert below(tree.root, tree.endings()) == tree.endings()


def test_a_bad_beginning_is_context() -> None:
    whole = episode([0, 0, 0, 1], ["red", "green", "blue", "grey"])
    assert revised(whole, 2).trained == {2, 3} and revised(whole, 2).weight == 1


def test_a_thought_takes_the_bad_steps_back(contrast: Contrast) -> None:
    mistake = mistake_of(contrast, ["Good", "Bad"])
    assert mistake is not None
    turns = spliced(mistake)
    assert turns is not None
    assert [turn.action.text for turn in turns] == [*texts(contrast.bad)[:2], sentence(2), *texts(contrast.good)]
    assert turns[3].observation.text == "ok.\nat the root" == "ok.\n" + turns[0].observation.text
    assert [turn.observation for turn in turns[4:]] == [
        edge.turn.observation for edge in contrast.good[1:] if edge.turn
    ]
    assert all(turn.action.token_ids == () and not turn.action.prompt_tokens for turn in turns[2:])


def test_a_thought_does_not_reach_further_than_it_says() -> None:
    env = TreeWorld(FURTHEST + 2)
    tree = search(env, uniform(), START, SETTING, rules=rules_of("best-of-n"), budget=Budget(simulations=60))
    far = [one for one in contrasts(tree, final_score, alpha=0.5, beta=0.1, nearest=True) if one.shared == 0]
    mistake = mistake_of(far[0], [])
    assert mistake is not None and mistake.turn + 1 > FURTHEST and spliced(mistake) is None


def test_good_is_above_alpha() -> None:
    assert [is_good(worth, 0.7) for worth in (0.7, 0.71, 1.0)] == [False, True, True]
