"""From pairs to optimiser steps: what every trainer does once it knows which of two sides is the better.

    row = update_on_pairs(config.preference, config.optim, learner, pairs, policy, config.agent, seed=…, step=…,
                          progress=…)
    policy.weights_changed()

A step takes the reference's log-probabilities first (those recorded when the tokens were sampled, or a model's), then
follows the gradient over minibatches of pairs. The gradient is taken in two passes (`two_pass`), so that a pair is
compared whole, whatever its sides' lengths and however many sequences they come in, and a trajectory that stands in
many pairs goes through the model once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparring.agents.hf import HFPolicy
from sparring.errors import InvalidConfig, InvalidData
from sparring.settings import AgentConfig
from sparring.trainers.batch import Sample
from sparring.trainers.checkpoint import Learner
from sparring.trainers.losses import (
    PairLoss,
    dpo_loss,
    ipo_loss,
    kl_estimate,
    rpo_loss,
    side_sums,
    simpo_loss,
)
from sparring.trainers.optim import OptimConfig, learning_rate, take_step
from sparring.trainers.preferences import Pair, PairSamples, pair_samples
from sparring.trainers.session import entropy
from sparring.trainers.tally import Tally
from sparring.trainers.two_pass import add_slopes, score


@dataclass(frozen=True, slots=True)
class PreferenceConfig:
    """How preferences become a loss (`losses.preference` has the formulas)."""

    objective: Literal["dpo", "cdpo", "ipo", "rpo", "simpo"] = "dpo"
    """dpo; cdpo, which takes some pairs to be the wrong way round; ipo, which goes for a fixed distance; rpo, dpo with
    imitation of the chosen side; simpo, which compares tokens and has no reference."""
    beta: float = 0.1
    """Strength of the hold on the reference; for simpo the scale of a token's log-probability, where 2 is usual."""
    label_smoothing: float = 0.1
    """cdpo: the share of pairs that are taken to be wrong."""
    nll_coef: float = 1.0
    """rpo: weight of imitation, a mean over the chosen side's tokens."""
    simpo_margin: float = 0.5
    """simpo: by how much the chosen side should win."""
    margin_weight: float = 0.0
    """dpo, cdpo, rpo: ask for a difference of implicit rewards of this times the pair's own margin (ODPO)."""
    reference: Literal["behaviour", "model"] = "behaviour"
    """What policies are compared with: the log-probabilities that were recorded when the tokens were sampled, or those
    of a model."""
    epochs: int = 1
    """Passes over the pairs of a step."""
    minibatches: int = 1
    """Optimiser steps in a pass."""
    target_kl: float | None = None
    """End a step early where the policy has gone so much further from the reference than it was on the step's first
    minibatch (k3, a mean over the tokens of a minibatch, before its update): few pairs in many minibatches at a high
    rate can otherwise carry it tens of nats away within one step. None takes all minibatches."""

    def __post_init__(self) -> None:
        for name, low in (("nll_coef", 0), ("margin_weight", 0), ("epochs", 1), ("minibatches", 1)):
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.target_kl is not None and self.target_kl <= 0:
            raise InvalidConfig(f"target_kl must be above 0, or None, got {self.target_kl}")
        if self.beta <= 0:
            raise InvalidConfig(f"beta must be above 0, got {self.beta}")
        if not 0 <= self.label_smoothing < 0.5:
            raise InvalidConfig(f"label_smoothing must be at least 0 and below 0.5, got {self.label_smoothing}")
        if self.margin_weight and self.objective in ("ipo", "simpo"):
            raise InvalidConfig(f"{self.objective} asks for a distance of its own: margin_weight must be 0")

    @property
    def needs_model(self) -> bool:
        """Whether a model's log-probabilities are wanted for a reference."""
        return self.reference == "model" and self.objective != "simpo"


