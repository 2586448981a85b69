"""Log-probabilities of chosen tokens, and entropies, where decoding may have been constrained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class AllowedSets:
    """The token sets that constrained decoding was held to, each distinct set stored once.

    Attributes:
        allowed_UV: bool, shape [U, V]; row u is true at the tokens of distinct set u.
        index_N: int64, shape [N]; the row that token n was drawn from, -1 where it was drawn freely.
    """

    allowed_UV: Tensor
    index_N: Tensor


@dataclass(frozen=True, slots=True)
class TokenScores:
    """What a policy says about N tokens.

    Attributes:
        logprobs_N: natural log-probability of each token, shape [N].
        entropy_N: entropy in nats of the distribution that each token was drawn from, shape [N].
    """

    logprobs_N: Tensor
    entropy_N: Tensor


def selected_logprobs(
    logits_NV: Tensor, ids_N: Tensor, allowed: AllowedSets | None = None, temperature: float = 1.0
) -> TokenScores:
    """Score tokens under a tempered softmax, renormalised over the allowed set where there is one.

    For token n with allowed set A (the whole vocabulary where decoding was free) and x = logits / temperature:
    log p(i) = x_i - log sum_{j in A} exp(x_j), for i in A. Logits outside A have no influence, and gradient 0.

    Args:
        logits_NV: raw logits, shape [N, V].
        ids_N: the tokens, int64, shape [N]; each in its allowed set.
        allowed: the sets, or None where all N tokens were drawn freely.
        temperature: above 0.
    Returns:
        Log-probabilities and entropies, both shape [N].
    """
    assert logits_NV.ndim == 2 and ids_N.shape == logits_NV.shape[:1]
    logprobs_NV, finite_NV = _distributions(logits_NV, allowed, temperature)
    entropy_N = -(logprobs_NV.exp() * finite_NV).sum(-1)
    return TokenScores(logprobs_NV.gather(-1, ids_N[:, None]).squeeze(-1), entropy_N)


def exact_kl(
    logits_NV: Tensor, reference_NV: Tensor, allowed: AllowedSets | None = None, temperature: float = 1.0
) -> Tensor:
    """Compute KL(policy || reference) of the distributions that tokens are drawn from, summed over the vocabulary.

    It is what `kl_estimate` estimates from the sampled token alone, without that estimate's noise. As a loss it has the
    gradient of each token's own KL; that a token also leads to others is left out, there as here.

    Args:
        logits_NV: raw logits of the policy, shape [N, V]. reference_NV: of the reference, no gradient, shape [N, V].
        allowed, temperature: as for `selected_logprobs`; both distributions are held to the same sets.
    Returns:
        KL in nats, at least 0 up to rounding, shape [N].
    """
    assert logits_NV.ndim == 2 and logits_NV.shape == reference_NV.shape and not reference_NV.requires_grad
    logprobs_NV, finite_NV = _distributions(logits_NV, allowed, temperature)
    _, reference_finite_NV = _distributions(reference_NV, allowed, temperature)
    return (logprobs_NV.exp() * (finite_NV - reference_finite_NV)).sum(-1)


def _distributions(logits_NV: Tensor, allowed: AllowedSets | None, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities [N, V], -inf where forbidden; and the same with 0 there, which keeps 0 * -inf out of sums."""
    assert temperature > 0
    scaled_NV = logits_NV if temperature == 1.0 else logits_NV / temperature
    if allowed is None or allowed.allowed_UV.shape[0] == 0:
        logprobs_NV = scaled_NV.log_softmax(-1)
        return logprobs_NV, logprobs_NV
    everything_1V = torch.ones_like(allowed.allowed_UV[:1])
    # Row -1 of the enlarged table is "everything", which is what index -1 asks for.
    forbidden_NV = ~torch.cat([allowed.allowed_UV, everything_1V])[allowed.index_N]
    logprobs_NV = scaled_NV.masked_fill(forbidden_NV, float("-inf")).log_softmax(-1)
    return logprobs_NV, logprobs_NV.masked_fill(forbidden_NV, 0.0)
