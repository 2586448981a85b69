"""Rewards and weights of attempts against the papers' figures, and the exact KL against its closed form."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparring.trainers.losses import (
    AllowedSets,
    attempt_advantages,
    effective_samples,
    exact_kl,
    kl_estimate,
    reward_weights,
    selected_logprobs,
    shaped_rewards,
)

REWARDS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6)


def laid_out(pairs: list[tuple[float, float]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards, sequences and attempt numbers of episodes of two attempts each."""
    rewards_K = torch.tensor([one for pair in pairs for one in pair], dtype=torch.float64)
    sequence_K = torch.arange(len(pairs)).repeat_interleave(2)
    return rewards_K, sequence_K, torch.tensor([0, 1] * len(pairs))


def test_shaped_second_rewards() -> None:
    rewards_K, sequence_K, _ = laid_out([(0, 1), (1, 1), (1, 0), (0, 0)])
    assert shaped_rewards(rewards_K, sequence_K, 10.0).tolist() == [0, 11, 1, 1, 1, -10, 0, 0]


def test_each_attempt_is_measured_by_the_one_before_it() -> None:
    rewards_K, sequence_K = torch.tensor([0.0, 0.5, 1.0, 0.25]), torch.tensor([3, 3, 3, 5])
    assert shaped_rewards(rewards_K, sequence_K, 2.0).tolist() == [0, 1.5, 2, 0.25]


@given(REWARDS)
def test_without_a_bonus_nothing_is_shaped(pairs: list[tuple[float, float]]) -> None:
    rewards_K, sequence_K, _ = laid_out(pairs)
    torch.testing.assert_close(shaped_rewards(rewards_K, sequence_K, 0.0), rewards_K)


@given(REWARDS, st.floats(0, 1), st.sampled_from(["leave-one-out", "mean"]))
def test_baselines_centre_each_attempt_by_itself(pairs: list[tuple[float, float]], other: float, baseline: str) -> None:
    rewards_K, sequence_K, attempt_K = laid_out(pairs)
    group_S = torch.zeros(len(pairs), dtype=torch.int64)
    found_K = attempt_advantages(rewards_K, sequence_K, attempt_K, group_S, baseline)  # type: ignore[arg-type]
    for attempt in (0, 1):
        assert found_K[attempt_K == attempt].sum().item() == pytest.approx(0, abs=1e-5)
    changed_K = rewards_K.where(attempt_K == 0, other)
    again_K = attempt_advantages(changed_K, sequence_K, attempt_K, group_S, baseline)  # type: ignore[arg-type]
    torch.testing.assert_close(found_K[attempt_K == 0], again_K[attempt_K == 0])


def test_leave_one_out_stays_within_the_group() -> None:
    rewards_K, sequence_K, attempt_K = laid_out([(1, 0), (0, 0), (1, 1), (1, 1)])
    group_S = torch.tensor([0, 0, 1, 1])
    found_K = attempt_advantages(rewards_K, sequence_K, attempt_K, group_S, "leave-one-out")
    assert found_K.tolist() == [1, 0, -1, 0, 0, 0, 0, 0]


def test_an_unknown_baseline() -> None:
    one = torch.zeros(1)
    with pytest.raises(ValueError, match='no baseline "none at all"'):
        attempt_advantages(one, one.long(), one.long(), one.long(), "none at all")  # type: ignore[arg-type]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.3, 3))
def test_no_more_samples_than_there_are(rewards: list[float], tau: float) -> None:
    weights_S = reward_weights(torch.tensor(rewards, dtype=torch.float64), tau)
    assert weights_S.min() >= 1
    assert 1 - 1e-9 <= effective_samples(weights_S) <= len(rewards) + 1e-9
    assert effective_samples(weights_S * 7) == pytest.approx(effective_samples(weights_S))


# The exact KL


def test_kl_of_two_coins() -> None:
    logits_NV, reference_NV = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.5, 0.5]]).log()
    wanted = 0.8 * math.log(1.6) + 0.2 * math.log(0.4)
    assert exact_kl(logits_NV, reference_NV).item() == pytest.approx(wanted, rel=1e-6)
    assert exact_kl(logits_NV, logits_NV).item() == pytest.approx(0, abs=1e-7)


def test_estimates_of_the_kl_average_to_the_exact_one() -> None:
    generator = torch.Generator().manual_seed(0)
    logits_V, reference_V = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    exact = exact_kl(logits_V[None], reference_V[None], temperature=0.7).item()
    ids_N = torch.arange(5)
    logprobs_N, other_N = (
        selected_logprobs(one.expand(5, -1), ids_N, temperature=0.7).logprobs_N for one in (logits_V, reference_V)
    )
    for estimator in ("k1", "k3"):
        estimate_N = kl_estimate(logprobs_N, other_N, estimator)
        assert (logprobs_N.exp() * estimate_N).sum().item() == pytest.approx(exact)


def test_forbidden_tokens_have_no_part_in_the_kl() -> None:
    generator = torch.Generator().manual_seed(1)
    logits_NV, reference_NV = torch.randn(2, 2, 4, generator=generator, dtype=torch.float64)
    logits_NV.requires_grad_()
    allowed = AllowedSets(torch.tensor([[True, False, True, False]]), torch.tensor([0, -1]))
    found_N = exact_kl(logits_NV, reference_NV, allowed)
    torch.testing.assert_close(found_N[0], exact_kl(logits_NV[:1, ::2], reference_NV[:1, ::2])[0])
    torch.testing.assert_close(found_N[1], exact_kl(logits_NV[1:], reference_NV[1:])[0])
    found_N.sum().backward()  # type: ignore[no-untyped-call]
    assert logits_NV.grad is not None and not logits_NV.grad[0, 1::2].any() and logits_NV.grad.isfinite().all()


def test_gradient_of_the_exact_kl() -> None:
    generator = torch.Generator().manual_seed(2)
    logits_NV, reference_NV = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: exact_kl(x, reference_NV, temperature=1.3), logits_NV.requires_grad_())
