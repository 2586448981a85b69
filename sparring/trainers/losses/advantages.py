"""Advantages of whole episodes against the other episodes of their group."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Advantage = Literal["grpo", "rloo", "dr_grpo"]


def group_advantages(returns_S: Tensor, group_S: Tensor, method: Advantage, *, eps: float = 1e-6) -> Tensor:
    """Compare each return with those of its group (same task, same environment seed).

    | method | A_i | source |
    |---|---|---|
    | `grpo` | (R_i - mean) / (std + eps), std with G - 1 in the denominator | arXiv:2402.03300, section 4.1.2 |
    | `rloo` | R_i - mean of the *other* returns = G / (G - 1) (R_i - mean) | arXiv:2402.14740, eq. 6 |
    | `dr_grpo` | R_i - mean | arXiv:2503.20783, eq. 3 |

    [1, 0, 0, 0] gives 1.5 and -0.5 (grpo), 1 and -1/3 (rloo), 0.75 and -0.25 (dr_grpo).

    Args:
        returns_S: episode returns, shape [S], of episodes that really ended: a failed one must be left out,
            which changes the group's mean and size, rather than count as 0.
        group_S: int64, shape [S]; equal numbers mean the same group. Groups may differ in size.
        eps: keeps grpo finite.
    Returns:
        Advantages, float32, shape [S]; exactly 0 throughout a group of equal returns. A group of one has no
        baseline: its advantage is its return, so a trainer had better leave it out.
    Raises:
        ValueError: unknown method.
    """
    assert returns_S.ndim == 1 and returns_S.shape == group_S.shape
    # In float64, so that rounding in the mean of equal returns is not blown up by a std of nearly 0.
    returns_S = returns_S.to(torch.float64)
    _, group_S = torch.unique(group_S, return_inverse=True)
    groups = int(group_S.max()) + 1 if len(group_S) else 0
    size_G = torch.zeros(groups, dtype=torch.float64).index_add_(0, group_S, torch.ones_like(returns_S))
    mean_G = torch.zeros(groups, dtype=torch.float64).index_add_(0, group_S, returns_S) / size_G
    mean_G = mean_G.where(size_G > 1, 0.0)
    centred_S = returns_S - mean_G[group_S]
    if method == "grpo":
        squares_G = torch.zeros(groups, dtype=torch.float64).index_add_(0, group_S, centred_S**2)
        std_G = (squares_G / (size_G - 1).clamp(min=1)).sqrt().where(size_G > 1, 1.0)
        advantages_S = centred_S / (std_G[group_S] + eps)
    elif method == "rloo":
        advantages_S = centred_S * (size_G / (size_G - 1).clamp(min=1)).where(size_G > 1, 1.0)[group_S]
    elif method == "dr_grpo":
        advantages_S = centred_S
    else:
        raise ValueError(f'no advantage "{method}". Expected one of: {", ".join(get_args(Advantage))}')
    alike_S = zero_variance(returns_S, group_S)[group_S] & (size_G > 1)[group_S]
    return advantages_S.where(~alike_S, 0.0).to(torch.float32)


def zero_variance(returns_S: Tensor, group_S: Tensor) -> Tensor:
    """Whether all returns of a group are equal, so that it teaches nothing.

    Args:
        returns_S: episode returns, shape [S]. group_S: group numbers 0 … G - 1, each used, int64, shape [S].
    Returns:
        bool, shape [G].
    """
    groups = int(group_S.max()) + 1 if len(group_S) else 0
    high_G = torch.full((groups,), -torch.inf, dtype=returns_S.dtype).scatter_reduce_(0, group_S, returns_S, "amax")
    low_G = torch.full((groups,), torch.inf, dtype=returns_S.dtype).scatter_reduce_(0, group_S, returns_S, "amin")
    return high_G == low_G
