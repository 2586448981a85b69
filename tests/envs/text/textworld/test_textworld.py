from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparring.envs.base import restore, snapshot
from sparring.envs.text.textworld.env import TextWorld, _parse
from sparring.envs.text.textworld.games import GameBook, read_game
from sparring.errors import EnvFailed, InvalidConfig, UnknownName
from sparring.testing import check_env


def slow(test: Any) -> Any:
    """A game takes seconds to generate, and up to a minute on a busy machine."""
    return pytest.mark.slow(pytest.mark.timeout(1_200)(test))


def test_an_answer_is_text_score_and_ending() -> None:
    answer = (
        "\n\n-= Attic =-\nA room.\n\n\nThere is a coin.\n\n<score>\n2\n</score><moves>\n7\n</moves>\n>   -= Attic =-2/7"
    )
    assert _parse(answer) == ("-= Attic =-\nA room.\nThere is a coin.", 2, "")
    end = "Taken.\n\n     *** The End ***\n\nYou scored 1.\n\nWould you like to RESTART, or QUIT?\n> -= Attic =-1/2"
    assert _parse(end) == ("Taken.\n*** The End ***\nYou scored 1.", None, "*** The End ***")
    assert _parse("Ouch. *** You lost! ***")[2] == "*** You lost! ***"
    with pytest.raises(EnvFailed, match="many"):
        _parse("<score>\nmany\n</score>")


def test_settings_are_checked_by_name() -> None:
    with pytest.raises(UnknownName, match="treasure_hunter"):
        GameBook.of("treasure", None, "route")
    with pytest.raises(UnknownName, match="level"):
        GameBook.of("coin_collector", {"levels": 3}, "route")
    with pytest.raises(InvalidConfig, match="goal"):
        GameBook.of("coin_collector", None, "none")  # type: ignore[arg-type]
    assert dict(GameBook.of("coin_collector", {"level": 9}, "last").settings) == {"level": 9}


@pytest.fixture(scope="module", autouse=False)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An empty cache of its own for the tests that generate games."""
    pytest.importorskip("textworld")
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("SPARRING_CACHE", str(folder))
        yield folder


CHALLENGES = [
    {"challenge": "treasure_hunter", "settings": {"level": 12}},
    {"challenge": "coin_collector", "settings": {"level": 103}},
    {"challenge": "cooking", "settings": {"cook": True, "cut": True, "open": True}},
]


@slow
@pytest.mark.parametrize("options", CHALLENGES, ids=lambda options: options["challenge"])
def test_it_keeps_the_contract(cache: Path, options: dict[str, Any]) -> None:
    env = TextWorld(**options)
    env.book.prepare([f"train/{number}" for number in range(3)] + ["dev/0", "test/0"])
    check_env(lambda: TextWorld(**options, train_tasks=3, dev_tasks=1, test_tasks=1), max_turns=15)


@slow
@pytest.mark.parametrize("options", CHALLENGES, ids=lambda options: options["challenge"])
def test_it_plays_as_the_packages_own_environment(cache: Path, options: dict[str, Any]) -> None:
    """Side by side, by random and by planned commands: texts, commands, scores, ends and plans."""
    import textworld

    env = TextWorld(**options, train_tasks=3)
    infos = textworld.EnvInfos(admissible_commands=True, policy_commands=True, score=True, won=True, max_score=True)
    rng = np.random.default_rng(0)
    for episode in range(6):
        _, info = env.reset(options={"task": f"train/{episode % 3}"})
        theirs = textworld.start(str(env._path), infos)
        state = theirs.reset()
        assert info["instruction"] == state.objective.strip()
        for _ in range(40):
            assert list(info["actions"].choices) == state.admissible_commands
            if state.policy_commands and state.policy_commands[0] in state.admissible_commands:
                assert env.expert_action() == state.policy_commands[0]
            choices = info["actions"].choices
            command = env.expert_action() if rng.random() < episode / 5 else choices[int(rng.integers(len(choices)))]
            text, _, over, _, info = env.step(command)
            state, score, done = theirs.step(command)
            assert words(text) == words(state.feedback)
            assert (env._points, over) == (score, done)
            if over:
                assert info["success"] is bool(state.won)
                assert info["score"] == score / state.max_score
                break


def words(text: str) -> list[str]:
    """The words said, without the prompt, the question after the end and the count of moves."""
    text = re.sub(r"\n>[^\n]*\s*$", "", text).partition("Would you like to RESTART")[0]
    return re.sub(r"in \d+ turns?", "", text).split()


@slow
@pytest.mark.parametrize("options", CHALLENGES, ids=lambda options: options["challenge"])
def test_the_expert_wins_with_the_full_score(cache: Path, options: dict[str, Any]) -> None:
    env = TextWorld(**options, train_tasks=3)
    for task in env.task_ids("train"):
        env.reset(options={"task": task})
        total, over = 0.0, False
        for _ in range(60):
            _, reward, over, _, info = env.step(env.expert_action())
            assert "no_op" not in info
            total += reward
            if over:
                break
        assert over and info["success"] and info["score"] == 1.0
        assert total == pytest.approx(1.0)


@slow
def test_a_game_is_generated_once_and_is_the_same_in_every_process(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Cooking games depend on the order of sets, which the generating process must therefore fix."""
    book = GameBook.of("cooking", {"open": True, "go": 6}, "route")
    first = book.game("train/1")
    written = first.stat().st_mtime_ns
    assert book.game("train/1") == first and first.stat().st_mtime_ns == written
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path))
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    again = book.game("train/1")
    assert again != first
    assert again.with_suffix(".json").read_bytes() == first.with_suffix(".json").read_bytes()
    assert [path.name for path in again.parent.parent.iterdir()] == [again.parent.name]


