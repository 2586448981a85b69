"""Choose the next token of each row of a batch, and say how likely it was.

The log-probability is that of the temperature-scaled distribution over the admissible tokens, before nucleus
truncation: what a trainer recomputes, and what importance ratios need. Each row brings its
own uniform number, so what it samples does not depend on its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from sparring.agents.grammar import Ids
from sparring.errors import InvalidConfig


def check_settings(temperature: float, top_p: float) -> None:
    """Refuse settings outside their range.

    Raises:
        InvalidConfig: temperature not above 0, or top_p outside (0, 1].
    """
    if not temperature > 0:
        raise InvalidConfig(f"temperature must be above 0, got {temperature}; for the likeliest token use greedy=True")
    if not 0 < top_p <= 1:
        raise InvalidConfig(f"top_p must be above 0 and at most 1, got {top_p}")


def log_probabilities(
    logits_BV: torch.Tensor, *, temperature: float = 1.0, allowed: Sequence[Ids | None] | None = None
) -> torch.Tensor:
    """Temperature-scaled log-probabilities over the admissible tokens, float32 [B, V]; -inf elsewhere.

    Args:
        logits_BV: next-token logits, [B, V].
        allowed: for each row the admissible ids, or None where everything is. None constrains no row.
    """
    scaled_BV = logits_BV.float() / temperature
    if allowed is not None and any(ids is not None for ids in allowed):
        banned_BV = np.zeros(tuple(logits_BV.shape), dtype=np.bool_)
        for row, ids in enumerate(allowed):
            if ids is not None:
                banned_BV[row] = True
                banned_BV[row, ids] = False
        scaled_BV = scaled_BV.masked_fill(torch.from_numpy(banned_BV).to(scaled_BV.device), -torch.inf)
    return torch.log_softmax(scaled_BV, dim=-1)


def nucleus(probabilities_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """Zero what lies outside the smallest set of likeliest tokens that holds at least `top_p`, [B, V].

    Source: Holtzman et al., The Curious Case of Neural Text Degeneration, arXiv:1904.09751. The likeliest token
    always stays. The result is not renormalised.
    """
    sorted_BV, order_BV = probabilities_BV.sort(dim=-1, descending=True, stable=True)
    before_BV = sorted_BV.cumsum(dim=-1) - sorted_BV
    kept_BV = sorted_BV.masked_fill(before_BV >= top_p, 0.0)
    kept_BV[:, 0] = sorted_BV[:, 0]
    return torch.zeros_like(probabilities_BV).scatter_(-1, order_BV, kept_BV)


def sample(
    logits_BV: torch.Tensor,
    uniforms_B: Sequence[float] | None,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    allowed: Sequence[Ids | None] | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Choose a token for each row.

    Args:
        logits_BV: next-token logits, [B, V].
        uniforms_B: a number in [0, 1) for each row, inverted through the distribution's cumulative sum in order
            of token ids; None takes the likeliest token.
        temperature, top_p: of the distribution. allowed: as for `log_probabilities`.
    Returns:
        Token ids, int64 [B], and their log-probabilities, float32 [B].
    """
    logprobs_BV = log_probabilities(logits_BV, temperature=temperature, allowed=allowed)
    if uniforms_B is None:
        tokens_B = logprobs_BV.argmax(dim=-1)
    else:
        probabilities_BV = logprobs_BV.double().exp()
        if top_p < 1:
            probabilities_BV = nucleus(probabilities_BV, top_p)
        cumulative_BV = probabilities_BV.cumsum(dim=-1)
        uniforms = torch.tensor(uniforms_B, dtype=torch.float64, device=logits_BV.device)
        # Strictly above the target: a token of probability 0 adds nothing to the sum and is never the first above.
        target_B1 = (uniforms * cumulative_BV[:, -1]).unsqueeze(-1)
        last_B1 = torch.searchsorted(cumulative_BV, cumulative_BV[:, -1:].contiguous())
        tokens_B = torch.searchsorted(cumulative_BV, target_B1, right=True).minimum(last_B1).squeeze(-1)
    chosen_B = logprobs_BV.gather(-1, tokens_B.unsqueeze(-1)).squeeze(-1)
    return tokens_B.cpu().numpy(), chosen_B.cpu().numpy()
