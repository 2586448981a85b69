"""Self-debugging: who is asked to explain, what explanations are paid, and that a useful one is learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sparring
from sparring.agents.models.tiny import build_tiny
from sparring.envs.base import restore, snapshot
from sparring.envs.explain import ANYTHING, ASK, GO_ON
from sparring.errors import InvalidConfig
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import self_debug, sft
from sparring.trainers.demos import DemosConfig
from sparring.trainers.optim import OptimConfig
from sparring.trainers.self_debug import Config, turn_advantages, turn_rewards
from sparring.trainers.session import LoopConfig
from sparring.types import ActionSet, Trajectory
from tests.trainers.attempts import SOME, TEXTS
from tests.trainers.hand_made import episode


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "explaining"
    texts = [*TEXTS, ASK, GO_ON]
    return build_tiny(texts * 3, folder, vocabulary=320, hidden=32, layers=2, heads=2, max_context=128)


@pytest.fixture
def explained() -> EnvConfig:
    sparring.register("tests/Hinted-v1", "tests.trainers.attempts:Hinted", max_turns=5)
    return EnvConfig("tests/Hinted-v1", wrappers=("explain",))


def test_a_wrong_attempt_is_explained_before_the_next(explained: EnvConfig) -> None:
    env = explained.make()
    env.reset(seed=0)
    secret = env.unwrapped.secret  # type: ignore[attr-defined]
    wrong = next(word for word in SOME if word != secret)
    text, _, over, _, info = env.step(wrong)
    assert text == f"{secret}\n{ASK}" and not over and info["correct"] is False and info["actions"] == ANYTHING
    saved = snapshot(env)
    for _ in range(2):
        text, reward, over, _, info = env.step("I said something else")
        assert (text, reward, over) == (GO_ON, 0.0, False)
        assert info == {"actions": ActionSet(SOME), "explanation": True}
        text, reward, over, _, info = env.step(secret)
        assert reward == 1 and over and info["correct"] is True
        assert restore(env, saved)[0] == f"{secret}\n{ASK}"


def test_a_right_attempt_needs_no_explanation(explained: EnvConfig) -> None:
    env = explained.make()
    env.reset(seed=0)
    text, _, over, _, _ = env.step(env.unwrapped.secret)  # type: ignore[attr-defined]
    assert ASK not in text and not over


def explaining(*rewards: float) -> Trajectory:
    """An attempt, an explanation, an attempt."""
    one = episode([rewards[0], 0, rewards[1]], ["first", "red", "red"])
    turns = list(one.turns)
    turns[1] = replace(turns[1], info={"explanation": True})
    return replace(one, turns=tuple(turns))


def test_each_turn_is_paid_for_its_own_part() -> None:
    assert turn_rewards(explaining(0, 1), 2.0) == [-5, 2, 0]
    assert turn_rewards(explaining(0.5, 0.25), 2.0) == [-2.5, -0.5, -3.75]
    cut = explaining(0, 1)
    assert turn_rewards(replace(cut, turns=cut.turns[:2]), 2.0) == [-5, 0]


def test_turns_are_compared_with_their_like() -> None:
    episodes = [(0, explaining(0, 1)), (0, explaining(0, 0)), (0, episode([1, 1], ["first", "red"]))]
    found = [one.tolist() for one in turn_advantages(Config(), episodes)]
    # First attempts -5, -5, 0; explanations 1, 0; last attempts 0, -5; the second attempt of the third has no like.
    assert found == [[-2.5, 1, 5], [-2.5, -1, -5], [5, 0]]


def test_without_the_wrapper_nothing_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="put explain among"):
        self_debug.train(Config(run=tmp_path / "run"))


@pytest.fixture(scope="module")
def taught(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a model that imitated an expert who errs at a rate of 0.6, and explains by naming the word."""
    sparring.register("tests/Hinted-v1", "tests.trainers.attempts:Hinted", max_turns=5)
    return sft.train(
        sft.Config(
            run=tmp_path_factory.mktemp("models") / "taught",
            model=str(model),
            env=EnvConfig("tests/Hinted-v1", wrappers=("explain",)),
            agent=AgentConfig(max_action_tokens=4),
            demos=DemosConfig("expert:0.6", episodes=1000),
            optim=OptimConfig(lr=2e-3),
            loop=LoopConfig(steps=300, eval_every=0, checkpoint_every=300),
        )
    )


def second_accuracy(folder: Path, model: Path, env: EnvConfig) -> float:
    run = self_debug.train(
        Config(
            run=folder / "run",
            model=str(model),
            env=env,
            agent=AgentConfig(max_action_tokens=4),
            optim=OptimConfig(lr=3e-3, warmup_steps=3),
            loop=LoopConfig(steps=40, eval_every=40, eval_episodes=128, checkpoint_every=40),
            groups=8,
            group_size=8,
        )
    )
    return float(RunFolder(run).metrics()[-1]["eval_sampled_t2"])


def test_attempts_after_explanations_learn(tmp_path: Path, taught: Path, explained: EnvConfig) -> None:
    assert second_accuracy(tmp_path, taught, explained) > 0.75


def test_nothing_is_learned_without_rewards(
    tmp_path: Path, taught: Path, explained: EnvConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(rewards_K: torch.Tensor, *_: Any) -> torch.Tensor:
        return torch.zeros(len(rewards_K))

    monkeypatch.setattr(self_debug, "attempt_advantages", nothing)
    assert second_accuracy(tmp_path, taught, explained) < 0.5  # the start imitates noise, and is right at a rate of 0.3