@slow
def test_games_generated_together_are_those_generated_alone(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    book = GameBook.of("treasure_hunter", {"level": 12}, "route")
    alone = [book.game(task).with_suffix(".json").read_bytes() for task in ("train/1", "train/2")]
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path))
    book.prepare(["train/0", "train/1", "train/2"])
    assert [book.game(task).with_suffix(".json").read_bytes() for task in ("train/1", "train/2")] == alone


@slow
def test_a_snapshot_goes_on_in_another_environment_in_another_game(cache: Path) -> None:
    env, other = (TextWorld("treasure_hunter", {"level": 12}, train_tasks=3) for _ in range(2))
    env.reset(options={"task": "train/0"})
    env.step(env.expert_action())
    saved = snapshot(env)
    other.reset(options={"task": "train/1"})
    assert restore(other, saved) == env.observe()
    for _ in range(30):
        command = env.expert_action()
        assert other.expert_action() == command
        result = env.step(command)
        assert other.step(command) == result
        if result[2]:
            break
    assert result[2]
    assert restore(env, saved)[1]["actions"] == restore(other, saved)[1]["actions"]


@slow
def test_the_goal_can_be_told_without_the_way(cache: Path) -> None:
    route, last = (TextWorld("coin_collector", {"level": 4}, goal, train_tasks=1) for goal in ("route", "last"))
    whole, end = (env.reset(seed=0)[1]["instruction"] for env in (route, last))
    assert len(end) < len(whole) and "coin" in end


@slow
def test_what_the_generator_refuses_is_reported_with_its_words(cache: Path) -> None:
    with pytest.raises(EnvFailed, match=r"level.*within \[1-30\]"):
        TextWorld("treasure_hunter", {"level": 99}).reset(seed=0)


@slow
def test_playing_leaves_the_game_as_it_was_read(cache: Path) -> None:
    env = TextWorld("treasure_hunter", {"level": 12}, train_tasks=1)
    env.reset(seed=0)
    game, _ = read_game(env._path)
    before = sorted(map(str, game.world.facts))
    for _ in range(5):
        env.step(env.expert_action())
    assert sorted(map(str, read_game(env._path)[0].world.facts)) == before
