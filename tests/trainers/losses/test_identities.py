"""Where one method is another in disguise, and what no loss may see: observation tokens."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparring.trainers.losses import (
    Surrogate,
    awr_weights,
    cispo_loss,
    clipped_surrogate,
    discounted_returns,
    generalized_advantages,
    gigpo_advantages,
    group_advantages,
    negative_log_likelihood,
    selected_logprobs,
    sequence_log_ratio,
    topr_loss,
    truncated_importance_weights,
)

F64 = torch.float64
INFINITY = float("inf")
SEEDS = st.integers(0, 2**16)


def noise(count: int, seed: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=F64)


def gradient(loss: Tensor, logprobs: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, logprobs)
    return found


@given(SEEDS, st.floats(0, 1))
def test_ppo_without_clip_or_critic_is_reinforce_with_return_to_go(seed: int, gamma: float) -> None:
    ends = torch.tensor([0, 0, 1, 0, 1]).bool()
    rewards, zeros = noise(5, seed), torch.zeros(5, dtype=F64)
    logprobs = noise(5, seed + 1).requires_grad_()
    advantages, _ = generalized_advantages(rewards, zeros, ends, zeros, gamma=gamma, lam=1)
    surrogate = clipped_surrogate(logprobs, logprobs.detach(), advantages, eps_low=INFINITY, eps_high=INFINITY)
    reinforce = -(discounted_returns(rewards, ends, gamma) * logprobs).sum()
    torch.testing.assert_close(gradient(surrogate.loss_N.sum(), logprobs), gradient(reinforce, logprobs))


@pytest.mark.parametrize("ratio", ["token", "sequence", "sequence-mean"])
@given(SEEDS)
def test_topr_on_good_samples_is_weighted_imitation(ratio: str, seed: int) -> None:
    sequence = torch.tensor([0, 0, 1, 2, 2])
    returns = noise(3, seed).abs()[sequence]
    logprobs, behaviour = noise(5, seed + 1).requires_grad_(), noise(5, seed + 2)
    loss_N = topr_loss(logprobs, behaviour, returns, sequence, ratio).loss_N
    assert torch.equal(loss_N, returns * negative_log_likelihood(logprobs))


@pytest.mark.parametrize("ratio", ["token", "sequence", "sequence-mean"])
@given(SEEDS)
def test_topr_on_own_samples_is_reinforce(ratio: str, seed: int) -> None:
    sequence = torch.tensor([0, 0, 1, 2, 2])
    returns, logprobs = noise(3, seed)[sequence], noise(5, seed + 1).requires_grad_()
    loss_N = topr_loss(logprobs, logprobs.detach(), returns, sequence, ratio).loss_N
    assert torch.equal(loss_N, -returns * logprobs)


@given(SEEDS, st.booleans(), st.floats(0, 3))
def test_gigpo_where_no_state_returns_is_grpo(seed: int, normalise: bool, omega: float) -> None:
    returns, groups = noise(6, seed), torch.tensor([0, 0, 0, 1, 1, 1])
    sequence = torch.randint(0, 6, (10,), generator=torch.Generator().manual_seed(seed))
    advantages = gigpo_advantages(
        returns, groups, noise(10, seed + 1), sequence, torch.arange(10), omega=omega, normalise=normalise
    )
    episode = group_advantages(returns, groups, "grpo" if normalise else "dr_grpo")
    assert torch.equal(advantages, episode[sequence])


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("masked", [False, True])
@given(SEEDS, st.floats(1, 5))
def test_importance_weights_of_an_exact_sampler_change_nothing(level: str, masked: bool, seed: int, cap: float) -> None:
    old, sequence = noise(5, seed), torch.tensor([0, 0, 1, 2, 2])
    weights = truncated_importance_weights(old, old, sequence, level, cap, masked=masked)
    assert weights.weights_N.tolist() == [1] * 5
    assert not weights.truncated_N.any()


@given(SEEDS)
def test_advantage_weighted_imitation_without_preference_is_imitation(seed: int) -> None:
    logprobs = noise(4, seed)
    nll_N = negative_log_likelihood(logprobs)
    assert torch.equal(awr_weights(noise(4, seed + 1), 0.0) * nll_N, nll_N)


@given(SEEDS)
def test_on_fresh_samples_all_surrogates_have_one_gradient(seed: int) -> None:
    # At ratio 1 each is REINFORCE: -A. TOPR takes an advantage for its return.
    logprobs, advantages = noise(5, seed).requires_grad_(), noise(5, seed + 1)
    old, sequence = logprobs.detach(), torch.tensor([0, 0, 1, 2, 2])
    by_sequence = sequence_log_ratio(logprobs, old, sequence)
    surrogates: list[Surrogate] = [
        clipped_surrogate(logprobs, old, advantages),
        clipped_surrogate(logprobs, old, advantages, log_ratio_N=by_sequence),
        cispo_loss(logprobs, old, advantages, eps_high=0.2),
        topr_loss(logprobs, old, advantages, sequence, "token"),
    ]
    for surrogate in surrogates:
        torch.testing.assert_close(gradient(surrogate.loss_N.sum(), logprobs), -advantages)
        assert not surrogate.clipped_N.any()


@settings(max_examples=20)
@given(SEEDS, st.floats(-50, 50), st.integers(0, 3))
def test_logits_at_observation_tokens_have_no_influence(seed: int, garbage: float, method: int) -> None:
    # Two rows of six positions, of which five were sampled; scores are taken at those alone, as batches do.
    mask_BT = torch.tensor([[0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 0, 0]]).bool()
    logits_BTV = noise(2 * 6 * 4, seed).view(2, 6, 4)
    ids_N = torch.randint(0, 4, (5,), generator=torch.Generator().manual_seed(seed))
    old, advantages, sequence = -noise(5, seed + 1).abs(), noise(5, seed + 2), torch.tensor([0, 0, 0, 1, 1])

    def learn(logits_BTV: Tensor) -> tuple[Tensor, Tensor]:
        logits_BTV = logits_BTV.clone().requires_grad_()
        logprobs = selected_logprobs(logits_BTV[mask_BT], ids_N).logprobs_N
        loss_N = [
            lambda: clipped_surrogate(logprobs, old, advantages).loss_N,
            lambda: (
                clipped_surrogate(
                    logprobs, old, advantages, log_ratio_N=sequence_log_ratio(logprobs, old, sequence)
                ).loss_N
            ),
            lambda: cispo_loss(logprobs, old, advantages, eps_high=math.e).loss_N,
            lambda: topr_loss(logprobs, old, advantages, sequence, "sequence").loss_N,
        ][method]()
        return loss_N.detach(), gradient(loss_N.sum(), logits_BTV)

    clean_loss, clean = learn(logits_BTV)
    dirty_loss, dirty = learn(logits_BTV.where(mask_BT[..., None], garbage))
    assert torch.equal(clean_loss, dirty_loss)
    assert torch.equal(clean, dirty)
    assert not clean[~mask_BT].any()
