"""The critic over turns: twin Q and V regressed on replayed transitions, as ArCHer and what is built on it need it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparring.agents.hf import HFPolicy
from sparring.agents.models.critic import UtteranceCritic
from sparring.errors import InvalidConfig
from sparring.trainers.batch import Ints, cut_by_length
from sparring.trainers.critic import CriticLearner, state_values, utterance_values
from sparring.trainers.losses import generalized_advantages
from sparring.trainers.replay import Replay, Transition, draw, ids_of
from sparring.trainers.session import entropy


@dataclass(frozen=True, slots=True)
class TurnCriticConfig:
    """How the critic learns. Its optimiser is configured apart."""

    gamma: float = 0.95
    """Discount from turn to turn."""
    tau: float = 0.1
    """Share of the way that the target critic goes towards the critic after each of its steps."""
    bootstrap: bool = True
    """Value what follows an episode that was cut short."""
    critic_steps: int = 30
    """Optimiser steps of the critic in a step."""
    critic_batch: int = 64
    """Turns in each."""
    fresh_actions: int = 4
    """Utterances drawn in each replayed state, for V and for the policy."""
    foresight: float = 1.0
    """Weight of a further loss of the critic: to foresee what the environment answers. It teaches the encoder what an
    utterance does, of which a few hundred returns say little. For the encoder "actor" alone; 0 for none."""
    encoder: str = "actor"
    """The critic's: a copy of the policy's decoder, or the folder of an encoder such as RoBERTa."""
    critic_from: Path | None = None
    """Begin with the critic of another run's checkpoint folder (same encoder), say one trained offline."""

    def __post_init__(self) -> None:
        for name, low in (("critic_steps", 0), ("critic_batch", 1), ("fresh_actions", 1), ("foresight", 0)):
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        for name in ("gamma", "tau"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidConfig(f"{name} must lie within 0 and 1, got {getattr(self, name)}")
        if self.foresight and self.encoder != "actor":
            raise InvalidConfig("an encoder that reads text has no foresight: add --foresight 0 to --encoder FOLDER")


def begin(config: TurnCriticConfig, critic: CriticLearner[UtteranceCritic], replay: Replay) -> None:
    """Let a critic that has learned nothing yet expect the mean discounted return of what was played."""
    if critic.steps or config.critic_from is not None:
        return
    mean = float(np.mean([replay[index].to_go for index in range(len(replay))]))
    critic.module.start_at(mean)
    if critic.target is not None:
        critic.target.start_at(mean)


def fit_critic(
    config: TurnCriticConfig,
    critic: CriticLearner[UtteranceCritic],
    policy: HFPolicy,
    replay: Replay,
    *,
    seed: int,
    step: int,
    progress: float,
) -> dict[str, float]:
    """Take the critic's optimiser steps of one step; return what to log about them.

    Raises:
        Diverged: a gradient was not finite.
    """
    rng = np.random.default_rng(entropy(seed, step, "replay"))
    plan = rng.integers(len(replay), size=(config.critic_steps, config.critic_batch))
    needed, places = np.unique(plan, return_inverse=True)
    kept = [replay[int(index)] for index in needed]
    drawn = draw(policy, [one for one in kept for _ in range(config.fresh_actions)], seed, step, "v-fresh")
    fresh = [ids_of(drawn[at : at + config.fresh_actions]) for at in range(0, len(drawn), config.fresh_actions)]
    losses, norms = [], []
    for rows in places.reshape(plan.shape):
        part = [kept[row] for row in rows]
        loss = _add_critic_gradients(config, critic, part, [fresh[row] for row in rows])
        losses.append(loss)
        norms.append(critic.take_step(progress, config.tau))
    return {
        "critic_loss": float(np.mean(losses)) if losses else math.nan,
        "critic_grad_norm": float(np.mean(norms)) if norms else math.nan,
        "replay_turns": float(len(replay)),
    }


def _add_critic_gradients(
    config: TurnCriticConfig,
    critic: CriticLearner[UtteranceCritic],
    part: Sequence[Transition],
    fresh: Sequence[Sequence[Ints]],
) -> float:
    """Add the gradient of the regression on some transitions; return its loss."""
    assert critic.target is not None
    budget = critic.config.micro_batch_tokens
    states = [one.state_T for one in part]
    rewards_B = torch.tensor([one.reward for one in part])
    goes_on_B = torch.tensor([not one.terminated for one in part], dtype=torch.float32)
    next_2B = state_values(critic.target, [one.next_T for one in part], budget).cpu()
    q_targets_2B = rewards_B + config.gamma * goes_on_B * next_2B
    q_fresh_2BK, _ = utterance_values(
        critic.target,
        [state for state in states for _ in range(config.fresh_actions)],
        [one for options in fresh for one in options],
        budget,
    )
    v_targets_2B = q_fresh_2BK.cpu().view(2, len(part), config.fresh_actions).mean(-1)
    total = 0.0
    foresees = config.foresight > 0
    lengths = [len(one.state_T) + len(one.utterance_T) + foresees * len(_news(one)) for one in part]
    for rows in cut_by_length(lengths, budget):
        q_2B, v_2B, foreseen = critic.module(
            [states[row] for row in rows],
            [part[row].utterance_T for row in rows],
            [_news(part[row]) for row in rows] if foresees else None,
        )
        q_loss = ((q_2B - q_targets_2B[:, rows].to(q_2B.device)) ** 2).sum()
        v_loss = ((v_2B - v_targets_2B[:, rows].to(v_2B.device)) ** 2).sum()
        loss = (q_loss + v_loss + config.foresight * len(rows) * foreseen) / len(part)
        loss.backward()
        total += loss.item()
    return total


def _news(turn: Transition) -> Ints:
    """What the environment answered: the tokens of the next prompt that this one and the utterance do not hold."""
    before = np.concatenate([turn.state_T, turn.utterance_T])
    if len(turn.next_T) > len(before) and np.array_equal(turn.next_T[: len(before)], before):
        return turn.next_T[len(before) :]
    return turn.next_T


def critic_fit(critic: CriticLearner[UtteranceCritic], fresh: Sequence[Transition]) -> dict[str, float]:
    """How far the critic's view of the step's own turns is from what came of them, to be logged."""
    if not fresh:
        return {}
    q_2B, v_2B = utterance_values(
        critic.module,
        [one.state_T for one in fresh],
        [one.utterance_T for one in fresh],
        critic.config.micro_batch_tokens,
    )
    to_go_B = torch.tensor([one.to_go for one in fresh])
    spread = float(to_go_B.var(correction=0))
    return {
        "q_mean": float(q_2B.mean()),
        "v_mean": float(v_2B.mean()),
        "q_disagreement": float((q_2B[0] - q_2B[1]).abs().mean()),
        "to_go_mean": float(to_go_B.mean()),
        "q_explains": 1 - float((to_go_B - q_2B.mean(0).cpu()).var(correction=0)) / spread if spread else math.nan,
    }


def turn_advantages(
    config: TurnCriticConfig,
    critic: CriticLearner[UtteranceCritic],
    played: Sequence[Sequence[Transition]],
    lam: float,
) -> Tensor:
    """Generalised advantages of the turns of some episodes, in order, with V as the mean of the critic's two.

    Args:
        played: the turns of each episode. lam: how far to trust rewards over V.
    Returns:
        float32, one a turn.
    """
    turns = [one for episode in played for one in episode]
    if not turns:
        return torch.zeros(0)
    budget = critic.config.micro_batch_tokens
    values_K = state_values(critic.module, [one.state_T for one in turns], budget).mean(0).cpu()
    ends_K = torch.zeros(len(turns), dtype=torch.bool)
    ends_K[torch.tensor([len(episode) for episode in played if episode]).cumsum(0) - 1] = True
    last = [episode[-1] for episode in played if episode]
    after_E = state_values(critic.module, [one.next_T for one in last], budget).mean(0).cpu()
    bootstrap_K = torch.zeros(len(turns))
    bootstrap_K[ends_K] = after_E * torch.tensor([not one.terminated for one in last])
    rewards_K = torch.tensor([one.reward for one in turns])
    advantages_K, _ = generalized_advantages(rewards_K, values_K, ends_K, bootstrap_K, gamma=config.gamma, lam=lam)
    return advantages_K
