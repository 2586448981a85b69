"""Filters: which episodes and which turns are worth imitating."""

from __future__ import annotations

import torch
from torch import Tensor


def top_fraction(values_S: Tensor, fraction: float) -> Tensor:
    """Mark the best: values of at least the (1 - fraction) quantile, interpolated linearly.

    Where many share one value, more may be marked than the fraction: of equal values all are.

    Args:
        values_S: shape [S]. fraction: above 0, at most 1; 0.1 keeps what reaches the 90th percentile.
    Returns:
        bool, shape [S].
    Source:
        Filtered behaviour cloning as ArCHer's baseline, arXiv:2402.19446; DigiRL's filter of instructions.
    """
    assert values_S.ndim == 1 and 0 < fraction <= 1
    if not len(values_S):
        return torch.zeros(0, dtype=torch.bool)
    values_S = values_S.to(torch.float64)
    # Interpolation may round the threshold to just above the values that it stands for.
    threshold = torch.quantile(values_S, 1 - fraction)
    return values_S >= threshold - 1e-12 * threshold.abs().clamp(min=1)


def progress_weights(
    values_K: Tensor, next_values_K: Tensor, rewards_K: Tensor, to_go_K: Tensor, step_cost: float = 0.05
) -> Tensor:
    """Compute 1[A > 0] with A = V(h') - V(h) - step_cost + r + mc, the hard filter of turns.

    V .40 -> .43 without reward gains less than a turn costs and is left out (0); .40 -> .50 is kept (1).

    Args:
        values_K, next_values_K: value of what each turn saw, and of what came of it (0 behind an end), shape [K].
        rewards_K: r, of the turn. to_go_K: mc, the discounted reward from this turn to the episode's end.
        step_cost: what a turn must gain to be progress.
    Returns:
        0 or 1, float32, shape [K].
    Source:
        DigiRL, arXiv:2406.11896, its released code.
    """
    assert values_K.shape == next_values_K.shape == rewards_K.shape == to_go_K.shape
    return (next_values_K - values_K - step_cost + rewards_K + to_go_K > 0).to(torch.float32)
