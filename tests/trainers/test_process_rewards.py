"""Process rewards against the recursion of the paper, oracles worked out by hand, and what must hold in any tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.episode import Moment
from sparring.search.rules import final_score
from sparring.search.tree import Node, Tree
from sparring.trainers.process_rewards import Inferred, outcome_values, process_rewards, value_after
from tests.trainers.grown import at, join, name, tree_of


def is_right(moment: Moment) -> bool:
    return moment.trajectory().success


def inferred(tree: Tree) -> dict[str, Inferred]:
    return {name(one.node): one for one in process_rewards(tree, is_right)}


def values(tree: Tree) -> dict[str, float]:
    return {path: one.value for path, one in inferred(tree).items()}


def test_a_right_chain_of_three() -> None:
    found = inferred(tree_of({"abc": True}))
    assert [one.steps for one in found.values()] == [4, 3, 2, 1]
    assert [one.value for one in found.values()] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_wrong_sibling_gives_back_a_share() -> None:
    """At depth 2 it inherits m = 3 of its parent: 1/3 - (2/3)/3 = 1/9. Another step away costs (8/9)/3, down to 0."""
    found = inferred(tree_of({"abc": True, "axy": False}))
    assert (found["ax"].steps, found["ax"].leads) == (3, False)
    assert found["ax"].value == pytest.approx(1 / 9)
    assert found["axy"].value == 0


def test_the_nearest_right_ending_counts() -> None:
    """From `a` it is one step to the right ending `ab`; the long way `acde` starts from the same value, 1/2."""
    found = inferred(tree_of({"ab": True, "acde": True}))
    assert [found[path].steps for path in ("", "a", "ac", "acd", "acde")] == [3, 2, 3, 2, 1]
    assert found["a"].value == 0.5
    assert found["ac"].value == pytest.approx(0.5 + 0.5 / 3)
    assert found["acde"].value == 1


def test_nothing_is_inferred_where_nothing_is_known() -> None:
    assert values(tree_of({"ab": False, "c": False})) == {}
    found = values(tree_of({"ab": True, "ac": None, "d": None}))
    assert set(found) == {"", "a", "ab"}


def test_merged_places_have_their_shortest_distance() -> None:
    """`b` was found by a long way and joins the place `ac`, one step before the right ending; there is a way back."""
    tree = tree_of({"acd": True, "bef": False, "bg": False})
    join(tree, "b", "ac")
    join(tree, "ac", "a")
    found = inferred(tree)
    assert [found[path].steps for path in ("", "a", "b", "ac", "acd")] == [4, 3, 3, 2, 1]
    assert found["b"].leads and found["b"].value == pytest.approx(1 / 3)
    assert found["ac"].value == pytest.approx(2 / 3)  # after `a`, as its moment says
    assert not found["be"].leads and found["be"].value == pytest.approx(1 / 9)


@given(length=st.integers(1, 60))
def test_a_right_chain_telescopes_to_one(length: int) -> None:
    found = values(tree_of({"a" * length: True}))
    assert list(found.values()) == pytest.approx([at / length for at in range(length + 1)])
    assert found["a" * length] == 1


@given(before=st.floats(0, 1), steps=st.integers(1, 50), leads=st.booleans())
def test_values_stay_within_0_and_1(before: float, steps: int, leads: bool) -> None:
    value = value_after(before, steps, leads=leads)
    assert 0 <= value <= 1
    assert value >= before if leads else value <= before


PATHS = st.dictionaries(st.text("abc", min_size=1, max_size=5), st.booleans(), min_size=1, max_size=12)


@given(PATHS)
def test_any_tree_agrees_with_the_recursion(paths: dict[str, bool]) -> None:
    leaves = {
        path: right
        for path, right in paths.items()
        if not any(other != path and other.startswith(path) for other in paths)
    }
    tree = tree_of(leaves)
    found = inferred(tree)
    if not any(leaves.values()):
        assert found == {}
        return
    assert {path: one.value for path, one in found.items()} == pytest.approx(expected(tree))
    assert all(0 <= one.value <= 1 for one in found.values())
    assert all(found[path].value == 1 for path, right in leaves.items() if right)


def expected(tree: Tree) -> dict[str, float]:
    """The same by recursion: distances upwards, values downwards."""

    def steps(node: Node) -> float:
        if node.is_over:
            return 1 if is_right(node.moment) else float("inf")
        return 1 + min(steps(edge.node) for edge in node.edges if edge.node is not None)

    result: dict[str, float] = {}

    def descend(node: Node, before: float, inherited: float) -> None:
        own = steps(node)
        m, sign = (own, 1) if own < float("inf") else (inherited, -1)
        value = 0.0 if node.came_by is None else max(0.0, before + sign * (1 - before) / m)
        result[name(node)] = value
        for edge in node.edges:
            assert edge.node is not None
            descend(edge.node, value, m)

    descend(tree.root, 0.0, float("inf"))
    return result


def test_outcomes_are_means_over_the_endings_below() -> None:
    """`ab` was reached 3 times and went right, `ac` once and did not: a = 3/4; with `d`, once and wrong, 3/5 in all."""
    tree = tree_of({"ab": True, "ac": False, "d": False, "e": None})
    at(tree, "ab").visits = 3
    found = {name(node): worth for node, worth in outcome_values(tree, final_score)}
    assert found == pytest.approx({"": 0.6, "a": 0.75, "ab": 1, "ac": 0, "d": 0})
