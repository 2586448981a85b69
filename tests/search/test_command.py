"""The commands `sparring search` and `sparring trees`, and trees as text."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from sparring import cli, trajectories
from sparring.envs.text.number_search import NumberSearch
from sparring.errors import InvalidConfig, InvalidData, SparringError, UnknownName
from sparring.search import files
from sparring.search.agent import SearchSpec, search_agent
from sparring.search.command import search_tasks, show_episodes
from sparring.search.engine import Budget, search
from sparring.search.rules import rules_of
from sparring.search.show import render
from sparring.settings import EnvConfig
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
    plain["stopped"], plain["error"] = "\x1b[2J\nover", "\x9b2J"
    text = render(files.from_json(json.dumps(plain)))
    assert "\x1b" not in text and "\x9b" not in text and "[red]gone[/red]" in text and r"\x1b[2J over" in text


def test_a_tree_as_json_is_written_in_characters_that_no_terminal_obeys(tmp_path, capsys):
    tree = search(TreeWorld(depth=2), uniform(), START, SETTING, budget=Budget(5))
    plain = json.loads(files.to_json(tree))
    plain["stopped"] = "\x9b2J ★"
    files.write(tmp_path / "trees.jsonl.zst", [files.from_json(json.dumps(plain))])
    cli.run(["trees", str(tmp_path / "trees.jsonl.zst"), "--json"])
    shown = capsys.readouterr().out
    assert shown.isascii() and files.from_json(shown).stopped == "\x9b2J ★"


def test_a_deep_tree_is_shown_whole():
    class Long(TreeWorld):
        def __init__(self):
            super().__init__(1)
            self.depth, self.values = 120, defaultdict(float)

    tree = search(Long(), uniform(), START, SETTING, budget=Budget(2))
    text = render(tree, width=80)
    assert text.count("visits") == sum(edge.visits > 0 for edge in tree.edges) > 200
    assert all("visits" in line for line in text.splitlines()[1:-2] if "not tried" not in line)


def test_a_task_a_split_or_a_seed_that_is_none_is_no_episode_of_score_0():
    for arguments, message in (
        (["--task", "nothere"], 'no task "nothere"'),
        (["--split", "nothere"], 'no split "nothere"'),
        (["--task", "train/1", "--split", "test"], 'no task "train/1"'),
        (["--seed", "-1"], "seed must be at least 0"),
        (["--method", "mcts:random"], "and no agent"),
        (["--agent", "search:mcts:random"], "searches itself"),
    ):
        with pytest.raises(SparringError, match=message):
            cli.run(["search", "NumberSearch-v1", *arguments])


def test_what_failed_is_said_below_an_episode(monkeypatch):
    step = NumberSearch.step
    monkeypatch.setattr(NumberSearch, "step", lambda self, action: step(self, action)[:2])
    searched = search_tasks(EnvConfig("NumberSearch-v1"), "random", "mcts@simulations=3")
    *_, failed = show_episodes(searched, width=80, colours=False)
    assert failed.startswith("  it failed: ValueError in step")


def test_trees_are_counted_from_0(tmp_path):
    files.write(tmp_path / "trees.jsonl.zst", [search(TreeWorld(2), uniform(), START, SETTING, budget=Budget(5))])
    for arguments in (["--number", "-1"], ["--depth", "0"]):
        with pytest.raises(InvalidConfig):
            cli.run(["trees", str(tmp_path), *arguments])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("simulations=0", "a number above 0"),
        ("simulations=inf", "a number above 0"),
        ("seconds=nan", "a number above 0"),
        ("samples", "a number above 0"),
        ("exploration=-1", "a number at least 0"),
        ("simulations=2.5", "a whole number"),
        ("at_once=0.5", "a whole number"),
        ("simulations=3@simulations=4", "simulations stands twice"),
        ("states=merged@states=apart", "states stands twice"),
    ],
)
def test_a_setting_says_what_it_must_be(settings: str, message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        SearchSpec.parse(f"search:mcts@{settings}:random")
    assert SearchSpec.parse("search:mcts@exploration=0@seconds=0.5:random").numbers == {
        "exploration": 0,
        "seconds": 0.5,
    }


@pytest.mark.parametrize(
    "spec", ["mcts@evaluator=score:expert", "agent-q@critique=asked:first-hit", "r-mcts@evaluator=debate:random"]
)
def test_a_script_is_no_judge(spec: str) -> None:
    with pytest.raises(InvalidConfig, match="is a script that answers no such questions"):
        search_agent(f"search:{spec}")


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
