"""What is imitated and what is left out, and the losses that go with it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparring.trainers.losses import outcome_loss, progress_weights, top_fraction, weighted_likelihood

F64 = torch.float64


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


class TestTopFraction:
    def test_the_ninetieth_percentile(self) -> None:
        # 0 … 10: the quantile 0.9 lies at position 0.9 · 10 = 9.
        assert top_fraction(torch.arange(11), 0.1).nonzero().flatten().tolist() == [9, 10]

    def test_equal_values_are_all_kept_and_none_is_needed(self) -> None:
        # 0.1 has no exact binary form: a threshold that rounding pushed above it would keep nothing.
        assert top_fraction(torch.full((7,), 0.1, dtype=F64), 0.1).all()
        assert top_fraction(torch.zeros(0), 0.1).tolist() == []

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0.01, 1))
    def test_at_least_the_fraction_and_none_worse_than_what_is_left_out(
        self, values: list[float], fraction: float
    ) -> None:
        kept = top_fraction(tensor(*values), fraction)
        # The quantile lies at (1 - fraction)(n - 1), so at least floor(fraction (n - 1)) + 1 places reach it.
        assert kept.sum() >= math.floor(fraction * (len(values) - 1) - 1e-6) + 1
        best_left_out = max((value for value, one in zip(values, kept, strict=True) if not one), default=-math.inf)
        assert min(value for value, one in zip(values, kept, strict=True) if one) >= best_left_out


class TestProgressWeights:
    def test_a_turn_must_gain_more_than_it_costs(self) -> None:
        # .43 - .40 - .05 = -.02 and .50 - .40 - .05 = +.05.
        assert progress_weights(tensor(0.4, 0.4), tensor(0.43, 0.5), tensor(0, 0), tensor(0, 0)).tolist() == [0, 1]

    def test_reward_and_outcome_count_as_gains(self) -> None:
        # 0 - .9 - .05 + 1 > 0; the value falls by .1, but the episode went well: -.1 - .05 + .25 > 0.
        weights = progress_weights(tensor(0.9, 0.5, 0.5), tensor(0, 0.4, 0.4), tensor(1, 0, 0), tensor(0, 0.25, 0))
        assert weights.tolist() == [1, 1, 0]


class TestOutcomeLoss:
    def test_values(self) -> None:
        # sigmoid(0) = 1/2; sigmoid(log 3) = 3/4, so that success costs log 4/3, and failure log 4.
        loss = outcome_loss(tensor(0, math.log(3), math.log(3)), tensor(1, 1, 0))
        torch.testing.assert_close(loss, tensor(math.log(2), math.log(4 / 3), math.log(4)))

    def test_its_minimum_is_the_rate_of_success(self) -> None:
        # Three in four: the gradient of 3 L(1) + L(0) is 4 sigmoid(x) - 3.
        logit = tensor(math.log(3)).requires_grad_()
        outcome_loss(logit.expand(4), tensor(1, 1, 1, 0)).sum().backward()
        torch.testing.assert_close(logit.grad, tensor(0))

    def test_it_is_finite_where_it_is_sure_and_wrong(self) -> None:
        assert outcome_loss(tensor(-1e4), tensor(1)).item() == pytest.approx(1e4)

    def test_gradient_against_finite_differences(self) -> None:
        logits = tensor(1.5, -0.3, 2).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: outcome_loss(x, tensor(1, 0, 0)), (logits,))


class TestWeightedLikelihood:
    def test_values_and_gradient(self) -> None:
        logprobs = tensor(-1, -2, -3).requires_grad_()
        loss = weighted_likelihood(logprobs, tensor(2, 0, 0.5))
        assert loss.tolist() == [2, 0, 1.5]
        loss.sum().backward()
        assert logprobs.grad is not None and logprobs.grad.tolist() == [-2, 0, -0.5]

    def test_gradient_against_finite_differences(self) -> None:
        logprobs = tensor(-1, -2).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: weighted_likelihood(x, tensor(0.3, 2)), (logprobs,))
