"""Trees on disk: what is read is what was written, and can be searched on."""

from __future__ import annotations

import json

import pytest

from sparring.envs.pool import EnvPool
from sparring.errors import InvalidData
from sparring.search import files
from sparring.search.engine import Budget, search, search_many
from sparring.search.rules import rules_of
from tests.search.test_engine import MANY, shape
from tests.search.worlds import SETTING, START, TreeWorld, uniform


def grown(simulations=12, **changes):
    rules = rules_of("mcts", **MANY, stop_at=None, **changes)
    return search(TreeWorld(depth=3), uniform(), START, SETTING, rules=rules, budget=Budget(simulations)), rules


@pytest.mark.parametrize("changes", [{}, {"merge_states": True}])
def test_a_tree_is_read_as_it_was_written(tmp_path, changes):
    tree, _ = grown(**changes)
    assert files.write(tmp_path / "trees.jsonl.zst", [tree, tree]) == 2
    again, _ = files.read(tmp_path / "trees.jsonl.zst")
    assert shape(again) == shape(tree)
    assert again.spent == tree.spent
    for ours, theirs in zip(tree.nodes, again.nodes, strict=True):
        assert theirs.moment == ours.moment
        assert (theirs.value, theirs.visits, theirs.depth, theirs.is_closed) == (
            ours.value,
            ours.visits,
            ours.depth,
            ours.is_closed,
        )
        assert [edge.action for edge in theirs.path] == [edge.action for edge in ours.path]
        assert [edge.turn for edge in theirs.edges] == [edge.turn for edge in ours.edges]


def test_a_tree_that_was_read_can_be_searched_on_to_the_same_end():
    tree, rules = grown(6)
    again = files.from_json(files.to_json(tree))
    for one in (tree, again):
        with EnvPool(lambda: TreeWorld(depth=3), 1) as pool:
            search_many(pool, uniform(), [one], rules=rules, budget=Budget(30))
    assert shape(again) == shape(tree)


def test_what_is_no_tree_is_refused_by_name():
    tree, _ = grown(4)
    plain = json.loads(files.to_json(tree))
    plain["nodes"][1]["parent"] = 7
    with pytest.raises(InvalidData, match="node 1 must come by an edge of an earlier node"):
        files.from_json(json.dumps(plain))
    with pytest.raises(InvalidData, match="first node must be its root"):
        files.from_json(json.dumps(plain | {"nodes": []}))


def changed(place, value):
    """The JSON of a tree, of which one thing is another."""
    tree, _ = grown(8)
    plain = json.loads(files.to_json(tree))
    within = plain
    for name in place[:-1]:
        within = within[name]
    within[place[-1]] = value
    return json.dumps(plain)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("nodes", 0, "edges", 0, "total"), float("nan"), "numbers of node 0 must be finite"),
        (("nodes", 0, "edges", 0, "reward"), float("inf"), "numbers of node 0 must be finite"),
        (("nodes", 0, "edges", 0, "critique"), "-inf", "numbers of node 0 must be finite"),
        (("nodes", 1, "value"), float("nan"), "numbers of node 1 must be finite"),
        (("spent", "seconds"), float("nan"), "numbers of the tree must be finite"),
        (("nodes", 0, "edges", 0, "visits"), -1, "counts of node 0 must be at least 0"),
        (("nodes", 1, "drawn"), -1, "counts of node 1 must be at least 0"),
        (("spent", "tokens"), -1, "counts of the tree must be at least 0"),
        (("nodes", 1, "edge"), -1, "node 1 must come by an edge of an earlier node"),
        (("nodes", 2, "parent"), 2, "node 2 must come by an edge of an earlier node"),
        (("nodes", 0, "edges", 0, "to"), None, "must be where the edge leads that it came by"),
        (("nodes", 0, "edges", 0, "to"), 0, "must be where the edge leads that it came by"),
        (("nodes", 0, "edges", 0, "to"), 99, "an edge leads to node 99, but the tree has"),
        (("nodes", 0, "edges", 1, "action", "text"), "same", None),
        (("nodes", 1, "observation"), None, "node 1 shows nothing"),
        (("root", "observation"), None, "node 0 shows nothing"),
        (("nodes", 3, "info"), {"score": "high"}, "a score must be a finite number, got 'high'"),
        (("nodes", 3, "info"), {"score": float("nan")}, "a score must be a finite number, got nan"),
    ],
)
def test_a_tree_that_is_not_whole_is_refused(place, value, message):
    line = changed(place, value)
    if message is None:
        files.from_json(line)
        line = line.replace('"same"', json.dumps(json.loads(line)["nodes"][0]["edges"][0]["action"]["text"]), 1)
        message = "node 0 has an action twice"
    with pytest.raises(InvalidData, match=message):
        files.from_json(line)


LINES = ["null", "3", '"text"', "[]", "{}", "", "[" * 100000, '{"root": ' * 100000, "9" * 5000]


@pytest.mark.parametrize("line", LINES, ids=[line[:9] for line in LINES])
def test_what_is_no_object_is_no_tree(line):
    with pytest.raises(InvalidData):
        files.from_json(line)
