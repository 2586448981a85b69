"""ReST-MCTS*: the policy learns from right endings, the value model from trees, and searches find more by it."""

from __future__ import annotations

import signal
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sparring
from sparring.agents.models.value import VALUE_FILE, load_value_model
from sparring.envs.pool import EnvPool
from sparring.episode import Setting, Start
from sparring.errors import InvalidConfig
from sparring.runs import RunFolder
from sparring.search import files
from sparring.search.engine import Budget
from sparring.search.evaluators import Evaluator, estimate
from sparring.search.play import Searcher, play
from sparring.search.rules import rules_of
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import rest_mcts, session
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rounds import LearningConfig, read_flagged
from sparring.trainers.session import LoopConfig
from sparring.trainers.trees import SearchConfig
from sparring.trainers.value_training import ValueTrainingConfig
from sparring.types import Trajectory
from tests.trainers.grown import tree_of

STEADY = OptimConfig(lr=1e-9)


LOCK = EnvConfig("tests/Combination-v1")
AGENT = AgentConfig(max_action_tokens=8)


@pytest.fixture(autouse=True)
def lock() -> None:
    """Two words, which nothing tells of; a random agent has both right once in 64 times."""
    sparring.register(LOCK.id, "tests.trainers.combination:Combination", max_turns=5)


def config_of(run: Path, start: Path, env: EnvConfig, agent: AgentConfig, **changes: Any) -> rest_mcts.Config:
    config = rest_mcts.Config(
        run=run,
        model=str(start),
        env=env,
        agent=agent,
        optim=OptimConfig(lr=2e-3),
        critic=OptimConfig(lr=3e-3, warmup_steps=3, decay="linear"),
        loop=LoopConfig(steps=3, eval_every=3, eval_episodes=128, checkpoint_every=3),
        search=SearchConfig(method="rest-mcts", trees=32, simulations=12),
    )
    return replace(config, **changes)


# The policy


