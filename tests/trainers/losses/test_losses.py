"""Losses and advantages against values that are derived here, by finite differences, and by their identities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparring.trainers.losses import (
    AllowedSets,
    aggregate,
    clipped_surrogate,
    group_advantages,
    kl_estimate,
    negative_log_likelihood,
    selected_logprobs,
    token_weights,
    zero_variance,
)

F64 = torch.float64
METHODS = ("grpo", "rloo", "dr_grpo")


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


class TestGroupAdvantages:
    def test_one_success_in_four(self) -> None:
        # mean = 1/4; centred: 3/4, -1/4 x 3.
        # sum of squares = 9/16 + 3/16 = 3/4; std (G - 1 = 3 below) = sqrt(1/4) = 1/2; 3/4 / (1/2) = 1.5.
        # rloo: 1 - mean(0,0,0) = 1; 0 - mean(1,0,0) = -1/3.
        returns, group = tensor(1, 0, 0, 0), torch.zeros(4, dtype=torch.long)
        expected = {
            "grpo": [1.5, -0.5, -0.5, -0.5],
            "dr_grpo": [0.75, -0.25, -0.25, -0.25],
            "rloo": [1, -1 / 3, -1 / 3, -1 / 3],
        }
        for method, values in expected.items():
            got = group_advantages(returns, group, method)
            torch.testing.assert_close(got, torch.tensor(values, dtype=torch.float32), atol=1e-5, rtol=0)

    def test_groups_are_told_apart_by_index_whatever_their_order_and_numbers(self) -> None:
        returns = tensor(1, 5, 0, 7, 0, 0)
        group = torch.tensor([3, 9, 3, 9, 3, 3])
        mixed = group_advantages(returns, group, "rloo")
        torch.testing.assert_close(mixed[[0, 2, 4, 5]], torch.tensor([1, -1 / 3, -1 / 3, -1 / 3]))
        torch.testing.assert_close(mixed[[1, 3]], torch.tensor([-2.0, 2.0]))

    @pytest.mark.parametrize("method", METHODS)
    def test_equal_returns_teach_exactly_nothing(self, method: str) -> None:
        # 0.1 has no exact binary form, so that the mean of many rounds; the advantage must still be 0, not 0/1e-6.
        for value in (0.1, 0.7, 1 / 3, 1e9):
            advantages = group_advantages(torch.full((7,), value), torch.zeros(7, dtype=torch.long), method)
            assert advantages.tolist() == [0.0] * 7

    @pytest.mark.parametrize("method", METHODS)
    def test_a_group_of_one_keeps_its_return(self, method: str) -> None:
        got = group_advantages(tensor(0.5), torch.tensor([0]), method)
        torch.testing.assert_close(got, torch.tensor([0.5]), atol=1e-6, rtol=0)

    def test_a_failed_member_changes_mean_and_size(self) -> None:
        # Of [1, 0, (failed)] two are left: rloo 1 - 0 and 0 - 1; a failure counted as 0 would give 1 and -1/2.
        got = group_advantages(tensor(1, 0), torch.tensor([0, 0]), "rloo")
        assert got.tolist() == [1.0, -1.0]

    def test_nothing_in_nothing_out(self) -> None:
        assert group_advantages(torch.zeros(0), torch.zeros(0, dtype=torch.long), "grpo").shape == (0,)

    def test_unknown_method(self) -> None:
        with pytest.raises(ValueError, match="grpo, rloo, dr_grpo"):
            group_advantages(tensor(1, 0), torch.tensor([0, 0]), "ppo")  # type: ignore[arg-type]

    @given(
        st.lists(st.floats(-10, 10), min_size=2, max_size=8),
        st.floats(0.1, 10),
        st.floats(-10, 10),
    )
    def test_identities(self, returns: list[float], scale: float, shift: float) -> None:
        values = torch.tensor(returns, dtype=F64)
        group = torch.zeros(len(returns), dtype=torch.long)
        size = len(returns)
        grpo, rloo, dr_grpo = (group_advantages(values, group, method) for method in METHODS)
        torch.testing.assert_close(rloo, size / (size - 1) * dr_grpo)
        assert abs(float(dr_grpo.sum())) < 1e-4
        for method, before in (("rloo", rloo), ("dr_grpo", dr_grpo)):
            torch.testing.assert_close(group_advantages(values + shift, group, method), before, atol=1e-5, rtol=1e-5)
        if float(values.std()) > 1e-2:  # eps is then out of sight
            torch.testing.assert_close(
                group_advantages(scale * values + shift, group, "grpo"), grpo, atol=2e-3, rtol=2e-3
            )

    def test_zero_variance(self) -> None:
        flags = zero_variance(tensor(1, 0, 2, 2, 3), torch.tensor([0, 0, 1, 1, 2]))
        assert flags.tolist() == [False, True, True]


class TestAggregation:
    def test_all_modes_on_two_sequences(self) -> None:
        # Sequence a has losses 1, 2, 3 and b has 10: sums 6 and 10, means 2 and 10.
        # token-mean 16/4; mean of means (2 + 10)/2; mean of sums (6 + 10)/2; that over 8 tokens.
        values, sequence = tensor(1, 2, 3, 10), torch.tensor([0, 0, 0, 1])
        expected = {
            "token-mean": 4,
            "seq-mean-token-mean": 6,
            "seq-mean-token-sum": 8,
            "seq-mean-token-sum-norm": 1,
        }
        for mode, value in expected.items():
            weights = token_weights(torch.tensor([3, 1]), mode, max_tokens=8)
            torch.testing.assert_close(aggregate(values, weights[sequence]), torch.tensor(float(value), dtype=F64))

    @pytest.mark.parametrize(
        "mode", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"]
    )
    @given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.integers(0, 4))
    def test_empty_sequences_and_any_cut_into_micro_batches_change_nothing(
        self, mode: str, lengths: list[int], empty: int
    ) -> None:
        generator = torch.Generator().manual_seed(sum(lengths) + empty)
        values = torch.rand(sum(lengths), generator=generator, dtype=F64)
        sequence = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        whole = aggregate(values, token_weights(torch.tensor(lengths), mode, max_tokens=7)[sequence])
        more = token_weights(torch.tensor(lengths + [0] * empty), mode, max_tokens=7)
        cut = len(values) // 2
        parts = aggregate(values[:cut], more[sequence[:cut]]) + aggregate(values[cut:], more[sequence[cut:]])
        torch.testing.assert_close(parts, whole)
        assert math.isfinite(float(whole))

    def test_the_constant_must_be_given(self) -> None:
        with pytest.raises(ValueError, match="max_tokens"):
            token_weights(torch.tensor([1]), "seq-mean-token-sum-norm")
        with pytest.raises(ValueError, match="token-mean"):
            token_weights(torch.tensor([1]), "mean")  # type: ignore[arg-type]


class TestClippedSurrogate:
    def test_four_corners(self) -> None:
        # ratio 2 or 1/2, advantage +1 or -1, eps 0.2.
        # r=2, A=+1: min(2, 1.2) = 1.2, clipped.     r=1/2, A=+1: min(.5, .8) = .5, free.
        # r=2, A=-1: min(-2, -1.2) = -2, free.        r=1/2, A=-1: min(-.5, -.8) = -.8, clipped.
        new = tensor(math.log(2), math.log(0.5), math.log(2), math.log(0.5))
        result = clipped_surrogate(new, torch.zeros(4, dtype=F64), tensor(1, 1, -1, -1))
        torch.testing.assert_close(result.loss_N, tensor(-1.2, -0.5, 2, 0.8))
        assert result.clipped_N.tolist() == [True, False, False, True]

    def test_clip_higher_moves_only_the_upper_bound(self) -> None:
        new = tensor(math.log(2), math.log(0.5))
        result = clipped_surrogate(new, torch.zeros(2, dtype=F64), tensor(1, -1), eps_low=0.2, eps_high=0.28)
        torch.testing.assert_close(result.loss_N, tensor(-1.28, 0.8))

    def test_dual_clip_bounds_the_loss_of_negative_advantages(self) -> None:
        # r = e^2 = 7.389, A = -1: loss 7.389, bounded by 3 * 1; positive advantages stay as they were.
        new = tensor(2, 2).requires_grad_()
        result = clipped_surrogate(new, torch.zeros(2, dtype=F64), tensor(-1, 1), dual_clip=3.0)
        torch.testing.assert_close(result.loss_N, tensor(3, -1.2))
        result.loss_N.sum().backward()
        assert new.grad is not None and new.grad.tolist() == [0, 0]
        assert result.clipped_N.tolist() == [True, True]

    @given(st.lists(st.tuples(st.floats(-5, 0), st.floats(-3, 3)), min_size=1, max_size=8))
    def test_the_first_update_is_reinforce(self, tokens: list[tuple[float, float]]) -> None:
        # At r = 1, d(-r A)/d logprob = -A.
        new = torch.tensor([logprob for logprob, _ in tokens], dtype=F64, requires_grad=True)
        advantages = torch.tensor([advantage for _, advantage in tokens], dtype=F64)
        for eps in (0.2, float("inf")):
            new.grad = None
            result = clipped_surrogate(new, new.detach(), advantages, eps_low=eps, eps_high=eps)
            result.loss_N.sum().backward()
            assert new.grad is not None
            torch.testing.assert_close(new.grad, -advantages)
            assert not result.clipped_N.any()

    def test_gradient_against_finite_differences(self) -> None:
        new = tensor(-1.0, -0.3, -2.0, -0.7).requires_grad_()
        old, advantages = tensor(-1.1, -0.9, -1.5, -0.8), tensor(1.0, 0.5, -2.0, -1.0)
        assert torch.autograd.gradcheck(lambda x: clipped_surrogate(x, old, advantages, dual_clip=3.0).loss_N, (new,))

    def test_a_broken_token_stays_finite(self) -> None:
        result = clipped_surrogate(tensor(0.0), tensor(-1e6), tensor(-1.0))
        assert result.loss_N.isfinite().all()


class TestKL:
    def test_values(self) -> None:
        # x = .3: k1 .3; k2 .045; k3 = e^-.3 - 1 + .3 = .740818 - .7 = .040818.
        for estimator, value in (("k1", 0.3), ("k2", 0.045), ("k3", math.exp(-0.3) - 0.7)):
            torch.testing.assert_close(kl_estimate(tensor(-0.7), tensor(-1.0), estimator), tensor(value))
        with pytest.raises(ValueError, match="k1, k2 or k3"):
            kl_estimate(tensor(0), tensor(0), "k4")  # type: ignore[arg-type]

    def test_expectations_and_the_gradient_of_k2(self) -> None:
        # Over all outcomes i with weights p_i: E[k1] = E[k3] = KL = sum p (log p - log q), since E[q/p] = 1;
        # and sum_i sg[p_i] grad k2_i = sum_i p_i x_i grad log p_i = grad KL, since sum_i p_i grad log p_i = 0.
        logits = tensor(0.3, -1.0, 0.8).requires_grad_()
        reference = tensor(0.1, 0.2, -0.3).log_softmax(-1)
        logprobs = logits.log_softmax(-1)
        divergence = (logprobs.exp() * (logprobs - reference)).sum()
        for estimator in ("k1", "k3"):
            torch.testing.assert_close((logprobs.exp() * kl_estimate(logprobs, reference, estimator)).sum(), divergence)
        (true,) = torch.autograd.grad(divergence, logits, retain_graph=True)
        surrogate = (logprobs.detach().exp() * kl_estimate(logprobs, reference, "k2")).sum()
        (estimated,) = torch.autograd.grad(surrogate, logits)
        torch.testing.assert_close(estimated, true)

    @pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
    def test_gradient(self, estimator: str) -> None:
        logprobs = tensor(-1.0, -0.2, -3.0).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: kl_estimate(x, tensor(-0.5, -0.6, -2.0), estimator), (logprobs,))


class TestSelectedLogprobs:
    def test_renormalised_over_the_allowed_set(self) -> None:
        # logits log 1, log 2, log 3, log 4. Allowed {0, 2}: p(2) = 3/4; H = -(1/4 log 1/4 + 3/4 log 3/4).
        # Allowed {1}: p = 1, H = 0. Free: p(3) = 4/10.
        logits = tensor(1, 2, 3, 4).log().expand(3, 4)
        allowed = AllowedSets(
            torch.tensor([[True, False, True, False], [False, True, False, False]]), torch.tensor([0, 1, -1])
        )
        scores = selected_logprobs(logits, torch.tensor([2, 1, 3]), allowed)
        torch.testing.assert_close(scores.logprobs_N, tensor(0.75, 1, 0.4).log())
        entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
        free = -sum(p * math.log(p) for p in (0.1, 0.2, 0.3, 0.4))
        torch.testing.assert_close(scores.entropy_N, tensor(entropy, 0, free))

    def test_temperature_divides_the_logits(self) -> None:
        # softmax of (0, log 4) at temperature 2 is that of (0, log 2): 1/3, 2/3.
        scores = selected_logprobs(tensor(1, 4).log()[None], torch.tensor([1]), temperature=2.0)
        torch.testing.assert_close(scores.logprobs_N, tensor(2 / 3).log())

    def test_no_sets_and_sets_of_everything_agree(self) -> None:
        logits, ids = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=F64), torch.arange(5)
        free = selected_logprobs(logits, ids)
        for index in (0, -1):
            sets = AllowedSets(torch.ones(1, 7, dtype=torch.bool), torch.full((5,), index))
            held = selected_logprobs(logits, ids, sets)
            torch.testing.assert_close(held.logprobs_N, free.logprobs_N)
            torch.testing.assert_close(held.entropy_N, free.entropy_N)

    def test_gradient_and_its_absence_outside_the_set(self) -> None:
        logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(1), dtype=F64, requires_grad=True)
        allowed = AllowedSets(torch.tensor([[True, False, True, True]]), torch.tensor([0, -1]))
        ids = torch.tensor([2, 1])

        def both(x: Tensor) -> Tensor:
            scores = selected_logprobs(x, ids, allowed, temperature=0.7)
            return scores.logprobs_N + scores.entropy_N

        assert torch.autograd.gradcheck(both, (logits,))
        both(logits).sum().backward()
        assert logits.grad is not None and logits.grad[0, 1] == 0

    @settings(max_examples=30)
    @given(st.integers(0, 2**16), st.floats(-50, 50))
    def test_forbidden_logits_have_no_influence(self, seed: int, garbage: float) -> None:
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(1, 6, generator=generator, dtype=F64)
        mask = torch.rand(1, 6, generator=generator) < 0.5
        mask[0, 3] = True
        allowed = AllowedSets(mask, torch.tensor([0]))
        before = selected_logprobs(logits, torch.tensor([3]), allowed)
        after = selected_logprobs(torch.where(mask, logits, garbage), torch.tensor([3]), allowed)
        assert torch.equal(before.logprobs_N, after.logprobs_N)
        assert torch.equal(before.entropy_N, after.entropy_N)


def test_negative_log_likelihood_is_the_cross_entropy() -> None:
    logits, ids = torch.randn(4, 9, generator=torch.Generator().manual_seed(2), dtype=F64), torch.tensor([1, 0, 8, 3])
    ours = aggregate(
        negative_log_likelihood(selected_logprobs(logits, ids).logprobs_N),
        token_weights(torch.tensor([3, 1]), "token-mean")[torch.tensor([0, 0, 0, 1])],
    )
    torch.testing.assert_close(ours, torch.nn.functional.cross_entropy(logits, ids))
