"""Correction for a sampler whose probabilities are not quite those of the trainer.

An inference engine differs from the trainer by its kernels and number formats, and by the age of its weights. Samples
are then drawn from a behaviour policy mu that is not the policy pi_old that a trainer takes for theirs; a weight
pi_old / mu on each token's loss makes up for it. Its variance is held down by truncating it, which biases a little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from sparring.trainers.losses.ratios import MAX_LOG_RATIO, sequence_sums

ImportanceLevel = Literal["token", "sequence"]


@dataclass(frozen=True, slots=True)
class ImportanceWeights:
    """Attributes: weights_N, to multiply losses with, shape [N]; truncated_N, where the cap held, bool, shape [N]."""

    weights_N: Tensor
    truncated_N: Tensor


def truncated_importance_weights(
    old_logprobs_N: Tensor,
    behaviour_logprobs_N: Tensor,
    sequence_N: Tensor,
    level: ImportanceLevel,
    cap: float,
    *,
    masked: bool = False,
) -> ImportanceWeights:
    """Compute min(w, cap) with w = pi_old / mu, log w being held within ±20.

    | level | w of a token |
    |---|---|
    | `token` | its own: little variance, but what came before it is not corrected for |
    | `sequence` | product over its sequence: unbiased but for the cap, and the more at its mercy the longer it is |

    Args:
        old_logprobs_N: under the trainer's weights before its update, shape [N].
        behaviour_logprobs_N: as recorded by the sampler, at the same temperature and over the same tokens, shape [N].
        sequence_N: equal numbers mean the same sequence, all of whose tokens must be here, int64, shape [N].
        level: one of the table. cap: at least 1; 2 is common for tokens.
        masked: leave out what exceeds the cap (weight 0), rather than count it `cap`.
    Returns:
        Weights, without gradient. They are 1 where the two policies agree.
    Raises:
        ValueError: unknown level, or a cap below 1, which would scale down exact samples too.
    Source:
        Truncation: V-trace, arXiv:1802.01561.
    """
    assert old_logprobs_N.shape == behaviour_logprobs_N.shape == sequence_N.shape
    if not cap >= 1:
        raise ValueError(f"cap must be at least 1, got {cap}")
    difference_N = (old_logprobs_N - behaviour_logprobs_N).detach()
    if level == "sequence":
        difference_N = sequence_sums(difference_N, sequence_N)
    elif level != "token":
        raise ValueError(f'no importance level "{level}". Expected one of: {", ".join(get_args(ImportanceLevel))}')
    weights_N = difference_N.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    truncated_N = weights_N > cap
    return ImportanceWeights(weights_N.masked_fill(truncated_N, 0.0 if masked else cap), truncated_N)


def mismatch_metrics(
    old_logprobs_N: Tensor, behaviour_logprobs_N: Tensor, truncated_N: Tensor | None = None
) -> dict[str, float]:
    """Measure how far sampler and trainer are apart, on tokens of the sampler.

    Healthy is a `mismatch_kl` well below 0.015. More on fresh weights means that the two do not compute the same
    thing: another tokenisation, temperature or set of admissible tokens.

    Args:
        old_logprobs_N, behaviour_logprobs_N: all tokens of a step, as for `truncated_importance_weights`, shape [N].
        truncated_N: where its cap held; None where nothing was truncated.
    Returns:
        `mismatch_mean` and `mismatch_max`, of the absolute difference of log-probabilities, in nats; `mismatch_kl`,
        KL(mu || pi_old) by the never negative estimate w - 1 - log w; `mismatch_truncated`, a share of tokens. All 0
        where there are no tokens.
    """
    assert old_logprobs_N.shape == behaviour_logprobs_N.shape
    if len(old_logprobs_N) == 0:
        return dict.fromkeys(("mismatch_mean", "mismatch_max", "mismatch_kl", "mismatch_truncated"), 0.0)
    difference_N = (old_logprobs_N - behaviour_logprobs_N).detach().to(torch.float64)
    x_N = difference_N.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return {
        "mismatch_mean": difference_N.abs().mean().item(),
        "mismatch_max": difference_N.abs().max().item(),
        "mismatch_kl": (torch.expm1(x_N) - x_N).mean().item(),
        "mismatch_truncated": 0.0 if truncated_N is None else truncated_N.to(torch.float64).mean().item(),
    }
