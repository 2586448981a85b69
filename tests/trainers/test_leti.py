"""LeTI: the word on an answer stands before it, and asking for good answers gets them once that was learned."""

from __future__ import annotations

from pathlib import Path

import pytest

import sparring
from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.agents.models.tiny import build_tiny
from sparring.envs.reward_token import BAD, GOOD, judged, special_tokens
from sparring.errors import InvalidConfig
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import leti, sft
from sparring.trainers.demos import DemosConfig
from sparring.trainers.leti import Config, records_of
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rounds import LearningConfig, lessons_of
from sparring.trainers.session import LoopConfig
from tests.trainers.attempts import TEXTS
from tests.trainers.hand_made import episode

AGENT = AgentConfig(max_action_tokens=8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(
        list(TEXTS) * 3,
        tmp_path_factory.mktemp("models") / "marked",
        vocabulary=300,
        hidden=32,
        layers=2,
        heads=2,
        max_context=128,
        special_tokens=special_tokens(),
    )


@pytest.fixture
def hinted() -> EnvConfig:
    sparring.register("tests/Hinted-v1", "tests.trainers.attempts:Hinted", max_turns=5)
    return EnvConfig("tests/Hinted-v1", wrappers=("reward-token",))


def test_every_question_asks_for_a_good_answer(hinted: EnvConfig) -> None:
    env = hinted.make()
    text, _ = env.reset(seed=0)
    assert text == f"first\n{GOOD}"
    text, *_ = env.step("red")
    assert text.endswith(f"\n{GOOD}")
    text, *_ = env.step("red")
    assert text == "done"


def test_the_word_takes_the_place_of_the_token() -> None:
    assert judged(f"4 + 4\n{GOOD}", is_good=False, feedback="too long") == f"4 + 4\n{BAD} too long"
    assert judged(f"4 + 4\n{GOOD}", is_good=True, feedback="right") == f"4 + 4\n{GOOD}"
    assert judged("4 + 4", is_good=False) == f"4 + 4\n{BAD}"


def test_each_answer_is_learned_behind_its_word(model: Path) -> None:
    played = episode([0, 1], [f"first\n{GOOD}", f"red\n{GOOD}"], said=["green", "red"])
    first, second = records_of(Config(), played)
    assert [turn.observation.text for turn in first.trajectory.turns] == [f"first\n{BAD} red"]
    assert [turn.observation.text for turn in second.trajectory.turns] == [f"first\n{GOOD}", f"red\n{GOOD}"]
    assert (first.trained, second.trained) == (frozenset({0}), frozenset({1}))
    [plain, _] = records_of(Config(feedback=False), played)
    assert plain.trajectory.turns[0].observation.text == f"first\n{BAD}"
    policy = HFPolicy(*load_model(model), max_new_tokens=8)
    assert len(lessons_of([first, second], policy, AGENT)) == 2
    assert len(policy.chat.vocabulary.encode(GOOD)) == len(policy.chat.vocabulary.encode(BAD)) == 1


def test_without_the_wrapper_nothing_asks_for_good_answers(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="put reward-token last"):
        leti.train(Config(run=tmp_path / "run", env=EnvConfig("Copy-v1")))


@pytest.fixture(scope="module")
def taught(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a model that imitated an expert who errs at a rate of 0.6, right at a rate of 0.4 + 0.6/4 = 0.55."""
    sparring.register("tests/Hinted-v1", "tests.trainers.attempts:Hinted", max_turns=5)
    return sft.train(
        sft.Config(
            run=tmp_path_factory.mktemp("models") / "taught",
            model=str(model),
            env=EnvConfig("tests/Hinted-v1", wrappers=("reward-token",)),
            agent=AGENT,
            demos=DemosConfig("expert:0.6", episodes=400),
            optim=OptimConfig(lr=4e-3),
            loop=LoopConfig(steps=200, eval_every=0, checkpoint_every=200),
        )
    )


def second_accuracy(folder: Path, taught: Path, env: EnvConfig) -> float:
    run = leti.train(
        Config(
            run=folder / "run",
            model=str(taught),
            env=env,
            agent=AGENT,
            optim=OptimConfig(lr=2e-3, warmup_steps=3),
            loop=LoopConfig(steps=2, eval_every=2, eval_episodes=128, checkpoint_every=2),
            # The world is so small that different episodes are few: a round learns from some 80, many times.
            learning=LearningConfig(updates=150, max_passes=40),
            groups=128,
            group_size=2,
        )
    )
    return float(RunFolder(run).metrics()[-1]["eval_sampled_t2"])


def test_asking_for_good_answers_gets_them(tmp_path: Path, taught: Path, hinted: EnvConfig) -> None:
    assert second_accuracy(tmp_path, taught, hinted) > 0.8


def test_behind_the_same_word_nothing_is_learned(
    tmp_path: Path, taught: Path, hinted: EnvConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leti, "judged", lambda text, **_: text)
    assert second_accuracy(tmp_path, taught, hinted) < 0.68  # 0.55, with a standard error of 0.044
