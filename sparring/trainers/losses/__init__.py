"""Losses and advantages as pure functions of tensors.

Names carry the axes of a tensor: N sampled tokens, V vocabulary, U distinct allowed sets, S sequences or
episodes, G groups.
"""

from sparring.trainers.losses.advantages import Advantage, group_advantages, zero_variance
from sparring.trainers.losses.aggregation import Aggregation, aggregate, token_weights
from sparring.trainers.losses.cross_entropy import negative_log_likelihood
from sparring.trainers.losses.logprobs import AllowedSets, TokenScores, selected_logprobs
from sparring.trainers.losses.policy_gradient import KLEstimator, Surrogate, clipped_surrogate, kl_estimate

__all__ = [
    "Advantage",
    "Aggregation",
    "AllowedSets",
    "KLEstimator",
    "Surrogate",
    "TokenScores",
    "aggregate",
    "clipped_surrogate",
    "group_advantages",
    "kl_estimate",
    "negative_log_likelihood",
    "selected_logprobs",
    "token_weights",
    "zero_variance",
]