def update_on_pairs(
    config: PreferenceConfig,
    optim: OptimConfig,
    learner: Learner,
    pairs: Sequence[Pair],
    policy: HFPolicy,
    agent: AgentConfig,
    *,
    reference: Any | None = None,
    seed: int,
    step: int,
    progress: float,
) -> dict[str, float]:
    """Take one step's optimiser steps on pairs, and return what to log about them.

    The caller tells its policies `weights_changed()`.

    Args:
        policy, agent: what spells the pairs, and how they were prompted and sampled.
        reference: with `config.reference` "model" the frozen model to compare with; None for the learner's own weights
            as they are now, before the first step.
        seed, step: of the order of minibatches. step, progress: for the learning rate (`optim.learning_rate`).
    Raises:
        InvalidData: recorded log-probabilities are asked for and missing, or a pair was shown something else.
        Diverged: a gradient was not finite.
    """
    laid_out = pair_samples(pairs, policy, agent)
    if config.needs_model:
        model = learner.model if reference is None else reference
        laid_out = with_reference(laid_out, model, optim.micro_batch_tokens, agent.temperature)
    row = update_on_samples(
        config, optim, learner, laid_out, temperature=agent.temperature, seed=seed, step=step, progress=progress
    )
    return {**row, "pairs_dropped": float(len(pairs) - len(laid_out))}


def with_reference(
    pairs: Sequence[PairSamples], model: Any, token_budget: int, temperature: float
) -> list[PairSamples]:
    """The same pairs, with a model's log-probabilities for a reference."""
    samples = distinct(pairs)
    scored = score(model, samples, token_budget, temperature, Tally())
    logprobs = {id(sample): part.float().cpu() for sample, part in zip(samples, scored, strict=True)}
    return [
        replace(pair, reference=torch.cat([logprobs[id(sample)] for sample in pair.samples]).numpy()) for pair in pairs
    ]


def distinct(pairs: Sequence[PairSamples]) -> list[Sample]:
    """The sequences of all pairs, each once, however many pairs share it."""
    return list({id(sample): sample for pair in pairs for sample in pair.samples}.values())


def check_reference(config: PreferenceConfig, pairs: Sequence[PairSamples]) -> None:
    """Check that all tokens have a log-probability to be compared with, where the objective compares.

    Raises:
        InvalidData: some have none.
    """
    if config.objective == "simpo":
        return
    lacking = sum(bool(np.isnan(pair.reference).any()) for pair in pairs)
    if lacking:
        raise InvalidData(
            f"{lacking} of {len(pairs)} pairs have a side without recorded log-probabilities (scripts and servers "
            'record none), which the reference "behaviour" needs. Take reference model, or objective simpo'
        )


def update_on_samples(
    config: PreferenceConfig,
    optim: OptimConfig,
    learner: Learner,
    pairs: Sequence[PairSamples],
    *,
    temperature: float,
    seed: int,
    step: int,
    progress: float,
) -> dict[str, float]:
    """`update_on_pairs` for pairs that are spelled and have their reference; arguments as there.

    Raises:
        InvalidData: recorded log-probabilities are asked for and missing.
        Diverged: a gradient was not finite.
    """
    check_reference(config, pairs)
    began = time.monotonic()
    lr = learning_rate(optim, step, progress)
    rng = np.random.default_rng(entropy(seed, step, "pairs"))
    tally, tokens = Tally(), 0
    losses: list[float] = []
    norms: list[float] = []
    first_kl: float | None = None
    for numbers in _minibatches(config, len(pairs), rng):
        part = [pairs[int(number)] for number in numbers]
        seen = Tally()
        loss = add_gradients(config, optim, learner.model, part, temperature, seen)
        tally.merge(seen)
        tokens += sum(len(sample.ids_T) for sample in distinct(part))
        if config.target_kl is not None:
            kl = seen.means().get("kl", 0.0)  # nothing is known of it where no reference is
            first_kl = kl if first_kl is None else first_kl
            if not kl - first_kl <= config.target_kl:
                learner.optimizer.zero_grad()
                break
        losses.append(loss)
        norms.append(take_step(learner.optimizer, optim, lr))
    return {
        "loss": float(np.mean(losses)) if losses else math.nan,
        "grad_norm": float(np.mean(norms)) if norms else math.nan,
        "lr": lr,
        "pairs": float(len(pairs)),
        "updates": float(len(norms)),
        **tally.means(),
        "tokens_per_second": tokens / (time.monotonic() - began),
    }


