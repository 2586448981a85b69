"""Losses and advantages as pure functions of tensors.

Names carry the axes of a tensor: N sampled tokens, V vocabulary, U distinct allowed sets, S sequences or
episodes, K turns, G groups.
"""

from sparring.trainers.losses.advantages import Advantage, group_advantages, zero_variance
from sparring.trainers.losses.aggregation import Aggregation, aggregate, token_weights
from sparring.trainers.losses.cross_entropy import negative_log_likelihood
from sparring.trainers.losses.gae import bilevel_advantages, discounted_returns, generalized_advantages, whiten
from sparring.trainers.losses.logprobs import AllowedSets, TokenScores, selected_logprobs
from sparring.trainers.losses.policy_gradient import KLEstimator, Surrogate, clipped_surrogate, kl_estimate
from sparring.trainers.losses.values import awr_weights, expectile_loss, polyak_update, value_loss

__all__ = [
    "Advantage",
    "Aggregation",
    "AllowedSets",
    "KLEstimator",
    "Surrogate",
    "TokenScores",
    "aggregate",
    "awr_weights",
    "bilevel_advantages",
    "clipped_surrogate",
    "discounted_returns",
    "expectile_loss",
    "generalized_advantages",
    "group_advantages",
    "kl_estimate",
    "negative_log_likelihood",
    "polyak_update",
    "selected_logprobs",
    "token_weights",
    "value_loss",
    "whiten",
    "zero_variance",
]