def test_the_policy_learns_from_right_endings(
    tmp_path: Path, taught_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    run = RunFolder(rest_mcts.train(config_of(tmp_path / "run", taught_model, copy_env, copy_agent)))
    first, *_, last = run.metrics()
    assert first["by_value_model"] == 0 and last["by_value_model"] == 1
    # The start is right at a rate of 0.475 a word.
    assert last["eval_sampled_score"] > 0.8
    kept = list(read_flagged(run.path / "rounds" / "step-000001.jsonl.zst"))
    assert len(kept) == first["found"] and all(one.trajectory.success for one in kept)
    trees = list(files.read(run.path / "trees"))
    assert len(trees) == 3 * 32


def test_and_not_from_endings_at_random(
    tmp_path: Path,
    taught_model: Path,
    copy_env: EnvConfig,
    copy_agent: AgentConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at_random(_: rest_mcts.Config, one: Trajectory) -> bool:
        return zlib.crc32(repr([turn.action.text for turn in one.turns]).encode()) % 4 == 0

    monkeypatch.setattr(rest_mcts.Config, "succeeded", at_random)
    config = config_of(tmp_path / "run", taught_model, copy_env, copy_agent, values="none")
    assert RunFolder(rest_mcts.train(config)).metrics()[-1]["eval_sampled_score"] < 0.6


# The value model


def locked(run: Path, start: Path, **changes: Any) -> rest_mcts.Config:
    """Only the value model learns: a first round of playouts, and a second with what was made of its trees."""
    return config_of(
        run,
        start,
        LOCK,
        AGENT,
        optim=STEADY,
        loop=LoopConfig(steps=2, eval_every=0, checkpoint_every=2),
        search=SearchConfig(
            method="rest-mcts", trees=32, simulations=16, samples=16, children=8, exploration=0.02, save_every=0
        ),
        value=ValueTrainingConfig(updates=100, max_passes=30, batch=16),
        **changes,
    )


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory, copy_model: Path) -> RunFolder:
    """A run that learned what is worth what in the world of the lock."""
    sparring.register(LOCK.id, "tests.trainers.combination:Combination", max_turns=5)
    return RunFolder(rest_mcts.train(locked(tmp_path_factory.mktemp("runs") / "judge", copy_model)))


def test_searches_find_more_by_what_the_value_model_has_learned(
    judge: RunFolder, tmp_path: Path, copy_model: Path
) -> None:
    """With the value model 25 of 32 locks were opened with each of four seeds, without it 9 or 10."""
    first, second = judge.metrics()
    assert (first["by_value_model"], second["by_value_model"]) == (0, 1)
    assert first["value_error_before"] > first["value_label_variance"]
    assert second["value_error_before"] < 0.6 * second["value_label_variance"]  # on trees that it had not seen
    without = RunFolder(rest_mcts.train(locked(tmp_path / "run", copy_model, values="none"))).metrics()
    assert without[0]["found"] == first["found"]
    assert second["found"] > 1.7 * without[1]["found"]


def test_endings_rate_a_policy_even_where_none_is_right(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    """Labels of the outcome kind need no success: here nothing counts as one."""
    config = config_of(
        tmp_path / "run",
        copy_model,
        copy_env,
        copy_agent,
        values="outcome",
        min_score=2.0,
        loop=LoopConfig(steps=2, eval_every=0, checkpoint_every=2),
    )
    rows = RunFolder(rest_mcts.train(config)).metrics()
    assert [row["found"] for row in rows] == [0, 0]
    assert rows[0]["value_examples"] > 100 and rows[1]["by_value_model"] == 1
    run = RunFolder(rest_mcts.train(replace(config, run=tmp_path / "other", values="process")))
    assert [row["by_value_model"] for row in run.metrics()] == [0, 0]


# What is imitated


def test_the_shortest_right_episodes_are_imitated() -> None:
    tree = tree_of({"abc": True, "de": True, "f": False, "gh": True, "i": None})
    kept = rest_mcts.traces(rest_mcts.Config(traces=2), tree, 7)
    assert ["".join(turn.action.text for turn in one.turns) for one in kept] == ["de", "gh"]
    assert kept[0].policy_version == 7


# Resuming


def weights(run: Path) -> dict[str, bytes]:
    """The last checkpoint, bit by bit: both models and both optimisers."""
    latest = RunFolder(run).latest_checkpoint()
    assert latest is not None
    found = {"model": (latest[1] / "model.safetensors").read_bytes()}
    value = torch.load(latest[1] / VALUE_FILE, weights_only=True, map_location="cpu")
    optimizer = torch.load(latest[1] / "optimizer.pt", weights_only=True, map_location="cpu")
    found |= {f"value.{name}": one.numpy().tobytes() for name, one in value["module"].items()}
    for kind, state in (("optimizer", optimizer), ("value optimizer", value["optimizer"])):
        for index, parts in state["state"].items():
            found |= {f"{kind}.{index}.{name}": one.numpy().tobytes() for name, one in parts.items()}
    return found


def untimed(run: Path) -> list[dict[str, Any]]:
    return [{name: one for name, one in row.items() if "second" not in name} for row in RunFolder(run).metrics()]


def test_a_resumed_run_is_the_run_that_was_not_stopped(
    tmp_path: Path,
    taught_model: Path,
    copy_env: EnvConfig,
    copy_agent: AgentConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = config_of(
        tmp_path / "whole",
        taught_model,
        copy_env,
        copy_agent,
        loop=LoopConfig(steps=4, eval_every=2, eval_episodes=4, checkpoint_every=3, keep_checkpoints=0),
        search=SearchConfig(method="rest-mcts", trees=6, simulations=6),
        learning=LearningConfig(updates=4, batch_episodes=4, remember=True),
        value=ValueTrainingConfig(updates=5, batch=8),
    )
    rest_mcts.train(whole)
    parted = replace(whole, run=tmp_path / "parted")
    log = session.Session.log

    def interrupt(self: session.Session, row: Any, status: str = "") -> None:
        log(self, row, status)
        if self.step == 2:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(session.Session, "log", interrupt)
        rest_mcts.train(parted)
    assert list(RunFolder(parted.run).checkpoints()) == [2]
    rest_mcts.train(replace(parted, resume=True))
    assert weights(parted.run) == weights(whole.run)
    assert untimed(parted.run) == untimed(whole.run)
    assert untimed(whole.run)[2]["by_value_model"] == 1


# In use


def test_a_search_that_sees_no_outcome_opens_the_lock_by_a_run_alone(
    judge: RunFolder, tmp_path: Path, copy_model: Path
) -> None:
    """The policy is as at the start: what opens it is the value model, by its folder.

    Of 64 locks 50 were opened with each of four seeds; 50 is all whose two words were among the actions drawn, or near.
    """
    learner = load_learner(str(copy_model), STEADY, RunFolder(tmp_path))
    rules = rules_of(
        "rest-mcts", samples=16, children=8, exploration=0.02, first_value=1.0, sees_outcome=False, stop_at=None
    )

    def opened(evaluator: Evaluator) -> int:
        searcher = Searcher(rules, Budget(simulations=24), evaluator, simulations_at_once=1)
        starts = [Start(seed, split="train", sampling_seed=seed) for seed in range(16)]
        with EnvPool(LOCK.maker(), 16) as pool:
            played = play(searcher, learner.policy(AGENT), pool, starts, Setting(LOCK.full_id))
        return sum(one.success for one in played)

    untrained = rest_mcts.load_value_learner(learner, STEADY, RunFolder(tmp_path), seed=0)
    found = opened(estimate(untrained.model)), opened(estimate(load_value_model(judge.path)))
    assert found[0] <= 2 and found[1] >= 8, found


# Settings


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rollout_weight": 1.5}, "rollout_weight must lie within 0 and 1"),
        ({"traces": 0}, "traces must be at least 1"),
        ({"values": "none", "value_from": Path("runs/rest")}, "leave out --value-from"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        rest_mcts.Config(**changes)


def test_independent_samples_are_rest_em(
    tmp_path: Path, taught_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    config = config_of(
        tmp_path / "run",
        taught_model,
        copy_env,
        copy_agent,
        values="none",
        search=SearchConfig(method="best-of-n", trees=32, simulations=8),
        learning=LearningConfig(restart=True),
    )
    run = RunFolder(rest_mcts.train(config))
    assert run.metrics()[-1]["eval_sampled_score"] > 0.6
    latest = run.latest_checkpoint()
    assert latest is not None and not (latest[1] / VALUE_FILE).exists()
