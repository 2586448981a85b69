"""Losses on pairs of sequences of which one is preferred: DPO, cDPO, IPO, RPO and SimPO.

A sequence may be an episode, what is left of it after a turn, or one turn. Its log-probability is the sum over the
tokens that the policy sampled in it, and its log-ratio the sum of log policy - log reference over them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PairLoss:
    """The losses of P pairs, and what the policy thinks of their sides.

    Attributes:
        loss_P: with gradient, shape [P].
        chosen_reward_P, rejected_reward_P: implicit rewards, no gradient, shape [P]. Where the first is the larger the
            policy agrees with the pair; their difference is its margin.
    """

    loss_P: Tensor
    chosen_reward_P: Tensor
    rejected_reward_P: Tensor


def dpo_loss(
    chosen_log_ratio_P: Tensor,
    rejected_log_ratio_P: Tensor,
    beta: float,
    *,
    label_smoothing: float = 0.0,
    offset_P: Tensor | None = None,
) -> PairLoss:
    """Make the chosen side likelier against the rejected one, as seen from the reference.

    With h = beta (chosen log-ratio - rejected log-ratio) - offset the loss is -log sigmoid(h): the likelihood of the
    preference in the Bradley-Terry model whose rewards are beta log-ratio. Under label smoothing e, where a share e of
    the pairs is taken to be the wrong way round (cDPO), it is -(1 - e) log sigmoid(h) - e log sigmoid(-h), which is
    least at the finite h = log((1 - e) / e).

    beta .1 and a difference of log-ratios of 2 give -log sigmoid(.2) = .59814.

    Args:
        chosen_log_ratio_P, rejected_log_ratio_P: summed over tokens, shape [P].
        beta: strength of the hold on the reference, above 0; 0.1 to 0.5 is common.
        label_smoothing: within 0 and 0.5, exclusive.
        offset_P: by how much beta times the difference should exceed 0, shape [P]; 0 by default.
    Source:
        DPO, arXiv:2305.18290, eq. 7; label smoothing: E. Mitchell, "A note on DPO with noisy preferences" (2023);
        offset: ODPO, arXiv:2402.10571.
    """
    assert chosen_log_ratio_P.shape == rejected_log_ratio_P.shape and beta > 0 and 0 <= label_smoothing < 0.5
    chosen_P, rejected_P = beta * chosen_log_ratio_P, beta * rejected_log_ratio_P
    logit_P = chosen_P - rejected_P
    if offset_P is not None:
        assert offset_P.shape == logit_P.shape and not offset_P.requires_grad
        logit_P = logit_P - offset_P
    loss_P = -F.logsigmoid(logit_P)
    if label_smoothing:
        loss_P = (1 - label_smoothing) * loss_P - label_smoothing * F.logsigmoid(-logit_P)
    return PairLoss(loss_P, chosen_P.detach(), rejected_P.detach())


def ipo_loss(chosen_log_ratio_P: Tensor, rejected_log_ratio_P: Tensor, beta: float) -> PairLoss:
    """Draw the difference of log-ratios to 1 / (2 beta), and not beyond, however sure the preference is.

    The loss is (chosen log-ratio - rejected log-ratio - 1 / (2 beta))^2. beta .1 and a difference of 2 give
    (2 - 5)^2 = 9.

    Log-ratios are sums over tokens, as in the paper. TRL takes their mean over tokens, so that its beta means another
    thing: about this beta times the number of tokens.

    Args:
        chosen_log_ratio_P, rejected_log_ratio_P: summed over tokens, shape [P]. beta: tau in the paper, above 0.
    Source:
        IPO, arXiv:2310.12036, eq. 17.
    """
    assert chosen_log_ratio_P.shape == rejected_log_ratio_P.shape and beta > 0
    difference_P = chosen_log_ratio_P - rejected_log_ratio_P
    return PairLoss(
        (difference_P - 1 / (2 * beta)) ** 2,
        beta * chosen_log_ratio_P.detach(),
        beta * rejected_log_ratio_P.detach(),
    )


def rpo_loss(
    chosen_log_ratio_P: Tensor,
    rejected_log_ratio_P: Tensor,
    chosen_logprob_P: Tensor,
    chosen_tokens_P: Tensor,
    beta: float,
    *,
    nll_coef: float,
    offset_P: Tensor | None = None,
) -> PairLoss:
    """Add imitation of the chosen side to DPO, which alone is content with both sides growing unlikely.

    The loss is that of `dpo_loss` - nll_coef * chosen log-probability / chosen tokens.

    Args:
        chosen_log_ratio_P, rejected_log_ratio_P: summed over tokens, shape [P].
        chosen_logprob_P: summed over tokens, with gradient, shape [P]. chosen_tokens_P: their number, shape [P].
        beta, offset_P: as for `dpo_loss`. nll_coef: alpha in the paper, which takes 1.
    Source:
        Iterative reasoning preference optimisation, arXiv:2404.19733, eq. 1.
    """
    assert chosen_logprob_P.shape == chosen_tokens_P.shape == chosen_log_ratio_P.shape and nll_coef >= 0
    found = dpo_loss(chosen_log_ratio_P, rejected_log_ratio_P, beta, offset_P=offset_P)
    nll_P = -chosen_logprob_P / chosen_tokens_P
    return PairLoss(found.loss_P + nll_coef * nll_P, found.chosen_reward_P, found.rejected_reward_P)


def simpo_loss(
    chosen_logprob_P: Tensor,
    rejected_logprob_P: Tensor,
    chosen_tokens_P: Tensor,
    rejected_tokens_P: Tensor,
    beta: float,
    *,
    margin: float,
) -> PairLoss:
    """Make a token of the chosen side likelier than one of the rejected side, with no reference at all.

    The implicit reward of a side is beta times its mean log-probability a token, and the loss
    -log sigmoid(chosen reward - rejected reward - margin).

    Args:
        chosen_logprob_P, rejected_logprob_P: summed over tokens, shape [P].
        chosen_tokens_P, rejected_tokens_P: numbers of tokens, shape [P].
        beta: above 0; the paper takes 2 to 10, as rewards are means and not sums. margin: gamma, 0.3 to 1.6 there.
    Source:
        SimPO, arXiv:2405.14734, eq. 6.
    """
    assert chosen_logprob_P.shape == rejected_logprob_P.shape == chosen_tokens_P.shape == rejected_tokens_P.shape
    assert beta > 0
    chosen_P = beta * chosen_logprob_P / chosen_tokens_P
    rejected_P = beta * rejected_logprob_P / rejected_tokens_P
    return PairLoss(-F.logsigmoid(chosen_P - rejected_P - margin), chosen_P.detach(), rejected_P.detach())


def side_sums(values_N: Tensor, side_N: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
    """Add up token values over the two sides of each pair.

    Args:
        values_N: shape [N]. side_N: 2 p for a token of the chosen side of pair p, 2 p + 1 for one of its rejected
            side, int64, shape [N]. pairs: their number P.
    Returns:
        Sums over the chosen sides and over the rejected ones, both shape [P].
    """
    assert values_N.shape == side_N.shape
    sums_P2 = torch.zeros(2 * pairs, dtype=values_N.dtype, device=values_N.device).index_add(0, side_N, values_N)
    chosen_P, rejected_P = sums_P2.view(pairs, 2).unbind(1)
    return chosen_P, rejected_P
