"""The losses of imitation, and of predicting whether something will succeed."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def negative_log_likelihood(logprobs_N: Tensor) -> Tensor:
    """What imitating a token costs: -log p, in nats.

    Args:
        logprobs_N: log-probabilities of the demonstrated tokens (`logprobs.selected_logprobs`), shape [N].
            Where demonstrations went through constrained decoding, they are renormalised over the admissible
            tokens, and a token that had no alternative costs exactly 0.
    Returns:
        The cost of each token, shape [N]; `aggregation.aggregate` turns it into a loss.
    Source:
        Behaviour cloning is maximum likelihood on the demonstrator's actions (Pomerleau 1991).
    """
    return -logprobs_N


def weighted_likelihood(logprobs_N: Tensor, weights_N: Tensor) -> Tensor:
    """Compute -w log p: imitation in which some tokens count more than others, and some not at all.

    With weights of 0 and 1 it is filtered behaviour cloning, with `values.awr_weights` advantage-weighted regression.

    Args:
        logprobs_N: under the weights being trained, shape [N]. weights_N: at least 0, shape [N], no gradient.
    Returns:
        The loss of each token, shape [N].
    """
    assert logprobs_N.shape == weights_N.shape and not weights_N.requires_grad
    return weights_N * negative_log_likelihood(logprobs_N)


def outcome_loss(logits: Tensor, outcomes: Tensor) -> Tensor:
    """Compute -log p(y) of an outcome y that is 0 or 1, with p(1) = sigmoid(logit).

    Its minimum is the probability of the outcome, which is the Monte-Carlo value of whoever played. Two classes under
    a softmax, as in the source, are the same with the difference of their logits.

    Args:
        logits: any shape. outcomes: 0 or 1, of the same shape.
    Returns:
        The loss of each element, of the same shape.
    Source:
        DigiRL, arXiv:2406.11896, its instruction-level and step-level value functions.
    """
    return F.binary_cross_entropy_with_logits(logits, outcomes.to(logits.dtype), reduction="none")