def _minibatches(config: PreferenceConfig, count: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """The numbers of the pairs of each minibatch, in a new order each epoch; none is empty."""
    for _ in range(config.epochs):
        yield from (part for part in np.array_split(rng.permutation(count), config.minibatches) if len(part))


def add_gradients(
    config: PreferenceConfig,
    optim: OptimConfig,
    model: Any,
    pairs: Sequence[PairSamples],
    temperature: float,
    tally: Tally,
) -> float:
    """Add the gradient of the mean loss of some pairs to the model's; return the loss."""
    samples = distinct(pairs)
    scored = score(model, samples, optim.micro_batch_tokens, temperature, tally)
    leaves = [part.float().requires_grad_() for part in scored]
    logprobs = {id(sample): leaf for sample, leaf in zip(samples, leaves, strict=True)}
    logprobs_N = torch.cat([logprobs[id(sample)] for pair in pairs for sample in pair.samples])
    loss = pair_losses(config, logprobs_N, pairs, tally).loss_P.mean()
    # What a sequence is to all of its pairs adds up in its leaf.
    slopes = [slope.cpu().numpy() for slope in torch.autograd.grad(loss, leaves)]
    add_slopes(model, samples, slopes, optim.micro_batch_tokens, temperature)
    return loss.item()


def pair_losses(config: PreferenceConfig, logprobs_N: Tensor, pairs: Sequence[PairSamples], tally: Tally) -> PairLoss:
    """The losses of pairs as a function of the log-probabilities of their N sampled tokens.

    Args:
        logprobs_N: of all tokens in order, chosen side first, with gradient, shape [N].
        tally: gets accuracy and margin of the implicit rewards, how the log-probabilities of both sides have moved
            against the reference, and the KL to it, as far as its log-probabilities are known.
    """
    device = logprobs_N.device
    tokens_P2 = torch.tensor(
        [[sum(len(one.sampled_n) for one in side) for side in (pair.chosen, pair.rejected)] for pair in pairs]
    )
    side_N = torch.repeat_interleave(torch.arange(2 * len(pairs)), tokens_P2.flatten()).to(device)
    chosen_tokens_P, rejected_tokens_P = tokens_P2.to(device).unbind(1)
    reference_N = torch.from_numpy(np.concatenate([pair.reference for pair in pairs])).to(device)
    chosen_logprob_P, rejected_logprob_P = side_sums(logprobs_N, side_N, len(pairs))
    chosen_ratio_P, rejected_ratio_P = side_sums(logprobs_N - reference_N, side_N, len(pairs))
    margins_P = torch.tensor([pair.margin for pair in pairs], dtype=torch.float32, device=device)
    offset_P = config.margin_weight * margins_P if config.margin_weight else None
    if config.objective == "simpo":
        found = simpo_loss(
            chosen_logprob_P,
            rejected_logprob_P,
            chosen_tokens_P,
            rejected_tokens_P,
            config.beta,
            margin=config.simpo_margin,
        )
    elif config.objective == "ipo":
        found = ipo_loss(chosen_ratio_P, rejected_ratio_P, config.beta)
    elif config.objective == "rpo":
        found = rpo_loss(
            chosen_ratio_P,
            rejected_ratio_P,
            chosen_logprob_P,
            chosen_tokens_P,
            config.beta,
            nll_coef=config.nll_coef,
            offset_P=offset_P,
        )
    else:
        smoothing = config.label_smoothing if config.objective == "cdpo" else 0.0
        found = dpo_loss(chosen_ratio_P, rejected_ratio_P, config.beta, label_smoothing=smoothing, offset_P=offset_P)
    known_N = ~reference_N.isnan()
    known_P = ~(chosen_ratio_P + rejected_ratio_P).isnan()
    tally.add(
        # A tie, which all pairs are before the first step, is neither agreement nor the contrary.
        accuracy=(1 + torch.sign(found.chosen_reward_P - found.rejected_reward_P)) / 2,
        margin=found.chosen_reward_P - found.rejected_reward_P,
    )
    if known_P.any():
        tally.add(
            chosen_change=chosen_ratio_P[known_P],
            rejected_change=rejected_ratio_P[known_P],
            kl=kl_estimate(logprobs_N[known_N], reference_N[known_N], "k3"),
        )
    return found
