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
