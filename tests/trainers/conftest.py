"""A model of some 50,000 parameters, and the world of `tests.worlds.Copy` for it to learn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import sparring
from sparring.agents.models.tiny import build_tiny
from sparring.settings import AgentConfig, EnvConfig
from tests.worlds import WORDS


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small lose by a second thread, and lose much where other work runs beside the tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def copy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights, whose tokenizer knows the world's words."""
    return build_tiny(
        ["Say the word.", *WORDS] * 3,
        tmp_path_factory.mktemp("models") / "copy",
        vocabulary=300,
        hidden=32,
        layers=2,
        heads=2,
        max_context=128,
    )


@pytest.fixture
def copy_env() -> EnvConfig:
    """Two words shown one after the other, each to be said; a random agent is right once in eight times."""
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=5)
    return EnvConfig("tests/Copy-v1")


@pytest.fixture
def copy_agent() -> AgentConfig:
    return AgentConfig(max_action_tokens=8)


@pytest.fixture(scope="session")
def taught_model(copy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a model that imitated an expert who errs at a rate of 0.6, right at a rate of 0.4 + 0.6/8 = 0.475."""
    from sparring.trainers import sft
    from sparring.trainers.optim import OptimConfig
    from sparring.trainers.session import LoopConfig

    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=5)
    return sft.train(
        sft.Config(
            run=tmp_path_factory.mktemp("models") / "taught",
            model=str(copy_model),
            env=EnvConfig("tests/Copy-v1"),
            agent=AgentConfig(max_action_tokens=8),
            demos=sft.DemosConfig("expert:0.6", episodes=400),
            optim=OptimConfig(lr=4e-3),
            loop=LoopConfig(steps=200, eval_every=0, checkpoint_every=200),
        )
    )
