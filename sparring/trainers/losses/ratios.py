"""Ratios of a token's or a sequence's probability under two policies, as logarithms."""

from __future__ import annotations

import torch
from torch import Tensor

# exp() of a larger log-ratio would only turn one broken token into an infinite loss.
MAX_LOG_RATIO = 20.0


def log_ratio(logprobs_N: Tensor, other_logprobs_N: Tensor) -> Tensor:
    """Compute logprob - other logprob of each token, held within ±20.

    Args:
        logprobs_N: shape [N]. other_logprobs_N: shape [N]; no gradient flows into it.
    """
    return (logprobs_N - other_logprobs_N.detach()).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def sequence_log_ratio(logprobs_N: Tensor, old_logprobs_N: Tensor, sequence_N: Tensor) -> Tensor:
    """Give each token the mean log-ratio of its sequence as value, and its own log-probability as gradient.

    With s = exp(mean log-ratio) this is the logarithm of sg[s] policy / sg[policy], sg[] passing no gradient. Under
    the mean over a sequence's tokens, and one advantage for all, its gradient is that of s itself; advantages that
    differ between tokens are possible too.

    Args:
        logprobs_N: under the weights being trained, shape [N]. old_logprobs_N: under those that sampled, shape [N].
        sequence_N: equal numbers mean the same sequence, all of whose tokens must be here, int64, shape [N].
    Returns:
        Shape [N], for `clipped_surrogate`.
    Source:
        GSPO-token, arXiv:2507.18071, section 4.3.
    """
    assert logprobs_N.shape == old_logprobs_N.shape == sequence_N.shape
    means_N = sequence_means((logprobs_N - old_logprobs_N).detach(), sequence_N)
    return means_N + (logprobs_N - logprobs_N.detach())


def sequence_sums(values_N: Tensor, sequence_N: Tensor) -> Tensor:
    """Give each token the sum over the tokens of its sequence.

    Args:
        values_N: shape [N]. sequence_N: equal numbers mean the same sequence, in any order, int64, shape [N].
    """
    numbers, index_N = torch.unique(sequence_N, return_inverse=True)
    return values_N.new_zeros(len(numbers)).index_add(0, index_N, values_N)[index_N]


def sequence_means(values_N: Tensor, sequence_N: Tensor) -> Tensor:
    """Give each token the mean over the tokens of its sequence. Arguments as for `sequence_sums`."""
    return sequence_sums(values_N, sequence_N) / sequence_sums(torch.ones_like(values_N), sequence_N)
