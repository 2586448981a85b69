"""Advantages from a learned value: over tokens, over turns, and over tokens inside turns.

Sequences stand one after another. Only sampled tokens exist in N, so what a recursion carries back from the first
token of a turn to the last one of the turn before passes over the observation between them unchanged, as it must: an
observation is no decision, it neither discounts nor takes part. A turn's reward belongs on its last sampled token.

No gradient flows through any of these.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def generalized_advantages(
    rewards_N: Tensor, values_N: Tensor, ends_N: Tensor, bootstrap_N: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Weigh all n-step advantages: A_n = sum_k (gamma lam)^k delta_(n+k), delta_n = r_n + gamma V_(n+1) - V_n.

    With lam 1 the advantage is the discounted return-to-go less the value; with lam 0 it is delta.

    Args:
        rewards_N: the reward that follows each token, shape [N].
        values_N: the value V of the state in which each token was chosen, shape [N].
        ends_N: bool, shape [N]; true at the last token of each sequence, so at the last of all.
        bootstrap_N: the value of what follows a sequence's last token, shape [N]: 0 where the episode terminated, V
            of the state that it was cut off in where it was truncated. Read only where `ends_N`.
        gamma: discount a *sampled token*, 0 to 1. lam: 0 (least variance) to 1 (no bias).
    Returns:
        Advantages, and the returns A + V that values learn from; both shape [N], in the dtype of the values.
    Source:
        arXiv:1506.02438, eq. 16; carrying over observations as in the mask of arXiv:2504.20073's code.
    """
    assert values_N.ndim == 1 and values_N.shape == rewards_N.shape == ends_N.shape == bootstrap_N.shape
    advantages = _advantages(rewards_N, values_N, ends_N, bootstrap_N, gamma, lam)
    advantages_N = torch.tensor(advantages, dtype=values_N.dtype, device=values_N.device)
    return advantages_N, advantages_N + values_N.detach()


def bilevel_advantages(
    rewards_K: Tensor,
    values_N: Tensor,
    turn_N: Tensor,
    ends_K: Tensor,
    bootstrap_K: Tensor,
    *,
    gamma: float,
    lam: float,
) -> tuple[Tensor, Tensor]:
    """Give credit to turns first, under a discount a turn, and then to the tokens of each turn without one.

    With V_t the value at the first token of turn t, A_t are the generalised advantages over turns. Inside a turn
    gamma = lam = 1, and what is to be reached is the turn's return: A_(t,j) = A_t + V_t - v_(t,j).

    Two turns of two tokens with v = ((.2, .3), (.5, .6)), r = (0, 1), gamma .95, lam 1 have A_t = (.75, .5), and
    tokens ((.75, .65), (.5, .4)).

    Args:
        rewards_K: the reward of each turn, shape [K], in order, sequence after sequence.
        values_N: the value at each sampled token, shape [N].
        turn_N: the turn that each token belongs to, 0 … K - 1 in ascending order, every one used, int64, shape [N].
        ends_K: bool, shape [K]; true at the last turn of each sequence, so at the last of all.
        bootstrap_K: the value of what follows that turn, 0 where the episode terminated; read only where `ends_K`.
        gamma: discount a turn. lam: as in `generalized_advantages`, over turns.
    Returns:
        Advantages and returns A + v, both shape [N]; the return is the same for all tokens of a turn.
    Raises:
        ValueError: `turn_N` is out of order, or leaves out a turn.
    Source:
        The two levels are those of VAGEN and RAGEN, arXiv:2504.20073; here turns are told apart by their number,
        where that code looks for rewards other than 0 and so loses the turns that have none.
    """
    assert rewards_K.ndim == 1 and rewards_K.shape == ends_K.shape == bootstrap_K.shape
    assert values_N.ndim == 1 and values_N.shape == turn_N.shape
    turns, counts_K = torch.unique_consecutive(turn_N, return_counts=True)
    if turns.tolist() != list(range(len(rewards_K))):
        raise ValueError(
            f"turn_N must name the turns 0 to {len(rewards_K) - 1} in order, each with at least one token, "
            f"got {turns.tolist()}"
        )
    values_K = values_N.detach()[counts_K.cumsum(0) - counts_K]
    advantages = _advantages(rewards_K, values_K, ends_K, bootstrap_K, gamma, lam)
    returns_K = torch.tensor(advantages, dtype=values_N.dtype, device=values_N.device) + values_K
    returns_N = returns_K[turn_N]
    return returns_N - values_N.detach(), returns_N


def discounted_returns(rewards_K: Tensor, ends_K: Tensor, gamma: float) -> Tensor:
    """Add up what is still to come: G_k = r_k + gamma G_(k+1), up to the end of each sequence.

    Args:
        rewards_K: rewards of turns (or tokens), sequence after sequence, shape [K].
        ends_K: bool, shape [K]; true at the last of each sequence, so at the last of all.
        gamma: discount a turn.
    Returns:
        Returns-to-go, shape [K], in the dtype of the rewards.
    """
    assert rewards_K.ndim == 1 and rewards_K.shape == ends_K.shape
    returns = _accumulated(rewards_K.tolist(), ends_K.tolist(), gamma)
    return torch.tensor(returns, dtype=rewards_K.dtype, device=rewards_K.device)


def whiten(values_N: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Shift and scale values to mean 0 and standard deviation 1 (N - 1 in its denominator).

    Do this once over all tokens (or episodes) of an optimiser step, before they are cut into micro-batches.

    Args:
        values_N: shape [N]. eps: added to the standard deviation.
    Returns:
        Shape [N], in the dtype of the values; exactly 0 where all values are equal, or there is only one.
    """
    assert values_N.ndim == 1
    if len(values_N) == 0 or bool((values_N == values_N[0]).all()):
        return torch.zeros_like(values_N)
    exact_N = values_N.detach().to(torch.float64)
    return ((exact_N - exact_N.mean()) / (exact_N.std() + eps)).to(values_N.dtype)


def _advantages(
    rewards_K: Tensor, values_K: Tensor, ends_K: Tensor, bootstrap_K: Tensor, gamma: float, lam: float
) -> list[float]:
    """Generalised advantages over steps of whatever size."""
    ends, values = ends_K.tolist(), values_K.tolist()
    following = [*values[1:], 0.0][: len(values)]
    deltas = [
        reward + gamma * (after_end if end else next_value) - value
        for reward, value, next_value, end, after_end in zip(
            rewards_K.tolist(), values, following, ends, bootstrap_K.tolist(), strict=True
        )
    ]
    return _accumulated(deltas, ends, gamma * lam)


def _accumulated(terms: Sequence[float], ends: Sequence[bool], decay: float) -> list[float]:
    """Discounted sums of the terms from each to the end of its sequence, in Python's float64."""
    assert not ends or ends[-1], "the last of all must end a sequence"
    total, totals = 0.0, []
    for term, end in zip(reversed(terms), reversed(ends), strict=True):
        total = term if end else term + decay * total
        totals.append(total)
    return totals[::-1]
