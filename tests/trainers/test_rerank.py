"""Reranking by a critic: the policies' contract, what is picked, and that a run can be played so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparring.agents.hf import HFPolicy
from sparring.agents.load import load_agent
from sparring.agents.models.critic import build_utterance_critic
from sparring.agents.prompts import build
from sparring.agents.rerank import RerankPolicy
from sparring.errors import InvalidConfig, InvalidData, UnknownName
from sparring.settings import AgentConfig, EnvConfig
from sparring.testing import check_policy
from sparring.trainers import offline_archer
from sparring.trainers.demos import DemosConfig
from sparring.trainers.evaluate import evaluate
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig
from sparring.types import ActionSet, Observation, Prompt
from tests.worlds import WORDS


@pytest.fixture(scope="module")
def proposer(copy_model: Path) -> HFPolicy:
    return HFPolicy.from_folder(copy_model, max_new_tokens=8)


def prompts() -> list[Prompt]:
    made = []
    for number in range(4):
        observation = Observation("red " * (1 + 3 * number), ActionSet(WORDS))
        messages = build([], observation, instruction="Say the word.")
        made.append(Prompt(messages, observation, "Say the word.", f"episode-{number}", 0, (number, 1, 0)))
    return made


class Likes(nn.Module):
    """A critic of which one head likes some words and the other everything."""

    def __init__(self, proposer: HFPolicy, *words: str) -> None:
        super().__init__()
        self.proposer, self.words = proposer, words

    def forward(self, states: Any, utterances: Any) -> tuple[Tensor, Tensor]:
        said = [self.proposer.vocabulary.decode(one[:-1].tolist()).strip() for one in utterances]
        lower_B = torch.tensor([float(word in self.words) for word in said])
        return torch.stack([torch.full_like(lower_B, 2.0), lower_B]), torch.zeros(2, len(said))


def test_the_contract_of_policies(proposer: HFPolicy) -> None:
    critic = build_utterance_critic("actor", proposer.model, proposer.vocabulary.decode)
    check_policy(RerankPolicy(proposer, critic, proposals=3), prompts())


def test_what_the_lower_head_likes_is_picked(proposer: HFPolicy) -> None:
    few, many = (RerankPolicy(proposer, Likes(proposer, "teal"), proposals=n) for n in (1, 40))  # type: ignore[arg-type]
    asked = [replace(prompts()[0], seed=(number,)) for number in range(16)]
    # Among 40 words of eight, teal is missing once in 200 times.
    assert sum(one.text == "teal" for one in many.act(asked)) >= 15
    assert sum(one.text == "teal" for one in few.act(asked)) < 10


def test_equal_values_leave_the_first_proposal(proposer: HFPolicy) -> None:
    policy = RerankPolicy(proposer, Likes(proposer), proposals=5)  # type: ignore[arg-type]
    first = proposer.act([replace(one, seed=(*one.seed, 0)) for one in prompts()])
    assert [one.text for one in policy.act(prompts())] == [one.text for one in first]


def test_settings_that_do_not_fit(proposer: HFPolicy) -> None:
    critic: Any = Likes(proposer)
    with pytest.raises(InvalidConfig, match="proposals must be at least 1"):
        RerankPolicy(proposer, critic, proposals=0)
    with pytest.raises(InvalidConfig, match="one that samples"):
        RerankPolicy(HFPolicy(proposer.model, proposer.tokenizer, greedy=True), critic)


@pytest.fixture(scope="module")
def critic_run(taught_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained its critic alone: the policy is still that of its start."""
    loop = LoopConfig(steps=50, eval_every=0)
    return offline_archer.train(
        offline_archer.Config(
            run=tmp_path_factory.mktemp("runs") / "critic",
            model=str(taught_model),
            env=EnvConfig("tests/Copy-v1"),
            agent=AgentConfig(max_action_tokens=8),
            critic=OptimConfig(lr=3e-3),
            demos=DemosConfig("expert:0.5", episodes=300),
            loop=loop,
            warmup_steps=50,
            critic_steps=4,
        )
    )


def test_a_trained_critic_beats_its_proposer(critic_run: Path) -> None:
    from sparring.envs.pool import EnvPool
    from sparring.rollout import Setting, Start

    setting = Setting("tests/Copy-v1")
    starts = [Start(seed, split="train", sampling_seed=seed) for seed in range(64)]
    scores = {}
    for spec in (f"chai:{critic_run}:n=1", f"chai:{critic_run}", f"chai:{critic_run}:from=start"):
        agent = load_agent(spec)
        assert agent.name == spec and agent.source == "checkpoints/step-50"
        with EnvPool(EnvConfig("tests/Copy-v1").maker(), 32) as pool:
            scores[spec.removeprefix(f"chai:{critic_run}")] = evaluate(agent.policy, pool, starts, setting).score
    assert scores[""] > scores[":n=1"] + 0.15
    assert scores[":from=start"] == scores[""]  # the policy never moved


def test_runs_that_can_not_be_played_so(tmp_path: Path, taught_model: Path, critic_run: Path) -> None:
    with pytest.raises(InvalidData, match="holds no critic of utterances"):
        load_agent(f"chai:{taught_model}")
    with pytest.raises(UnknownName, match="no run"):
        load_agent(f"chai:{tmp_path / 'none'}")
    with pytest.raises(UnknownName, match="option"):
        load_agent(f"chai:{critic_run}:m=3")
    with pytest.raises(InvalidConfig, match="n=NUMBER"):
        load_agent(f"chai:{critic_run}:n=few")


def test_actions_without_tokens_are_never_preferred(proposer: HFPolicy) -> None:
    """Prompts that leave no room are answered by an empty action, whatever the critic would say."""
    tight = HFPolicy(proposer.model, proposer.tokenizer, max_new_tokens=8, max_context=20)
    actions = RerankPolicy(tight, Likes(proposer, "red")).act(prompts())  # type: ignore[arg-type]
    assert [one.stop for one in actions][-1] == "context"
    assert np.isfinite([value for one in actions for value in one.logprobs]).all()
