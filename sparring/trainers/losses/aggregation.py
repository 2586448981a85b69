"""How the losses of tokens become one number.

Token n of sequence s counts w_s, and the loss is sum_n w_s(n) l_n. The weights are computed once over *all*
sequences of an optimiser step, so micro-batches of any cut add up to the same loss and gradient, and no short
micro-batch weighs more than its share.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Aggregation = Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"]


def token_weights(lengths_S: Tensor, mode: Aggregation, *, max_tokens: int | None = None) -> Tensor:
    """Compute what each token of a sequence counts.

    | mode | w_s | used by |
    |---|---|---|
    | `token-mean` | 1 / sum_s L_s | DAPO, arXiv:2503.14476, eq. 8 |
    | `seq-mean-token-mean` | 1 / (S L_s) | GRPO, arXiv:2402.03300, eq. 3 |
    | `seq-mean-token-sum` | 1 / S | REINFORCE: the log-probability of a sequence is a sum |
    | `seq-mean-token-sum-norm` | 1 / (S max_tokens) | Dr. GRPO, arXiv:2503.20783, its constant normaliser |

    Args:
        lengths_S: number of *sampled* tokens L_s of every sequence of the optimiser step, shape [S]. A sequence
            without any has nothing to say: it gets weight 0 and does not count towards S.
        mode: one of the table.
        max_tokens: the constant of `seq-mean-token-sum-norm`, at least 1; the others ignore it.
    Returns:
        Weights, float32, shape [S].
    Raises:
        ValueError: unknown mode, or `max_tokens` missing where it is needed.
    """
    lengths_S = lengths_S.to(torch.float64)
    present_S = (lengths_S > 0).to(torch.float64)
    sequences = present_S.sum().clamp(min=1)
    if mode == "token-mean":
        weights_S = present_S / lengths_S.sum().clamp(min=1)
    elif mode == "seq-mean-token-mean":
        weights_S = present_S / (sequences * lengths_S.clamp(min=1))
    elif mode == "seq-mean-token-sum":
        weights_S = present_S / sequences
    elif mode == "seq-mean-token-sum-norm":
        if max_tokens is None or max_tokens < 1:
            raise ValueError(f"{mode} divides by max_tokens, which must be at least 1, got {max_tokens}")
        weights_S = present_S / (sequences * max_tokens)
    else:
        raise ValueError(f'no aggregation "{mode}". Expected one of: {", ".join(get_args(Aggregation))}')
    return weights_S.to(torch.float32)


def aggregate(values_N: Tensor, weights_N: Tensor) -> Tensor:
    """Add up token losses under their weights.

    Args:
        values_N: a loss a token, shape [N]. weights_N: its weight (`token_weights` of its sequence), shape [N].
    Returns:
        A scalar; the sum of it over micro-batches is the loss of the step.
    """
    assert values_N.shape == weights_N.shape
    return (values_N * weights_N).sum()
