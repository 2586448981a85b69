"""Policy-gradient losses, token by token, near the policy that sampled and far from it, and estimates of the KL.

All functions work elementwise on the N sampled tokens of a batch; observation tokens never reach them.
`aggregation.aggregate` turns their results into a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from sparring.trainers.losses.ratios import MAX_LOG_RATIO, log_ratio, sequence_means, sequence_sums

KLEstimator = Literal["k1", "k2", "k3"]
TOPRRatio = Literal["token", "sequence", "sequence-mean"]


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Attributes: loss_N, to be minimised, shape [N]; clipped_N, whether a bound on the ratio held, bool, [N]."""

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
    log_ratio_N: Tensor | None = None,
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
        log_ratio_N: takes the place of logprob - old logprob. With `ratios.sequence_log_ratio` (and bounds of some
            1e-4) this is GSPO.
    Returns:
        The loss, and where the clip cut its gradient.
    Source:
        PPO, arXiv:1707.06347, eq. 7; DAPO, arXiv:2503.14476, eq. 10; dual clip, arXiv:1912.09729, eq. 5.
    """
    assert logprobs_N.shape == old_logprobs_N.shape == advantages_N.shape
    assert not old_logprobs_N.requires_grad and not advantages_N.requires_grad
    if log_ratio_N is None:
        ratio_N = log_ratio(logprobs_N, old_logprobs_N).exp()
    else:
        ratio_N = log_ratio_N.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    free_N = -ratio_N * advantages_N
    bounded_N = -ratio_N.clamp(1 - eps_low, 1 + eps_high) * advantages_N
    loss_N = torch.maximum(free_N, bounded_N)
    clipped_N = bounded_N > free_N
    if dual_clip is not None:
        ceiling_N = -dual_clip * advantages_N
        clipped_N = clipped_N | ((advantages_N < 0) & (loss_N > ceiling_N))
        loss_N = torch.where(advantages_N < 0, torch.minimum(loss_N, ceiling_N), loss_N)
    return Surrogate(loss_N, clipped_N.detach())


def cispo_loss(
    logprobs_N: Tensor, old_logprobs_N: Tensor, advantages_N: Tensor, *, eps_high: float, eps_low: float = 1.0
) -> Surrogate:
    """Compute -sg[clip(r, 1 - eps_low, 1 + eps_high)] A logprob, sg[] passing no gradient.

    The clip bounds what a token counts, but never takes its gradient away, as that of PPO does with just the rare
    tokens whose probability changes most.

    Args:
        logprobs_N, old_logprobs_N, advantages_N: as for `clipped_surrogate`.
        eps_high: how far above 1 the weight may rise. eps_low: how far below it may fall; 1 sets no bound.
    Returns:
        The loss, and where a bound held.
    Source:
        CISPO, in MiniMax-M1, arXiv:2506.13585.
    """
    assert logprobs_N.shape == old_logprobs_N.shape == advantages_N.shape
    assert not old_logprobs_N.requires_grad and not advantages_N.requires_grad
    ratio_N = log_ratio(logprobs_N.detach(), old_logprobs_N).exp()
    weight_N = ratio_N.clamp(1 - eps_low, 1 + eps_high)
    return Surrogate(-weight_N * advantages_N * logprobs_N, weight_N != ratio_N)


def topr_loss(
    logprobs_N: Tensor, behaviour_logprobs_N: Tensor, returns_N: Tensor, sequence_N: Tensor, ratio: TOPRRatio
) -> Surrogate:
    """Learn from samples of any policy: imitate the good, and unlearn the bad as far as they are still likely.

    Where R >= 0 the loss is -R logprob, without any ratio; where R < 0 it is -sg[min(r, 1)] R logprob with r =
    policy / behaviour. As a bad sequence gets unlikely its weight goes to 0, where plain REINFORCE would push its
    probability down for ever, and an untapered ratio above 1 would let few samples rule.

    | ratio | r | source |
    |---|---|---|
    | `sequence` | product over the sequence's tokens | the paper |
    | `sequence-mean` | its L-th root: geometric mean | for long sequences |
    | `token` | each token's own | for long sequences |

    Args:
        logprobs_N: under the weights being trained, shape [N].
        behaviour_logprobs_N: under whatever sampled, shape [N]; not read where R >= 0, so that demonstrations may
            have nan.
        returns_N: R of each token's sequence, shape [N]. The paper uses 1 and -1; how many are positive matters, and a
            baseline shifts it.
        sequence_N: equal numbers mean the same sequence, all of whose tokens must be here, int64, shape [N].
        ratio: one of the table.
    Returns:
        The loss, and where the ratio of a bad token was held at 1.
    Raises:
        ValueError: unknown ratio.
    Source:
        TOPR, arXiv:2503.14286.
    """
    assert logprobs_N.shape == behaviour_logprobs_N.shape == returns_N.shape == sequence_N.shape
    assert not behaviour_logprobs_N.requires_grad and not returns_N.requires_grad
    difference_N = logprobs_N.detach() - behaviour_logprobs_N
    if ratio == "token":
        x_N = difference_N
    elif ratio == "sequence":
        x_N = sequence_sums(difference_N, sequence_N)
    elif ratio == "sequence-mean":
        x_N = sequence_means(difference_N, sequence_N)
    else:
        raise ValueError(f'no TOPR ratio "{ratio}". Expected one of: {", ".join(get_args(TOPRRatio))}')
    bad_N = returns_N < 0
    weight_N = x_N.clamp(max=0).exp().where(bad_N, 1.0)
    return Surrogate(-weight_N * returns_N * logprobs_N, bad_N & (x_N > 0))


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
    x_N = log_ratio(logprobs_N, reference_logprobs_N)
    if estimator == "k1":
        return x_N
    if estimator == "k2":
        return x_N**2 / 2
    if estimator == "k3":
        return torch.expm1(-x_N) + x_N
    raise ValueError(f'no KL estimator "{estimator}". Expected k1, k2 or k3')
