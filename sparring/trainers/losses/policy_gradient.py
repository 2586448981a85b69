"""The clipped surrogate of PPO and its relatives, token by token, and estimates of the KL divergence.

All functions work elementwise on the N sampled tokens of a batch; observation tokens never reach them.
`aggregation.aggregate` turns their results into a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

KLEstimator = Literal["k1", "k2", "k3"]

# exp() of a larger log-ratio would only turn one broken token into an infinite loss.
MAX_LOG_RATIO = 20.0


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Attributes: loss_N, to be minimised, shape [N]; clipped_N, whether the clip cut the gradient, bool, [N]."""

    loss_N: Tensor
    clipped_N: Tensor


def clipped_surrogate(
    logprobs_N: Tensor,
    old_logprobs_N: Tensor,
    advantages_N: Tensor,
    *,
    eps_low: float = 0.2,
    eps_high: float = 0.2,
    dual_clip: float | None = None,
) -> Surrogate:
    """Compute -min(r A, clip(r, 1 - eps_low, 1 + eps_high) A) with r = exp(logprob - old logprob).

    Where nothing is clipped, and r = 1 (the first update on fresh samples), the gradient is that of
    REINFORCE, -A grad logprob. With `dual_clip` c, the loss where A < 0 is at most -c A, so that one token that became
    very likely can't dominate the step.

    Args:
        logprobs_N: under the weights being trained, shape [N].
        old_logprobs_N: under the weights that sampled, shape [N], no gradient.
        advantages_N: shape [N], no gradient.
        eps_low, eps_high: how far r may fall and rise before its gradient stops; equal in PPO, higher above in
            DAPO ("clip-higher", 0.2 and 0.28). `float("inf")` never clips.
        dual_clip: the bound c, above 1, or None.
    Source:
        PPO, arXiv:1707.06347, eq. 7; DAPO, arXiv:2503.14476, eq. 10; dual clip, arXiv:1912.09729, eq. 5.
    """
    assert logprobs_N.shape == old_logprobs_N.shape == advantages_N.shape
    assert not old_logprobs_N.requires_grad and not advantages_N.requires_grad
    ratio_N = _log_ratio(logprobs_N, old_logprobs_N).exp()
    free_N = -ratio_N * advantages_N
    bounded_N = -ratio_N.clamp(1 - eps_low, 1 + eps_high) * advantages_N
    loss_N = torch.maximum(free_N, bounded_N)
    clipped_N = bounded_N > free_N
    if dual_clip is not None:
        ceiling_N = -dual_clip * advantages_N
        clipped_N = clipped_N | ((advantages_N < 0) & (loss_N > ceiling_N))
        loss_N = torch.where(advantages_N < 0, torch.minimum(loss_N, ceiling_N), loss_N)
    return Surrogate(loss_N, clipped_N.detach())


def kl_estimate(logprobs_N: Tensor, reference_logprobs_N: Tensor, estimator: KLEstimator) -> Tensor:
    """Estimate KL(policy || reference) from tokens that the policy sampled, with x = logprob - reference logprob.

    | estimator | value | as a loss on samples of the policy |
    |---|---|---|
    | `k1` | x | expected gradient 0: of use as a reward penalty or for logging only |
    | `k2` | x² / 2 | its gradient, x grad logprob, is the KL's, unbiased |
    | `k3` | exp(-x) - 1 + x, never negative | its gradient is biased, and bounded for large x; GRPO's choice |

    Args:
        logprobs_N, reference_logprobs_N: shape [N]; no gradient flows into the reference.
    Returns:
        Estimates a token, shape [N].
    Raises:
        ValueError: unknown estimator.
    Source:
        J. Schulman, "Approximating KL divergence" (2020); k3 in GRPO: arXiv:2402.03300, eq. 4.
    """
    assert logprobs_N.shape == reference_logprobs_N.shape
    x_N = _log_ratio(logprobs_N, reference_logprobs_N)
    if estimator == "k1":
        return x_N
    if estimator == "k2":
        return x_N**2 / 2
    if estimator == "k3":
        return torch.expm1(-x_N) + x_N
    raise ValueError(f'no KL estimator "{estimator}". Expected k1, k2 or k3')


def _log_ratio(logprobs_N: Tensor, other_N: Tensor) -> Tensor:
    return (logprobs_N - other_N.detach()).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
