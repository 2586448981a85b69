"""The loss of imitation."""

from __future__ import annotations

from torch import Tensor


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
