"""Advantages of whole episodes, and of single turns, against what else was played in their group."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from sparring.trainers.losses.gae import whiten

Advantage = Literal["grpo", "rloo", "dr_grpo", "reinforce++", "reinforce++-baseline"]


def group_advantages(returns_S: Tensor, group_S: Tensor, method: Advantage, *, eps: float = 1e-6) -> Tensor:
    """Compare each return with those of its group (same task, same environment seed).

    | method | A_i | source |
    |---|---|---|
    | `grpo` | (R_i - mean) / (std + eps), std with G - 1 in the denominator | arXiv:2402.03300, section 4.1.2 |
    | `rloo` | R_i - mean of the *other* returns = G / (G - 1) (R_i - mean) | arXiv:2402.14740, eq. 6 |
    | `dr_grpo` | R_i - mean | arXiv:2503.20783, eq. 3 |
    | `reinforce++` | R_i whitened over all S episodes; groups do not matter | arXiv:2501.03262 |
    | `reinforce++-baseline` | R_i - mean, whitened over all S episodes | arXiv:2501.03262 |

    [1, 0, 0, 0] gives 1.5 and -0.5 (grpo), 1 and -1/3 (rloo), 0.75 and -0.25 (dr_grpo).

    Args:
        returns_S: episode returns, shape [S], of episodes that really ended: a failed one must be left out,
            which changes the group's mean and size, rather than count as 0.
        group_S: int64, shape [S]; equal numbers mean the same group. Groups may differ in size.
        eps: keeps grpo finite.
    Returns:
        Advantages, float32, shape [S]; exactly 0 throughout a group of equal returns, but for `reinforce++`. A group
        of one has no baseline: its return stands for R_i - mean, so a trainer had better leave it out.
    Raises:
        ValueError: unknown method.
    """
    assert returns_S.ndim == 1 and returns_S.shape == group_S.shape
    # In float64, so that rounding in the mean of equal returns is not blown up by a std of nearly 0.
    returns_S = returns_S.to(torch.float64)
    if method == "reinforce++":
        return whiten(returns_S).to(torch.float32)
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
    elif method == "reinforce++-baseline":
        advantages_S = whiten(centred_S)
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


def gigpo_advantages(
    returns_S: Tensor,
    group_S: Tensor,
    step_returns_K: Tensor,
    sequence_K: Tensor,
    anchor_K: Tensor,
    *,
    omega: float = 1.0,
    normalise: bool,
) -> Tensor:
    """Add to an episode's advantage, turn by turn, how well it went on from a state against all who stood there.

    A_k = A(episode of k) + omega (G_k - mean of G over the turns of the group taken in the same state), the second
    term 0 for a state that nobody else of the group saw, nor the episode itself a second time: where no state
    returns, this is GRPO. An episode that comes back to a state is compared with its own later visits too, which
    is meant: it lowers the credit of walking in circles.

    Returns (10, 10, 0, 0) and, from one shared state, G = (9.025, 9.5, 0, 0) give (9.394, 9.869, -9.631, -9.631)
    without `normalise`.

    Args:
        returns_S: episode returns, shape [S]. group_S: their groups, int64, shape [S].
        step_returns_K: discounted returns-to-go of turns (`gae.discounted_returns`; the paper's discount is 0.95),
            shape [K].
        sequence_K: the episode 0 … S - 1 of each turn, int64, shape [K].
        anchor_K: int64, shape [K]; within a group, equal numbers mean the same state. What tells states apart must
            leave out step counters and clocks.
        omega: weight of the second term.
        normalise: divide both terms by the standard deviation of what they were compared with.
    Returns:
        Advantages of turns, float32, shape [K].
    Source:
        GiGPO, arXiv:2505.10978; `normalise` off there for WebShop and Sokoban, on for ALFWorld.
    """
    assert step_returns_K.shape == sequence_K.shape == anchor_K.shape
    method: Advantage = "grpo" if normalise else "dr_grpo"
    episode_S = group_advantages(returns_S, group_S, method)
    step_K = _turn_advantages(step_returns_K, group_S[sequence_K], anchor_K, method)
    return episode_S[sequence_K] + omega * step_K


def turn_group_advantages(
    step_returns_K: Tensor, sequence_K: Tensor, turn_K: Tensor, group_S: Tensor, *, normalise: bool = False
) -> Tensor:
    """Compare each turn's return-to-go with those of the same turn of the other episodes of its group.

    Args:
        step_returns_K: discounted returns-to-go (`gae.discounted_returns`), shape [K].
        sequence_K: the episode 0 … S - 1 of each turn, int64, shape [K].
        turn_K: its number within the episode, int64, shape [K].
        group_S: the group of each episode, int64, shape [S].
        normalise: divide by the standard deviation of what is compared.
    Returns:
        Advantages of turns, float32, shape [K]; 0 for a turn that only one episode of the group got to.
    """
    assert step_returns_K.shape == sequence_K.shape == turn_K.shape
    return _turn_advantages(step_returns_K, group_S[sequence_K], turn_K, "grpo" if normalise else "dr_grpo")


def _turn_advantages(returns_K: Tensor, group_K: Tensor, key_K: Tensor, method: Advantage) -> Tensor:
    """Compare turns that share both group and key; 0 for one alone."""
    _, cell_K, size = torch.unique(torch.stack([group_K, key_K]), dim=1, return_inverse=True, return_counts=True)
    return group_advantages(returns_K, cell_K, method).where(size[cell_K] > 1, 0.0)


def overlong_penalty(lengths_S: Tensor, max_tokens: int, cache_tokens: int) -> Tensor:
    """What to add to the return of an episode that nears its limit of tokens, so that being cut off is no surprise.

    0 up to max_tokens - cache_tokens, from there down in a straight line to -1 at max_tokens, -1 beyond.

    Args:
        lengths_S: sampled tokens of each episode, shape [S]. max_tokens: the limit. cache_tokens: length of the slope.
    Returns:
        Penalties from 0 to -1, float32, shape [S].
    Raises:
        ValueError: the slope is empty, or longer than the limit.
    Source:
        DAPO, arXiv:2503.14476, eq. 13.
    """
    if not 0 < cache_tokens <= max_tokens:
        raise ValueError(f"cache_tokens must lie within 1 and max_tokens ({max_tokens}), got {cache_tokens}")
    return ((max_tokens - cache_tokens - lengths_S.to(torch.float32)) / cache_tokens).clamp(-1, 0)
