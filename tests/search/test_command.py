"""The commands `sparring search` and `sparring trees`, and trees as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparring import cli, trajectories
from sparring.errors import InvalidConfig, InvalidData, SparringError, UnknownName
from sparring.search import files
from sparring.search.agent import SearchSpec
from sparring.search.engine import Budget, search
from sparring.search.rules import rules_of
from sparring.search.show import render
from tests.search.worlds import SETTING, START, TreeWorld, uniform


def test_search_shows_its_tree_and_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["search", "NumberSearch-v1", "--method", "mcts@simulations=6", "--episodes", "2", "--out", str(tmp_path)])
    shown = capsys.readouterr().out
    assert shown.count(" places, ") == 2 and "★" in shown and "score" in shown
    trees = list(files.read(tmp_path / "trees" / "searched.jsonl.zst"))
    assert len(trees) == 2 and all(1 <= tree.spent.simulations <= 6 for tree in trees)
    assert len(list(trajectories.read(tmp_path / "trajectories" / "searched.jsonl.zst"))) == 2
    assert "★" in (tmp_path / "trees" / "tree-1.txt").read_text()
    cli.run(["trees", str(tmp_path), "--number", "1", "--json"])
    assert files.from_json(capsys.readouterr().out).spent == trees[1].spent
    cli.run(["trees", str(tmp_path / "trees" / "searched.jsonl.zst"), "--depth", "1"])
    assert "places below" in capsys.readouterr().out
    with pytest.raises(InvalidData, match="no tree number 7"):
        cli.run(["trees", str(tmp_path), "--number", "7"])


def test_searches_with_one_seed_are_equal(tmp_path: Path) -> None:
    for name in ("a", "b"):
        cli.run(["search", "NumberSearch-v1", "--seed", "5", "--out", str(tmp_path / name)])
    one, other = ((tmp_path / name / "trajectories" / "searched.jsonl.zst").read_bytes() for name in ("a", "b"))
    assert one == other


def test_a_tree_as_text_says_all_of_its_edges() -> None:
    rules = rules_of("mcts", samples=30, children=3, stop_at=None)
    tree = search(TreeWorld(depth=2), uniform(), START, SETTING, rules=rules, budget=Budget(20))
    text = render(tree, rules)
    assert text.count("visits") == sum(edge.visits > 0 for edge in tree.edges)
    assert text.count("★") == 2 and text.count("end, score") == len(tree.endings())
    assert "\x1b" not in text and "\x1b" in render(tree, rules, colours=True)


def test_what_a_model_wrote_can_t_command_the_terminal() -> None:
    rules = rules_of("mcts", samples=30, children=3)
    tree = search(TreeWorld(depth=2), uniform(), START, SETTING, rules=rules, budget=Budget(5))
    plain = json.loads(files.to_json(tree))
    plain["nodes"][0]["edges"][0]["action"]["text"] = "\x1b[2J[red]gone[/red]"
    text = render(files.from_json(json.dumps(plain)))
    assert "\x1b" not in text and "[red]gone[/red]" in text


@pytest.mark.parametrize("setting", ["evaluator=oracle", "critique=yes", "outcome=blurred", "deepness=3"])
def test_an_unknown_setting_names_what_there_is(setting: str) -> None:
    with pytest.raises(UnknownName, match=r"Known: |Did you mean"):
        SearchSpec.parse(f"search:mcts@{setting}:random")


def test_a_hidden_outcome_needs_a_judge() -> None:
    with pytest.raises(InvalidConfig, match="outcome=hidden needs an evaluator"):
        SearchSpec.parse("search:mcts@outcome=hidden:random").searcher(uniform())
    hidden = SearchSpec.parse("search:mcts@outcome=hidden@evaluator=score:random").searcher(uniform())
    assert not hidden.rules.sees_outcome
    asked = SearchSpec.parse("search:agent-q@critique=asked@simulations=5:random").searcher(uniform())
    assert asked.critic is not None and asked.budget == Budget(5)


def test_a_value_model_is_asked_of_a_run_that_has_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no folder"):
        SearchSpec.parse("search:mcts@evaluator=value:random").searcher(uniform())
    with pytest.raises(SparringError, match=r"no model|value model") as found:
        SearchSpec.parse(f"search:mcts@evaluator=ahead:{tmp_path}").searcher(uniform())
    assert str(tmp_path) in str(found.value)
