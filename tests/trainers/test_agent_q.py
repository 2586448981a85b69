"""Agent Q: pairs of a tree's siblings against brute force, and learning from them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from sparring.runs import RunFolder
from sparring.search.engine import Budget, search
from sparring.search.rules import edge_value, rules_of
from sparring.search.tree import Edge, Node, Tree
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import agent_q, preferences
from sparring.trainers.node_pairs import node_pairs
from sparring.trainers.optim import OptimConfig
from sparring.trainers.pair_update import PreferenceConfig
from sparring.trainers.session import LoopConfig
from sparring.trainers.trees import SearchConfig
from tests.search.worlds import SETTING, START, TreeWorld, uniform

CHANCE = 1 / 8
ORACLE = rules_of("agent-q", mean_weight=0.5)


def grown(simulations: int = 60) -> Tree:
    rules = rules_of("agent-q", samples=30, children=3)
    return search(TreeWorld(depth=3), uniform(), START, SETTING, rules=rules, budget=Budget(simulations))


def test_all_siblings_that_differ_by_more_than_the_threshold_make_a_pair() -> None:
    tree = grown()
    for threshold in (0.0, 0.1, 0.3):
        expected = {
            (
                *(node.moment.trajectory().turns and tuple(t.action.text for t in node.moment.turns)),
                high.action.text,
                low.action.text,
            )
            for node in tree.nodes
            for one, other in combinations([edge for edge in node.edges if edge.visits], 2)
            for high, low in [(one, other) if one.mean > other.mean else (other, one)]
            if high.mean - low.mean > threshold
        }
        found = node_pairs(tree, ORACLE, threshold=threshold)
        said = {
            (*(turn.action.text for turn in pair.chosen.turns), pair.rejected.turns[-1].action.text) for pair in found
        }
        assert said == expected and len(found) == len(expected)
        for pair in found:
            assert pair.first == len(pair.chosen.turns) - 1 == len(pair.rejected.turns) - 1
            assert pair.margin > threshold


def test_actions_need_their_visits() -> None:
    tree = grown(simulations=8)
    often = node_pairs(tree, ORACLE, threshold=0.0, min_visits=3)
    assert len(often) < len(node_pairs(tree, ORACLE, threshold=0.0))
    visits = {(edge.parent.number, edge.action.text): edge.visits for edge in tree.edges}
    by_depth = {len(node.moment.turns): node.number for node in tree.nodes[:1]}
    for pair in often:
        if pair.first == 0:
            for side in (pair.chosen, pair.rejected):
                assert visits[by_depth[0], side.turns[0].action.text] >= 3


def test_the_mixed_value_of_the_oracle_makes_no_pair() -> None:
    """MCTS (1, .25) and ranks (0, 1) at alpha .5 give (.5, .625), which lie closer than .2 (equation 10)."""
    tree = grown(simulations=20)
    first, second = [edge for edge in tree.root.edges if edge.visits][:2]
    tree.root.edges = [first, second]
    for edge, mean, critique in ((first, 1.0, 0.0), (second, 0.25, 1.0)):
        edge.total, edge.critique = mean * edge.visits, critique
    assert [edge_value(ORACLE, edge) for edge in (first, second)] == pytest.approx([0.5, 0.625])
    at_root = [pair for pair in node_pairs(tree, ORACLE, threshold=0.2) if pair.first == 0]
    assert not at_root
    [pair] = [pair for pair in node_pairs(tree, ORACLE, threshold=0.1) if pair.first == 0]
    assert pair.chosen.turns[0].action.text == second.action.text
    without = replace(ORACLE, mean_weight=1.0)
    [pair] = [pair for pair in node_pairs(tree, without, threshold=0.2) if pair.first == 0]
    assert pair.chosen.turns[0].action.text == first.action.text


def test_an_action_on_which_the_environment_broke_makes_no_pair() -> None:
    world = TreeWorld(depth=2, breaks_on=("left",))
    rules = rules_of("agent-q", samples=30, children=3)
    tree = search(world, uniform(), START, SETTING, rules=rules, budget=Budget(30))
    assert any(edge.error for edge in tree.edges)
    sides = [side for pair in node_pairs(tree, rules, threshold=0.0) for side in (pair.chosen, pair.rejected)]
    assert sides and all(side.turns[0].action.text != "left" for side in sides)


def run(folder: Path, model: Path, env: EnvConfig, agent: AgentConfig, **changes: Any) -> list[dict[str, float]]:
    config = agent_q.Config(
        run=folder / "agent-q",
        model=str(model),
        env=env,
        agent=agent,
        optim=OptimConfig(lr=3e-3, warmup_steps=2),
        loop=LoopConfig(steps=40, eval_every=40, eval_episodes=64, checkpoint_every=40),
        search=SearchConfig("agent-q", trees=16, simulations=16, samples=16, children=8, save_every=20),
        preference=PreferenceConfig(minibatches=4),
    )
    return RunFolder(agent_q.train(replace(config, **changes))).metrics()


def test_search_teaches_what_it_found(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    rows = run(tmp_path, copy_model, copy_env, copy_agent)
    assert rows[0]["tree_ending_mean"] == pytest.approx(CHANCE, abs=0.08)
    assert rows[-1]["eval_sampled_score"] > 0.6 and rows[-1]["eval_greedy_score"] > 0.7
    pairs = list(preferences.read(tmp_path / "agent-q" / "pairs"))
    assert pairs and all(pair.margin > 0.2 for pair in pairs)
    assert len(list((tmp_path / "agent-q" / "trees").iterdir())) == 2


def test_without_the_values_of_the_search_nothing_is_learned(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key term removed: pairs whose better side is told by the spelling of the action."""

    def by_spelling(rules: Any, edge: Edge) -> float:
        return sum(map(ord, f"{edge.action.text}{edge.parent.moment.observation}")) % 97 / 97

    monkeypatch.setattr("sparring.trainers.node_pairs.edge_value", by_spelling)
    rows = run(tmp_path, copy_model, copy_env, copy_agent)
    assert rows[-1]["eval_sampled_score"] < 0.4


def test_a_node_alone_makes_no_pair() -> None:
    tree = grown(simulations=1)
    assert isinstance(tree.root, Node)
    assert node_pairs(tree, ORACLE, threshold=0.0) == []
