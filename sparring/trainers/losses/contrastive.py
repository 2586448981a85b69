"""A policy gradient on pairs, which holds for samples of any policy."""

from __future__ import annotations

import torch
from torch import Tensor


def copg_loss(log_ratio_S: Tensor, returns_S: Tensor, group_S: Tensor, beta: float) -> Tensor:
    """Pull the regularised returns R_beta = R - beta log(policy / reference) of a group together.

    The loss of a group of k is 1 / (k - 1) sum_{i > j} (R_beta,i - R_beta,j)^2. It is 0 just where the policy is the
    optimum of the return less beta KL, reference exp(R / beta) / Z, and no importance ratio enters, so that samples
    may come from anywhere. Its gradient is -2 beta sum_i A_i grad log policy(i), A_i being the RLOO advantage of
    R_beta: a trainer that must cut a group into micro-batches can use that form.

    One pair with beta .1, R = (1, 0) and log-ratios (.5, -.5) gives (.95 - .05)^2 = .81.

    Args:
        log_ratio_S: log policy - log reference of each sequence, *summed* over its sampled tokens, with gradient,
            shape [S].
        returns_S: shape [S]. group_S: equal numbers mean the same task, int64, shape [S].
        beta: strength of the KL, above 0; 0.01 to 0.1 is common.
    Returns:
        A scalar: the mean over groups of at least two; 0 where there is none.
    Source:
        CoPG, arXiv:2406.19185; for k samples as in Command A, arXiv:2504.00698.
    """
    assert log_ratio_S.shape == returns_S.shape == group_S.shape and beta > 0
    assert not returns_S.requires_grad
    numbers, index_S = torch.unique(group_S, return_inverse=True)
    regularised_S = returns_S - beta * log_ratio_S
    zeros_G = regularised_S.new_zeros(len(numbers))
    size_G = zeros_G.index_add(0, index_S, torch.ones_like(regularised_S))
    centred_S = regularised_S - (zeros_G.index_add(0, index_S, regularised_S) / size_G)[index_S]
    # The squared differences of all pairs add up to k times the squared distances from the mean.
    loss_G = size_G / (size_G - 1).clamp(min=1) * zeros_G.index_add(0, index_S, centred_S**2)
    several_G = size_G > 1
    return (loss_G * several_G).sum() / several_G.sum().clamp(min=1)
