"""What an attempt is worth among attempts at one problem: SCoRe's shaped rewards, and RISE's weights."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from sparring.trainers.losses.advantages import group_advantages

AttemptBaseline = Literal["leave-one-out", "mean", "none"]


def shaped_rewards(rewards_K: Tensor, sequence_K: Tensor, bonus: float) -> Tensor:
    """Add to each attempt's reward `bonus` times what it gained over the attempt before: r_i + alpha (r_i - r_{i-1}).

    First attempts keep their reward. With alpha = 10 a second attempt gets 11 for wrong to right, 1 for right to right,
    -10 for right to wrong and 0 for wrong to wrong.

    Args:
        rewards_K: of attempts, those of a sequence together and in order, shape [K].
        sequence_K: the sequence of each, int64, shape [K].
        bonus: alpha, at least 0.
    Returns:
        Shaped rewards, shape [K].
    Source:
        SCoRe, arXiv:2409.12917, section 5.2.
    """
    assert rewards_K.shape == sequence_K.shape and bonus >= 0
    follows_K = torch.zeros_like(sequence_K, dtype=torch.bool)
    follows_K[1:] = sequence_K[1:] == sequence_K[:-1]
    gained_K = torch.zeros_like(rewards_K)
    gained_K[1:] = rewards_K[1:] - rewards_K[:-1]
    return rewards_K + bonus * gained_K.where(follows_K, 0.0)


def attempt_advantages(
    rewards_K: Tensor, sequence_K: Tensor, attempt_K: Tensor, group_S: Tensor, baseline: AttemptBaseline
) -> Tensor:
    """Compare each attempt's reward with others at the same attempt, and with nothing that comes after or before.

    | baseline | A |
    |---|---|
    | `leave-one-out` | r less the mean over the *others* of the group at this attempt; 0 where there are none |
    | `mean` | r less the mean over the whole batch at this attempt |
    | `none` | r |

    Args:
        rewards_K: of attempts (`shaped_rewards`), shape [K]. sequence_K: the sequence 0 … S - 1 of each, int64, [K].
        attempt_K: its number within the sequence, int64, shape [K]. group_S: the group of each sequence, int64, [S].
        baseline: one of the table.
    Returns:
        Advantages, float32, shape [K].
    Raises:
        ValueError: unknown baseline.
    """
    assert rewards_K.shape == sequence_K.shape == attempt_K.shape
    if baseline == "none":
        return rewards_K.to(torch.float32)
    if baseline == "mean":
        return group_advantages(rewards_K, attempt_K, "dr_grpo")
    if baseline != "leave-one-out":
        raise ValueError(f'no baseline "{baseline}". Expected one of: {", ".join(get_args(AttemptBaseline))}')
    cells = torch.stack([group_S[sequence_K], attempt_K])
    _, cell_K, size = torch.unique(cells, dim=1, return_inverse=True, return_counts=True)
    return group_advantages(rewards_K, cell_K, "rloo").where(size[cell_K] > 1, 0.0)


def reward_weights(rewards_S: Tensor, tau: float) -> Tensor:
    """Compute exp(r / tau), what a record counts in reward-weighted regression: 12.18, 3.49, 1 for 1, 1/2, 0 at 0.4.

    Args:
        rewards_S: any shape. tau: above 0; towards infinity all records count alike.
    Returns:
        Weights of the same shape.
    Source:
        RISE, arXiv:2407.18219, and its code.
    """
    assert tau > 0
    return (rewards_S / tau).exp()


def effective_samples(weights_S: Tensor) -> float:
    """How many records of equal weight would average as well as these: (sum w)^2 / sum w^2; 0 for none.

    Args:
        weights_S: at least 0, shape [S].
    Source:
        Kish, "Survey Sampling" (1965).
    """
    squares = float((weights_S**2).sum())
    return float(weights_S.sum()) ** 2 / squares if squares else 0.0
