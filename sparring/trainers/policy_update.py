"""From advantages to optimiser steps: what every policy-gradient trainer does once it knows how good a token was.

A trainer makes lessons, each a sequence with an advantage for every sampled token; `update_policy` cuts them into
minibatches and follows the gradient of a clipped surrogate. Where the sampler is not the trainer's own model (another
engine, older weights), `correction` weighs every token by how much likelier the trainer held it to be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sparring.errors import InvalidConfig
from sparring.trainers.batch import (
    Batch,
    Floats,
    Sample,
    collate,
    micro_batches,
    score_tokens,
    scores_of,
    token_logits,
    vocabulary_size,
)
from sparring.trainers.checkpoint import Learner
from sparring.trainers.losses import (
    Aggregation,
    KLEstimator,
    Surrogate,
    aggregate,
    cispo_loss,
    clipped_surrogate,
    exact_kl,
    kl_estimate,
    mismatch_metrics,
    sequence_log_ratio,
    token_weights,
    truncated_importance_weights,
    weighted_likelihood,
)
from sparring.trainers.optim import OptimConfig, learning_rate, take_step
from sparring.trainers.session import entropy
from sparring.trainers.tally import Tally


@dataclass(frozen=True, slots=True)
class ObjectiveConfig:
    """How advantages become a loss."""

    surrogate: Literal["ppo", "gspo", "cispo", "likelihood"] = "ppo"
    """ppo clips the ratio of each token, gspo that of a whole sequence (arXiv:2507.18071; wants eps of about 3e-4),
    cispo bounds the ratio and keeps every token's gradient (arXiv:2506.13585), likelihood has no ratio: imitation
    under weights, for samples of any age or origin."""
    eps_low: float = 0.2
    """The ratio of new to old probability may fall by this much before its gradient stops (PPO: 0.2)."""
    eps_high: float = 0.28
    """And rise by this much; higher above than below as in DAPO, which keeps entropy up."""
    dual_clip: float | None = None
    """Bound on the loss of a token with negative advantage, as a multiple of it (3 in arXiv:1912.09729)."""
    aggregation: Aggregation = "token-mean"
    """How the losses of tokens become one number (`losses.aggregation`)."""
    max_episode_tokens: int = 512
    """The constant that seq-mean-token-sum-norm divides by."""
    epochs: int = 1
    """Passes over the episodes of a step."""
    minibatches: int = 1
    """Optimiser steps in a pass; a group (grpo) or an episode is never split between them."""
    kl_coef: float = 0.0
    """Weight of the KL loss to the model that training started from; 0 needs no reference. GRPO: 0.04."""
    kl_estimator: Literal[KLEstimator, "exact"] = "k3"
    """How the KL is estimated from sampled tokens (`losses.policy_gradient`); exact sums over the vocabulary
    instead, and needs memory for that."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    correction: Literal["none", "token", "sequence"] = "none"
    """Weigh tokens by how much likelier the trainer's model held them than the sampler recorded, token by token or by
    the product over a sequence. It costs a forward pass, and is for samplers other than the trained model itself."""
    correction_cap: float = 2.0
    """Weights above it are cut to it (truncated importance sampling)."""
    correction_drops: bool = False
    """Drop what lies above the cap instead of cutting its weight."""

    def __post_init__(self) -> None:
        for name, low in (
            ("epochs", 1), ("minibatches", 1), ("max_episode_tokens", 1), ("eps_low", 0), ("eps_high", 0),
            ("kl_coef", 0), ("entropy_coef", 0), ("correction_cap", 1),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.dual_clip is not None and self.dual_clip <= 1:
            raise InvalidConfig(f"dual_clip must be above 1, got {self.dual_clip}")

    @property
    def is_regularised(self) -> bool:
        """Whether the loss has terms that do not depend on advantages."""
        return self.kl_coef > 0 or self.entropy_coef > 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """One sequence to learn from.

    Attributes:
        sample: its tokens. group: lessons of one group are never split between minibatches.
        advantages_n: of each of its sampled tokens, float32, shape [n].
        kl_n: what the KL of each counts beside the objective's coefficient, float32, shape [n]; None for 1 throughout.
    """

    sample: Sample
    group: int
    advantages_n: Floats
    kl_n: Floats | None = None


def update_policy(
    config: ObjectiveConfig,
    optim: OptimConfig,
    learner: Learner,
    lessons: Sequence[Lesson],
    *,
    reference: Any | None = None,
    temperature: float,
    seed: int,
    step: int,
    progress: float,
) -> dict[str, float]:
    """Take the optimiser steps on one step's lessons; return what to log about them.

    The caller tells its policies `weights_changed()`.

    Args:
        reference: the frozen model that the KL loss holds on to, or None.
        temperature: what the tokens were sampled at.
        seed, step: of the order of minibatches. step, progress: for the learning rate (`optim.learning_rate`).
    Raises:
        Diverged: a gradient was not finite.
    """
    lr = learning_rate(optim, step, progress)
    tally, tokens = Tally(), 0
    losses: list[float] = []
    norms: list[float] = []
    began = time.monotonic()
    lessons, metrics = corrected(config, optim, learner.model, lessons, temperature)
    for part, weights_B in minibatches(config, lessons, seed, step):
        losses.append(
            add_gradients(
                config, optim, learner.model, reference, part, weights_B, tally, temperature, is_fresh=not losses
            )
        )
        norms.append(take_step(learner.optimizer, optim, lr))
        tokens += sum(len(lesson.sample.ids_T) for lesson in part)
    return {
        "loss": float(np.mean(losses)) if losses else math.nan,
        "grad_norm": float(np.mean(norms)) if norms else math.nan,
        "lr": lr,
        **tally.means(),
        **metrics,
        "tokens_per_second": tokens / (time.monotonic() - began),
    }


def corrected(
    config: ObjectiveConfig, optim: OptimConfig, model: Any, lessons: Sequence[Lesson], temperature: float
) -> tuple[list[Lesson], dict[str, float]]:
    """Put the trainer's own log-probabilities in the place of the sampler's, and their quotient into the advantages.

    The surrogate is linear in the advantage, so a weight on a token's loss is a factor of its advantage. Tokens without
    a recorded log-probability keep weight 1.

    Returns:
        The lessons, unchanged where `config.correction` is "none", and metrics of the mismatch.
    """
    if config.correction == "none" or not lessons:
        return list(lessons), {}
    samples = [lesson.sample for lesson in lessons]
    found: list[Lesson | None] = [None] * len(lessons)
    olds, behaviours, truncated = [], [], []
    for rows in micro_batches(samples, optim.micro_batch_tokens):
        batch = collate([samples[row] for row in rows], vocabulary_size(model)).to(model.device)
        with torch.no_grad():
            old_N = score_tokens(model, batch, temperature).logprobs_N
        behaviour_N = torch.where(batch.old_logprobs_N.isnan(), old_N, batch.old_logprobs_N)
        found_N = truncated_importance_weights(
            old_N,
            behaviour_N,
            batch.row_N,
            config.correction,
            config.correction_cap,
            masked=config.correction_drops,
        )
        olds.append(old_N)
        behaviours.append(behaviour_N)
        truncated.append(found_N.truncated_N)
        for place, row in enumerate(rows):
            mine_N = batch.row_N == place
            lesson = lessons[row]
            found[row] = replace(
                lesson,
                sample=replace(lesson.sample, logprobs_n=old_N[mine_N].float().cpu().numpy()),
                advantages_n=lesson.advantages_n * found_N.weights_N[mine_N].float().cpu().numpy(),
            )
    metrics = mismatch_metrics(torch.cat(olds), torch.cat(behaviours), torch.cat(truncated))
    return [lesson for lesson in found if lesson is not None], metrics


def minibatches(
    config: ObjectiveConfig, lessons: Sequence[Lesson], seed: int, step: int
) -> Iterator[tuple[list[Lesson], Tensor]]:
    """Cut a step's lessons into minibatches of whole groups, in a new order each epoch.

    Lessons with advantage 0 count in the mean over tokens but have no gradient of their own, unless KL or entropy
    is part of the loss: otherwise they are weighed and left out, and a minibatch of nothing else is not yielded.

    Yields:
        The lessons of one optimiser step, B of them, and what a token of each counts in its loss, shape [B].
    """
    rng = np.random.default_rng(entropy(seed, step, "shuffle"))
    groups = sorted({lesson.group for lesson in lessons})
    for _ in range(config.epochs):
        for numbers in np.array_split(rng.permutation(groups), config.minibatches):
            chosen = set(numbers.tolist())
            part = [lesson for lesson in lessons if lesson.group in chosen]
            lengths_B = torch.tensor([len(lesson.sample.sampled_n) for lesson in part])
            weights_B = token_weights(lengths_B, config.aggregation, max_tokens=config.max_episode_tokens)
            rows = [row for row, lesson in enumerate(part) if config.is_regularised or lesson.advantages_n.any()]
            if rows:
                yield [part[row] for row in rows], weights_B[rows]


def add_gradients(
    config: ObjectiveConfig,
    optim: OptimConfig,
    model: Any,
    reference: Any | None,
    lessons: Sequence[Lesson],
    weights_B: Tensor,
    tally: Tally,
    temperature: float,
    *,
    is_fresh: bool,
) -> float:
    """Add the gradient of the loss on some lessons to the model's, micro-batch by micro-batch; return the loss.

    Args:
        weights_B: what a token of each of the B lessons counts, shape [B].
        is_fresh: whether the weights are still those that sampled the lessons.
    """
    samples = [lesson.sample for lesson in lessons]
    total = 0.0
    for rows in micro_batches(samples, optim.micro_batch_tokens):
        batch = collate(
            [samples[row] for row in rows],
            vocabulary_size(model),
            weights_B=weights_B[rows],
            advantages=[lessons[row].advantages_n for row in rows],
        ).to(model.device)
        logits_NV = token_logits(model, batch)
        scores = scores_of(logits_NV, batch, temperature)
        surrogate = _surrogate(config, scores.logprobs_N, batch)
        loss_N = surrogate.loss_N - config.entropy_coef * scores.entropy_N
        if reference is not None:
            reference_kl_N = _reference_kl(config, reference, batch, logits_NV, scores.logprobs_N, temperature)
            weights_N = _kl_weights([lessons[row] for row in rows]).to(model.device)
            loss_N = loss_N + config.kl_coef * weights_N * reference_kl_N
            tally.add(reference_kl=reference_kl_N)
        loss = aggregate(loss_N, batch.weights_N)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
        tally.add(entropy=scores.entropy_N)
        if config.surrogate == "likelihood":  # the old probabilities are of no concern, and unknown in demonstrations
            continue
        tally.add(
            kl=kl_estimate(scores.logprobs_N, batch.old_logprobs_N, "k3"),
            clip_fraction=surrogate.clipped_N,
        )
        if is_fresh:
            tally.add(mismatch=(scores.logprobs_N - batch.old_logprobs_N).abs())
    return total


def _reference_kl(
    config: ObjectiveConfig, reference: Any, batch: Batch, logits_NV: Tensor, logprobs_N: Tensor, temperature: float
) -> Tensor:
    with torch.no_grad():
        reference_NV = token_logits(reference, batch)
    if config.kl_estimator == "exact":
        return exact_kl(logits_NV, reference_NV, batch.allowed, temperature)
    return kl_estimate(logprobs_N, scores_of(reference_NV, batch, temperature).logprobs_N, config.kl_estimator)


def _kl_weights(lessons: Sequence[Lesson]) -> Tensor:
    """What the KL of each sampled token of some lessons counts, in their order."""
    parts = [np.ones_like(one.advantages_n) if one.kl_n is None else one.kl_n for one in lessons]
    return torch.from_numpy(np.concatenate(parts))


def _surrogate(config: ObjectiveConfig, logprobs_N: Tensor, batch: Batch) -> Surrogate:
    old_N, advantages_N = batch.old_logprobs_N, batch.advantages_N
    if config.surrogate == "likelihood":
        loss_N = weighted_likelihood(logprobs_N, advantages_N)
        return Surrogate(loss_N, torch.zeros_like(loss_N, dtype=torch.bool))
    if config.surrogate == "cispo":
        return cispo_loss(logprobs_N, old_N, advantages_N, eps_high=config.eps_high)
    is_gspo = config.surrogate == "gspo"
    return clipped_surrogate(
        logprobs_N,
        old_N,
        advantages_N,
        eps_low=config.eps_low,
        eps_high=config.eps_high,
        dual_clip=config.dual_clip,
        log_ratio_N=sequence_log_ratio(logprobs_N, old_N, batch.row_N) if is_gspo else None,
    )
