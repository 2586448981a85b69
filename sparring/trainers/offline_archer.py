"""Offline ArCHer: a critic over turns, and a policy that imitates what beats its expectation, without any playing.

    python -m sparring.trainers.offline_archer --model runs/first --run runs/offline --data runs/first/trajectories
    python -m sparring.trainers.offline_archer --model runs/first --run runs/offline --demos.agent random
    python -m sparring.trainers.offline_archer --run runs/offline --resume

The offline variant in the released code of ArCHer (arXiv:2402.19446): implicit Q-learning (IQL, arXiv:2110.06169) over
whole utterances, and advantage-weighted regression (AWR, arXiv:1910.00177) of the policy,

    Q_i(h, a) -> r + gamma (1 - terminated) V'_i(h'),     V_i(h) -> the tau-expectile of Q'_i(h, a) over the data's a,
    loss = - min(exp(beta mean_i (Q_i - V_i)), cap) log policy(a | h).

Nothing is asked of the policy or the environment: no utterance outside the data is ever valued.

What follows it online begins with both, forgets the data, and lets the critic find its feet on what the frozen policy
plays (as in WSRL, arXiv:2412.07762):

    sparring train archer --model runs/offline --critic-from runs/offline/checkpoints/step-500 --warmup-steps 10

Departures from the released code:
1. Twin Q and V stay apart, each V following its own Q and no minimum anywhere, and the policy sees their mean.
2. The weight of an utterance is held at `--max-weight`; the released code has no bound.
3. Batches are averaged; the rest is as `archer` has it (its departures 1 to 6), the critic's shape included.
4. `--beta` is on the scale of the rewards: where a good turn is worth .1 more than an average one, 1 prefers nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from sparring.agents.hf import HFPolicy
from sparring.agents.models.critic import UtteranceCritic, build_utterance_critic
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.batch import cut_by_length
from sparring.trainers.checkpoint import Learner, load_learner
from sparring.trainers.collect import shared_setting
from sparring.trainers.command import run_command, run_module
from sparring.trainers.critic import CriticLearner, load_critic, state_values, utterance_values
from sparring.trainers.demos import DemosConfig, demonstrations
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.losses import awr_weights, expectile_loss
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import Lesson, ObjectiveConfig, update_policy
from sparring.trainers.replay import Transition, as_sample, transitions_of
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads, entropy


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of an offline ArCHer run."""

    run: Path = Path("runs/offline_archer")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint)."""
    env: EnvConfig = field(default_factory=EnvConfig)
    """Of the data, and of the evaluations."""
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=3e-4))
    critic: OptimConfig = field(default_factory=lambda: OptimConfig(lr=1e-3))
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LoopConfig)
    objective: Annotated[ObjectiveConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: ObjectiveConfig(surrogate="likelihood", aggregation="seq-mean-token-sum")
    )
    demos: DemosConfig = field(default_factory=DemosConfig)
    seed: int = 0
    """Of demonstrations, batches and the critic's heads."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    data: Path | None = None
    """Trajectories to learn from: a .jsonl.zst file or a folder of them; by default `demos` plays them."""
    warmup_steps: int = 10
    """First steps in which the critic alone learns."""
    gamma: float = 0.99
    """Discount from turn to turn."""
    tau: float = 0.05
    """Share of the way that the target critic goes towards the critic after each of its steps."""
    bootstrap: bool = True
    """Value what follows an episode that was cut short."""
    expectile: float = 0.9
    """Which expectile of Q is a state's value: 0.5 that of the data's own policy, towards 1 that of the best action
    in the data (and of luck, where the environment is random)."""
    beta: float = 1.0
    """How strongly better utterances are preferred; 0 imitates all alike."""
    max_weight: float = 100.0
    """Bound on what one utterance counts."""
    critic_steps: int = 5
    """Optimiser steps of the critic in a step."""
    critic_batch: int = 64
    """Turns in each."""
    actor_turns: int = 64
    """Turns that the policy imitates in a step."""
    encoder: str = "actor"
    """The critic's: a copy of the policy's decoder, or the folder of an encoder such as RoBERTa."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (
            ("warmup_steps", 0), ("critic_steps", 0), ("critic_batch", 1), ("actor_turns", 1), ("beta", 0),
            ("lora_rank", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        for name in ("gamma", "tau"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidConfig(f"{name} must lie within 0 and 1, got {getattr(self, name)}")
        if not 0 < self.expectile < 1:
            raise InvalidConfig(f"expectile must lie between 0 and 1, got {self.expectile}")
        if self.max_weight <= 0:
            raise InvalidConfig(f"max_weight must be above 0, got {self.max_weight}")
        if self.objective.surrogate != "likelihood" or self.objective.kl_coef:
            raise InvalidConfig("offline_archer imitates: its surrogate must be likelihood and kl_coef 0")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, the settings don't fit together, or
            no turn of the data fits the model's context.
        InvalidData: `data` holds no trajectories.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "offline_archer", replace(config, resume=False), resume=config.resume) as run:
        played = demonstrations(config.demos, run, config.env, config.setting, data=config.data, seed=config.seed)
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        policy = learner.policy(config.agent)
        critic = load_critic(
            lambda: build_utterance_critic(config.encoder, learner.model, policy.vocabulary.decode),
            config.critic,
            run,
            seed=config.seed,
            has_target=True,
        )
        turns = [
            one
            for episode in played
            for one in transitions_of(
                episode, policy, gamma=config.gamma, system=config.agent.system, bootstrap=config.bootstrap
            )
        ]
        if not turns:
            raise InvalidConfig(
                f"no turn of the {len(played)} episodes fits the model's context of {policy.max_context} tokens: "
                "show less (--agent.memory, --env.wrappers), or take a model with a longer context"
            )
        if not critic.steps:
            start_at_mean(critic, turns)
        _train(config, run, learner, policy, critic, turns)
    return config.run


def _train(
    config: Config,
    run: RunFolder,
    learner: Learner,
    policy: HFPolicy,
    critic: CriticLearner[UtteranceCritic],
    turns: Sequence[Transition],
) -> None:
    """The loop."""

    def write(folder: Path) -> None:
        learner.write(folder)
        critic.write(folder)

    with (
        cpu_threads(learner.model, config.loop.threads),
        Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        Session("offline_archer", run, config.loop) as session,
    ):
        for step in session.steps():
            with session.timed("critic"):
                row = fit_critic(config, critic, turns, step, session.progress)
            if step > config.warmup_steps:
                with session.timed("update"):
                    row |= improve(config, learner, policy, critic, turns, step, session.progress)
                    policy.weights_changed()
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            session.log(row, status=f"critic loss {row['critic_loss']:.4f}")
            session.save_if_due(write)
        session.finish(write)


def start_at_mean(critic: CriticLearner[UtteranceCritic], turns: Sequence[Transition]) -> None:
    """Let a critic that has learned nothing yet expect the mean discounted return of the data."""
    for one in (critic.module, critic.target):
        if one is not None:
            one.start_at(float(np.mean([turn.to_go for turn in turns])))


def fit_critic(
    config: Config, critic: CriticLearner[UtteranceCritic], turns: Sequence[Transition], step: int, progress: float
) -> dict[str, float]:
    """Take the critic's optimiser steps of one step; return what to log about them.

    Raises:
        Diverged: a gradient was not finite.
    """
    rng = np.random.default_rng(entropy(config.seed, step, "critic"))
    losses, norms = [], []
    for indices in rng.integers(len(turns), size=(config.critic_steps, config.critic_batch)):
        losses.append(add_critic_gradients(config, critic, [turns[int(index)] for index in indices]))
        norms.append(critic.take_step(progress, config.tau))
    return {
        "critic_loss": float(np.mean(losses)) if losses else math.nan,
        "critic_grad_norm": float(np.mean(norms)) if norms else math.nan,
    }


def add_critic_gradients(config: Config, critic: CriticLearner[UtteranceCritic], part: Sequence[Transition]) -> float:
    """Add the gradient of the IQL loss on some turns; return the loss."""
    assert critic.target is not None
    budget = config.critic.micro_batch_tokens
    states, utterances = [one.state_T for one in part], [one.utterance_T for one in part]
    next_2B = state_values(critic.target, [one.next_T for one in part], budget)
    rewards_B = torch.tensor([one.reward for one in part], device=next_2B.device)
    goes_on_B = torch.tensor([not one.terminated for one in part], device=next_2B.device)
    q_targets_2B = rewards_B + config.gamma * goes_on_B * next_2B
    v_targets_2B, _ = utterance_values(critic.target, states, utterances, budget)
    total = 0.0
    for rows in cut_by_length([len(one.state_T) + len(one.utterance_T) for one in part], budget):
        q_2B, v_2B = critic.module([states[row] for row in rows], [utterances[row] for row in rows])[:2]
        q_loss = ((q_2B - q_targets_2B[:, rows]) ** 2).sum() / 2
        v_loss = expectile_loss(v_targets_2B[:, rows] - v_2B, config.expectile).sum()
        loss = (q_loss + v_loss) / len(part)
        loss.backward()
        total += loss.item()
    return total


def improve(
    config: Config,
    learner: Learner,
    policy: HFPolicy,
    critic: CriticLearner[UtteranceCritic],
    turns: Sequence[Transition],
    step: int,
    progress: float,
) -> dict[str, float]:
    """Imitate some turns of the data, each as far as the critic thinks well of it.

    Raises:
        Diverged: a gradient was not finite.
    """
    rng = np.random.default_rng(entropy(config.seed, step, "actor"))
    part = [turns[int(index)] for index in rng.integers(len(turns), size=config.actor_turns)]
    q_2S, v_2S = utterance_values(
        critic.module,
        [one.state_T for one in part],
        [one.utterance_T for one in part],
        config.critic.micro_batch_tokens,
    )
    advantages_S = (q_2S - v_2S).mean(0).cpu()
    weights_S = awr_weights(advantages_S, config.beta, config.max_weight)
    samples = [as_sample(policy, one.state_T, one, one.action) for one in part]
    lessons = [
        Lesson(sample, number, np.full(len(sample.sampled_n), weight, dtype=np.float32))
        for number, (sample, weight) in enumerate(zip(samples, weights_S.tolist(), strict=True))
    ]
    return {
        "q_mean": float(q_2S.mean()),
        "v_mean": float(v_2S.mean()),
        "advantage_std": float(advantages_S.std(correction=0)),
        "weight_mean": float(weights_S.mean()),
        "weight_capped": float((weights_S >= config.max_weight).float().mean()),
    } | update_policy(
        config.objective,
        config.optim,
        learner,
        lessons,
        temperature=config.agent.temperature,
        seed=config.seed,
        step=step,
        progress=progress,
    )


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train offline_archer`, given its arguments."""
    run_command(Config, "offline_archer", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
