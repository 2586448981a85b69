"""DigiRL: what its two filters keep, and that they are what the policy learns by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparring.errors import InvalidConfig
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import digirl
from sparring.trainers.digirl import Config, Played
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import ObjectiveConfig
from sparring.trainers.replay import Transition
from sparring.trainers.session import LoopConfig
from sparring.types import Action, Observation, Prompt


class Written(nn.Module):
    """A critic of two heads whose probability of success stands in the state: 40 is .40; one head is too hopeful."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, states: Any) -> Tensor:
        lower_B = torch.tensor([int(state[0]) / 100 for state in states]).logit()
        return torch.stack([lower_B + 1, lower_B])


def ids(value: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([value], dtype=np.int64)


def played(values: list[int], outcome: float) -> Played:
    """An episode whose turns see these values; what it ends with looks hopeless."""
    turns = [
        Transition(
            Prompt((), Observation("red"), turn=at),
            ids(value),
            Action("red"),
            ids(0),
            0.0,
            ids(following),
            at == len(values) - 1,
            0.0,
            0.0,
        )
        for at, (value, following) in enumerate(zip(values, [*values[1:], 1], strict=True))
    ]
    return Played(tuple(turns), len(turns), outcome)


def weights(one: Played) -> list[float]:
    return digirl.turn_weights(Config(), Written(), [(one, turn) for turn in one.turns])  # type: ignore[arg-type]


def test_turns_that_count() -> None:
    # Lost: .43 - .40 - .05 < 0, .50 - .43 - .05 > 0, and nothing follows the last.
    assert weights(played([40, 43, 50], 0)) == [0, 1, 0]
    # Won: the last turn has r + mc = 2; the one before mc = 1/2, which outweighs a fall by .4, but not one by .6.
    assert weights(played([80, 40], 1)) == [1, 1]
    assert weights(played([80, 20], 1)) == [0, 1]


def test_episodes_that_went_better_than_expected() -> None:
    # R - V_I: 0 - .1, 1 - .9, 1 - .2, 0 - .5.
    buffer = [played([10], 0), played([90], 1), played([20], 1), played([50], 0)]
    critic: Any = Written()
    assert digirl.kept_episodes(Config(), critic, buffer) == [buffer[2]]
    assert digirl.kept_episodes(Config(instruction_fraction=0.5), critic, buffer) == buffer[1:3]
    assert digirl.kept_episodes(Config(instruction_fraction=1), critic, buffer) == buffer


def learning(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> Config:
    return Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OptimConfig(lr=3e-3),
        critic=OptimConfig(lr=3e-3),
        loop=LoopConfig(steps=30, eval_every=30, eval_episodes=64, checkpoint_every=30),
        capacity=200,
        critic_steps=5,
        episodes=32,
    )


def success(run: Path, first: int, last: int) -> float:
    rows = [row["success"] for row in RunFolder(run).metrics() if first <= row["step"] <= last]
    return float(np.mean(rows))


def test_it_learns(tmp_path: Path, taught_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> None:
    run = digirl.train(learning(tmp_path / "run", taught_model, copy_env, copy_agent))
    # The start says one word right in two, so both in one of four; 5 steps are 160 episodes.
    assert success(run, 1, 3) < 0.45
    assert success(run, 26, 30) > 0.7


def test_it_learns_nothing_without_its_filters(
    tmp_path: Path,
    taught_model: Path,
    copy_env: EnvConfig,
    copy_agent: AgentConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(digirl, "top_fraction", lambda values_S, _: torch.ones(len(values_S), dtype=torch.bool))
    monkeypatch.setattr(digirl, "progress_weights", lambda values_K, *_: torch.ones(len(values_K)))
    config = learning(tmp_path / "run", taught_model, copy_env, copy_agent)
    run = digirl.train(replace(config, critic_steps=0, instruction_steps=0))  # nobody asks the critics
    assert success(run, 26, 30) < 0.5


def test_the_critics_learn_who_will_succeed(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    """A success in eight: the loss comes down to the entropy of that, H(1/8) = 0.377 nats, or below."""
    config = replace(
        learning(tmp_path / "run", copy_model, replace(copy_env, options={"words": "1"}), copy_agent),
        warmup_steps=8,
        critic_steps=10,
        loop=LoopConfig(steps=8, eval_every=0),
    )
    rows = RunFolder(digirl.train(config)).metrics()
    assert rows[0]["critic_loss"] > 0.45  # it begins at log 2 = 0.693
    assert rows[-1]["critic_loss"] < 0.45
    assert "loss" not in rows[-1]


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Config(episodes=0), "episodes must be at least 1"),
        (lambda: Config(gamma=-0.1), "gamma must lie within 0 and 1"),
        (lambda: Config(instruction_fraction=0), "instruction_fraction"),
        (lambda: Config(step_cost=-1), "step_cost"),
        (lambda: Config(objective=ObjectiveConfig()), "surrogate must be likelihood"),
    ],
)
def test_settings_that_do_not_fit(build: object, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        build()  # type: ignore[operator]
