"""Exploratory learning: an agent that learned to look and to go back finds what no imitation of best paths can know."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sparring
from sparring.agents.models import load_model
from sparring.agents.models.tiny import build_tiny
from sparring.agents.scripted import RandomPolicy
from sparring.envs.backtrack import GO_BACK
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Start, rollout
from sparring.runs import RunFolder
from sparring.search import files, memory
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import exploratory
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rounds import Flagged, LearningConfig, read_flagged
from sparring.trainers.session import LoopConfig
from sparring.trainers.trees import SearchConfig
from tests.trainers.doors import EMPTY, GOLD, TEXTS

CHANCE = 1 / 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "doors"
    return build_tiny(TEXTS * 3, folder, vocabulary=320, hidden=32, layers=2, heads=2, max_context=1024)


@pytest.fixture(scope="module")
def env() -> EnvConfig:
    """Each door can be looked behind, and there are two turns to spare."""
    sparring.register("tests/Doors-v1", "tests.trainers.doors:Doors", max_turns=8)
    return EnvConfig("tests/Doors-v1", wrappers=("backtrack",))


def config_of(run: Path, model: Path, env: EnvConfig, **changes: Any) -> exploratory.Config:
    config = exploratory.Config(
        run=run,
        model=str(model),
        env=env,
        agent=AgentConfig(max_action_tokens=8),
        optim=OptimConfig(lr=4e-3),
        loop=LoopConfig(steps=1, eval_every=1, eval_episodes=128, checkpoint_every=1),
        learning=LearningConfig(updates=200, max_passes=200),
        search=SearchConfig("r-mcts", trees=64, simulations=8),
    )
    return replace(config, **changes)


def lessons(run: Path, round: int = 1) -> list[Flagged]:
    return list(read_flagged(run / "rounds" / f"step-{round:06d}.jsonl.zst"))


def said(one: Flagged) -> list[str]:
    return [turn.action.text for turn in one.trajectory.turns]


def last_row(run: Path) -> dict[str, Any]:
    return RunFolder(run).metrics()[-1]


# Learning


def test_an_agent_learns_to_explore_without_a_search(tmp_path: Path, model: Path, env: EnvConfig) -> None:
    row = last_row(exploratory.train(config_of(tmp_path / "run", model, env)))
    assert row["solved"] == 1.0 and row["unplayable"] == 0.0
    assert row["eval_sampled_success"] > 0.75


def test_imitating_best_paths_leaves_it_to_chance(tmp_path: Path, model: Path, env: EnvConfig) -> None:
    """The key term removed: the same searches, of which only what was good is told."""
    run = exploratory.train(config_of(tmp_path / "run", model, env, imitate="best-path"))
    assert all(len(said(one)) == 2 and said(one)[1] == "take" for one in lessons(run))
    assert last_row(run)["eval_sampled_success"] == pytest.approx(CHANCE, abs=0.15)


def test_the_way_and_the_ways_back_are_enough(tmp_path: Path, model: Path, env: EnvConfig) -> None:
    run = exploratory.train(config_of(tmp_path / "run", model, env, trained="path-and-backtracks"))
    assert last_row(run)["eval_sampled_success"] > 0.75


def test_the_way_without_the_ways_back_is_not(
    tmp_path: Path, model: Path, env: EnvConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exploratory, "backtracks", lambda walk: frozenset())
    run = exploratory.train(config_of(tmp_path / "run", model, env, trained="path-and-backtracks"))
    assert last_row(run)["eval_sampled_success"] < 0.6


# What is learned from


def test_searches_become_episodes_that_replay_exactly(tmp_path: Path, model: Path, env: EnvConfig) -> None:
    config = config_of(tmp_path / "run", model, env, learning=LearningConfig(updates=1))
    run = exploratory.train(config)
    found = lessons(run)
    assert {len(said(one)) for one in found} >= {2, 4, 6}
    for one in found:
        seen = [turn.observation.text for turn in one.trajectory.turns]
        for before, action in zip(seen, said(one), strict=True):
            assert action == {EMPTY: GO_BACK, GOLD: "take"}.get(before, action)
        assert one.trajectory.success and one.trajectory.wrappers == ("backtrack",)
    with EnvPool(env.maker(), 8) as pool:
        starts = [Start(one.trajectory.seed, split="train", prefix=one.trajectory.turns) for one in found]
        again = rollout(RandomPolicy(), pool, starts, config.setting)
    assert [one.turns for one in again] == [one.trajectory.turns for one in found]
    trees = list(files.read(run / "trees"))
    assert len(trees) == 64
    assert all(GO_BACK not in str(edge.action.text) for tree in trees for edge in tree.edges)


def test_what_is_trained_is_the_way_and_the_ways_back(tmp_path: Path, model: Path, env: EnvConfig) -> None:
    learning = LearningConfig(updates=1)
    run = exploratory.train(config_of(tmp_path / "run", model, env, learning=learning, trained="path-and-backtracks"))
    for one in lessons(run):
        count = len(said(one))
        wrong_doors = set(range(0, count - 2, 2))
        assert one.trained == set(range(count)) - wrong_doors


def test_without_a_success_there_is_nothing_to_tell(tmp_path: Path, model: Path, env: EnvConfig) -> None:
    run = exploratory.train(config_of(tmp_path / "run", model, env, min_score=1.5))
    assert lessons(run) == [] and last_row(run)["solved"] == 0.0 and last_row(run)["updates"] == 0


def test_a_search_too_long_to_be_lived_through_is_left_out(tmp_path: Path, model: Path, env: EnvConfig) -> None:
    learning = LearningConfig(updates=1)
    run = exploratory.train(config_of(tmp_path / "run", model, replace(env, max_turns=5), learning=learning))
    row = last_row(run)
    assert row["unplayable"] > 0 and {len(said(one)) for one in lessons(run)} == {2, 4}
    assert row["unplayable"] + len(lessons(run)) == 64 * row["solved"]


# Judges and reflections


def judged(run: Path, model: Path, env: EnvConfig, **changes: Any) -> exploratory.Config:
    return config_of(
        run,
        model,
        env,
        loop=LoopConfig(steps=3, eval_every=0, checkpoint_every=1, keep_checkpoints=0),
        learning=LearningConfig(updates=3),
        search=SearchConfig("r-mcts", trees=6, simulations=6, samples=6),
        evaluator="debate",
        judge_tokens=8,
        reflect=True,
        environments=6,
        **changes,
    )


def test_a_model_judges_reflects_and_is_reminded_and_goes_on_exactly_where_it_stopped(
    tmp_path: Path, model: Path, env: EnvConfig
) -> None:
    config = judged(tmp_path / "whole", model, env)
    exploratory.train(config)
    rows = RunFolder(config.run).metrics()
    assert all(row["judge_questions"] > 0 and row["unanswered"] == 0 for row in rows)
    kept = [memory.read(config.run / "reflections" / f"step-{round:06d}.jsonl.zst") for round in (1, 2, 3)]
    assert [len(some) for some in kept] == [row["reflections"] for row in rows] and kept[0]
    assert {one.about for one in kept[0]} == {"policy", "value"} and {one.split for one in kept[0]} == {"train"}
    assert all(one.task.startswith("train-") and one.error > 0.5 for some in kept for one in some)

    parted = tmp_path / "parted"  # as if killed in the third round, after it had written everything but a checkpoint
    shutil.copytree(config.run, parted)
    for step in (2, 3):
        shutil.rmtree(parted / "checkpoints" / f"step-{step}")
    exploratory.train(replace(config, run=parted, resume=True))
    assert untimed(parted) == untimed(config.run)
    assert weights(parted) == weights(config.run)


def untimed(run: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if "second" not in name} for row in RunFolder(run).metrics()]


def weights(run: Path) -> bytes:
    latest = RunFolder(run).latest_checkpoint()
    assert latest is not None and latest[0] == 3
    return (latest[1] / "model.safetensors").read_bytes() + (latest[1] / "optimizer.pt").read_bytes()


def test_reminders_change_what_is_searched(tmp_path: Path, model: Path, env: EnvConfig) -> None:
    rows = []
    for reflects in (True, False):
        config = replace(judged(tmp_path / str(reflects), model, env), reflect=reflects)
        rows.append(RunFolder(exploratory.train(config)).metrics())
    compared = [name for name in rows[1][0] if name.startswith("tree")]
    assert [rows[0][0][name] for name in compared] == [rows[1][0][name] for name in compared]
    assert [rows[0][1][name] for name in compared] != [rows[1][1][name] for name in compared]


def test_somebody_else_may_judge(tmp_path: Path, model: Path, env: EnvConfig) -> None:
    config = replace(judged(tmp_path / "run", model, env), evaluator="verdict", judge="random", reflect=False)
    row = last_row(exploratory.train(config))
    assert row["judge_questions"] > 0 and row["judge_tokens"] == 0 and row["unanswered"] == 0


# Settings


def test_exploring_needs_a_way_back(tmp_path: Path, model: Path, env: EnvConfig) -> None:
    with pytest.raises(InvalidConfig, match="put backtrack last"):
        exploratory.train(config_of(tmp_path / "run", model, replace(env, wrappers=())))
    with pytest.raises(InvalidConfig, match="what it has tried"):
        config_of(tmp_path / "run", model, env, agent=AgentConfig(memory="last_observation"))
    config_of(tmp_path / "run", model, env, agent=AgentConfig(memory="last_observation"), imitate="best-path")
    with pytest.raises(InvalidConfig, match="judge_tokens must be at least 1"):
        config_of(tmp_path / "run", model, env, judge_tokens=0)


def test_the_start_is_a_model_that_never_went_back(model: Path, env: EnvConfig) -> None:
    """Otherwise the comparison with best paths would prove little."""
    from sparring.agents.hf import HFPolicy

    loaded, tokenizer = load_model(model)
    policy = HFPolicy(loaded, tokenizer, max_new_tokens=8)
    config = config_of(Path("unused"), model, env)
    with EnvPool(env.maker(), 16) as pool:
        starts = [Start(seed, split="test", sampling_seed=seed) for seed in range(64)]
        played = rollout(policy, pool, starts, config.setting)
    assert sum(one.success for one in played) / 64 < 0.6
