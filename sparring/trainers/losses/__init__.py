"""Losses and advantages as pure functions of tensors.

Names carry the axes of a tensor: N sampled tokens, V vocabulary, U distinct allowed sets, S sequences or
episodes, K turns, G groups.
"""

from sparring.trainers.losses.advantages import (
    Advantage,
    gigpo_advantages,
    group_advantages,
    overlong_penalty,
    turn_group_advantages,
    zero_variance,
)
from sparring.trainers.losses.aggregation import Aggregation, aggregate, token_weights
from sparring.trainers.losses.contrastive import copg_loss
from sparring.trainers.losses.cross_entropy import negative_log_likelihood, outcome_loss, weighted_likelihood
from sparring.trainers.losses.filters import progress_weights, top_fraction
from sparring.trainers.losses.gae import bilevel_advantages, discounted_returns, generalized_advantages, whiten
from sparring.trainers.losses.importance import (
    ImportanceLevel,
    ImportanceWeights,
    mismatch_metrics,
    truncated_importance_weights,
)
from sparring.trainers.losses.logprobs import AllowedSets, TokenScores, exact_kl, selected_logprobs
from sparring.trainers.losses.policy_gradient import (
    KLEstimator,
    Surrogate,
    TOPRRatio,
    cispo_loss,
    clipped_surrogate,
    kl_estimate,
    topr_loss,
)
from sparring.trainers.losses.preference import PairLoss, dpo_loss, ipo_loss, rpo_loss, side_sums, simpo_loss
from sparring.trainers.losses.ratios import log_ratio, sequence_log_ratio, sequence_means, sequence_sums
from sparring.trainers.losses.self_correction import (
    AttemptBaseline,
    attempt_advantages,
    effective_samples,
    reward_weights,
    shaped_rewards,
)
from sparring.trainers.losses.values import awr_weights, expectile_loss, polyak_update, value_loss

__all__ = [
    "Advantage",
    "Aggregation",
    "AllowedSets",
    "AttemptBaseline",
    "ImportanceLevel",
    "ImportanceWeights",
    "KLEstimator",
    "PairLoss",
    "Surrogate",
    "TOPRRatio",
    "TokenScores",
    "aggregate",
    "attempt_advantages",
    "awr_weights",
    "bilevel_advantages",
    "cispo_loss",
    "clipped_surrogate",
    "copg_loss",
    "discounted_returns",
    "dpo_loss",
    "effective_samples",
    "exact_kl",
    "expectile_loss",
    "generalized_advantages",
    "gigpo_advantages",
    "group_advantages",
    "ipo_loss",
    "kl_estimate",
    "log_ratio",
    "mismatch_metrics",
    "negative_log_likelihood",
    "outcome_loss",
    "overlong_penalty",
    "polyak_update",
    "progress_weights",
    "reward_weights",
    "rpo_loss",
    "selected_logprobs",
    "sequence_log_ratio",
    "sequence_means",
    "sequence_sums",
    "shaped_rewards",
    "side_sums",
    "simpo_loss",
    "token_weights",
    "top_fraction",
    "topr_loss",
    "truncated_importance_weights",
    "turn_group_advantages",
    "value_loss",
    "weighted_likelihood",
    "whiten",
    "zero_variance",
]
