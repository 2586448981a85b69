"""What critics learn by, and what an actor learns from them when it may only imitate."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def value_loss(values_N: Tensor, old_values_N: Tensor, returns_N: Tensor, clip: float | None) -> Tensor:
    """Compute 1/2 max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2).

    A value that has moved by more than `clip` from what it was when the samples were drawn has no gradient, unless it
    moved away from its return.

    Args:
        values_N: under the weights being trained, shape [N]. old_values_N: as they were at sampling, shape [N].
        returns_N: what to predict, shape [N]. clip: above 0, or None for plain 1/2 (V - R)^2.
    Returns:
        The loss of each token, shape [N].
    Source:
        The clip is that of OpenAI's baselines for PPO; it is not in arXiv:1707.06347.
    """
    assert values_N.shape == old_values_N.shape == returns_N.shape
    assert not old_values_N.requires_grad and not returns_N.requires_grad
    squared_N = (values_N - returns_N) ** 2
    if clip is not None:
        assert clip > 0
        near_N = old_values_N + (values_N - old_values_N).clamp(-clip, clip)
        squared_N = torch.maximum(squared_N, (near_N - returns_N) ** 2)
    return squared_N / 2


def expectile_loss(u_N: Tensor, tau: float) -> Tensor:
    """Compute |tau - 1(u < 0)| u^2, whose minimum over v, with u = q - v, is the tau-expectile of q.

    Args:
        u_N: how far the value lies below its target, shape [N]. tau: 0 to 1; 1/2 is half the squared error, and
            towards 1 the value nears the largest target.
    Returns:
        The loss of each element, shape [N].
    Source:
        Implicit Q-learning, arXiv:2110.06169, section 4.1.
    """
    assert 0 < tau < 1
    return (tau - (u_N < 0).to(u_N.dtype)).abs() * u_N**2


def awr_weights(advantages: Tensor, beta: float, max_weight: float = 100.0) -> Tensor:
    """Compute what an action counts in imitation: min(exp(beta A), max_weight).

    Args:
        advantages: any shape. beta: how strongly better actions are preferred, at least 0; 0 imitates all alike.
        max_weight: bound on one action's weight.
    Returns:
        Weights, of the same shape, without gradient.
    Source:
        Advantage-weighted regression, arXiv:1910.00177, whose temperature is 1 / beta.
    """
    assert beta >= 0 and max_weight > 0
    return (beta * advantages.detach()).exp().clamp(max=max_weight)


@torch.no_grad()
def polyak_update(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Move every parameter of a target network a step towards its source: target += tau (source - target), in place.

    Buffers are copied, since a blend of counters or of running statistics means nothing.

    Args:
        target, source: two copies of one architecture. tau: 0 (stay) to 1 (copy).
    Raises:
        ValueError: the two have different parameters or buffers.
    """
    assert 0 <= tau <= 1
    targets, sources = dict(target.named_parameters()), dict(source.named_parameters())
    target_buffers, source_buffers = dict(target.named_buffers()), dict(source.named_buffers())
    differing = (targets.keys() ^ sources.keys()) | (target_buffers.keys() ^ source_buffers.keys())
    if differing:
        raise ValueError(
            f"a target network must be a copy of its source, but only one of them has: {', '.join(sorted(differing))}"
        )
    for name, parameter in targets.items():
        parameter.lerp_(sources[name], tau)
    for name, buffer in target_buffers.items():
        buffer.copy_(source_buffers[name])
