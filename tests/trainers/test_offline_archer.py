"""Offline ArCHer: its critic's loss by hand, that the policy learns from the critic, and what follows online."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparring.agents.models.critic import UtteranceCritic
from sparring.errors import InvalidConfig, InvalidData
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import archer, offline_archer
from sparring.trainers.critic import CriticLearner
from sparring.trainers.demos import DemosConfig
from sparring.trainers.offline_archer import Config
from sparring.trainers.optim import OptimConfig, build_optimizer
from sparring.trainers.policy_update import ObjectiveConfig
from sparring.trainers.replay import Transition
from sparring.trainers.session import LoopConfig
from sparring.trainers.turn_critic import TurnCriticConfig
from sparring.types import Action, Observation, Prompt


class Blank(nn.Module):
    """A reader that sees nothing."""

    state_width = utterance_width = 1

    def read_states(self, states: Sequence[Any]) -> Tensor:
        return torch.zeros(len(states), 1)

    def read(self, states: Sequence[Any], utterances: Sequence[Any]) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(states), 1), torch.zeros(len(states), 1)

    def read_siblings(self, states: Sequence[Any], utterances: Sequence[Sequence[Any]]) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(states), 1), torch.zeros(sum(map(len, utterances)), 1)


def constant_critic(q: float, v: float) -> UtteranceCritic:
    """A critic whose first heads say q and v of everything, and the second ones 1 more."""
    critic = UtteranceCritic(Blank())
    for heads, value in ((critic.q_heads, q), (critic.v_heads, v)):
        for number, head in enumerate(heads):
            nn.init.constant_(head[-1].bias, value + number)  # type: ignore[index]
    return critic


def transition(reward: float, *, terminated: bool) -> Transition:
    ids = np.array([1, 2], dtype=np.int64)
    prompt = Prompt((), Observation("red"))
    return Transition(prompt, ids, Action("red"), ids, reward, ids, terminated, reward, reward)


@pytest.mark.parametrize("budget", [1, 1000])
def test_the_loss_of_the_critic(budget: int) -> None:
    # Critic: Q = (1, 2), V = (0, 1). Target: Q' = (3, 4), V' = (-1, 0). gamma = .5, expectile = .9, rewards 2 and 0,
    # the second turn being an end.
    # Targets of Q: 2 - .5 = 1.5 and 2 + 0 = 2 on the first turn, 0 and 0 on the second;
    # Q loss: 1/2 (.25 + 0 + 1 + 4) = 2.625. V lies below its target by 3 for both heads, on both turns:
    # .9 · 9 · 4 = 32.4. Together, over two turns: 17.5125.
    critic = constant_critic(1, 0)
    config = Config(gamma=0.5, critic=OptimConfig(micro_batch_tokens=budget))
    learner = CriticLearner(critic, build_optimizer(critic, config.critic), config.critic, constant_critic(3, -1))
    part = [transition(2, terminated=False), transition(0, terminated=True)]
    loss = offline_archer.add_critic_gradients(config, learner, part)
    assert loss == pytest.approx(17.5125)
    # d/dQ = (1 - 1.5 + 1 - 0) / 2 and (2 - 2 + 2 - 0) / 2; d/dV = -2 · .9 · 3.
    biases = [head[-1].bias.grad.item() for heads in (critic.q_heads, critic.v_heads) for head in heads]
    assert biases == pytest.approx([0.25, 1, -5.4, -5.4])


def learning(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> Config:
    """From data that is worse than the start: right at a rate of 0.3 + 0.7/8 = 0.39."""
    return Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OptimConfig(lr=3e-3),
        critic=OptimConfig(lr=3e-3),
        demos=DemosConfig("expert:0.7", episodes=300),
        loop=LoopConfig(steps=60, eval_every=60, eval_episodes=64, checkpoint_every=60),
        beta=10,
        critic_steps=3,
    )


def test_it_learns_the_better_half_of_its_data(
    tmp_path: Path, taught_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    run = offline_archer.train(learning(tmp_path / "run", taught_model, copy_env, copy_agent))
    last = RunFolder(run).metrics()[-1]
    assert last["eval_sampled_score"] > 0.65
    assert last["weight_mean"] > 0 and last["weight_capped"] < 0.5


def test_without_a_critic_it_is_imitation(
    tmp_path: Path, taught_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    config = replace(learning(tmp_path / "run", taught_model, copy_env, copy_agent), critic_steps=0)
    last = RunFolder(offline_archer.train(config)).metrics()[-1]
    assert last["weight_mean"] == 1
    assert last["eval_sampled_score"] == pytest.approx(0.39, abs=0.15)  # 128 words: standard error 0.04


def test_online_begins_with_what_was_learned_offline(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    """The path of WSRL: policy and critic go on, the data does not, and the policy waits for the critic."""
    loop = LoopConfig(steps=3, eval_every=0)
    offline = offline_archer.train(
        replace(
            learning(tmp_path / "offline", copy_model, copy_env, copy_agent),
            demos=DemosConfig("random", episodes=20),
            loop=loop,
            warmup_steps=0,
        )
    )
    folder = offline / "checkpoints" / "step-3"
    config = archer.Config(
        run=tmp_path / "online",
        model=str(offline),
        env=copy_env,
        agent=copy_agent,
        loop=replace(loop, steps=2),
        values=TurnCriticConfig(critic_from=folder, critic_steps=0),
        warmup_steps=2,
        episodes=4,
    )
    archer.train(config)
    rows = RunFolder(config.run).metrics()
    assert rows[-1]["replay_turns"] == 2 * 4 * 2  # what was played online, and nothing else
    after = config.run / "checkpoints" / "step-2"
    assert (after / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    offline_critic, online_critic = (
        torch.load(one / "critic.pt", weights_only=True, map_location="cpu") for one in (folder, after)
    )
    assert online_critic["module"].keys() == offline_critic["module"].keys()
    for name, one in offline_critic["module"].items():
        assert torch.equal(online_critic["module"][name], one)
        assert torch.equal(online_critic["target"][name], one)


@pytest.mark.parametrize("content", [None, b"no weights", pickle.dumps(print, protocol=2)])
def test_a_folder_without_a_critic_is_named(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig, content: bytes | None
) -> None:
    started = tmp_path / "start"
    shutil.copytree(copy_model, started)
    if content is not None:
        (started / "critic.pt").write_bytes(content)
    config = archer.Config(
        run=tmp_path / "run",
        model=str(copy_model),
        env=copy_env,
        agent=copy_agent,
        values=TurnCriticConfig(critic_from=started),
    )
    with pytest.raises(InvalidData, match="holds no critic"):
        archer.train(config)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Config(beta=-1), "beta must be at least 0"),
        (lambda: Config(gamma=1.1), "gamma must lie within 0 and 1"),
        (lambda: Config(expectile=1), "expectile must lie between"),
        (lambda: Config(max_weight=0), "max_weight"),
        (lambda: Config(objective=ObjectiveConfig()), "surrogate must be likelihood"),
    ],
)
def test_settings_that_do_not_fit(build: object, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        build()  # type: ignore[operator]
