"""What critics learn by, against closed forms and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sparring.trainers.losses import awr_weights, expectile_loss, polyak_update, value_loss

F64 = torch.float64


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


class TestValueLoss:
    def test_plain(self) -> None:
        # 1/2 (3 - 1)^2 = 2.
        torch.testing.assert_close(value_loss(tensor(3), tensor(0), tensor(1), None), tensor(2))

    def test_clip(self) -> None:
        # Old value 0, clip 1/2, return 1. V = .3 is near: 1/2 .7^2. V = .9 came nearer than it may: clipped to .5,
        # 1/2 .5^2. V = -2 went away: 1/2 9 exceeds 1/2 (-.5 - 1)^2.
        values = tensor(0.3, 0.9, -2).requires_grad_()
        loss = value_loss(values, tensor(0, 0, 0), tensor(1, 1, 1), 0.5)
        torch.testing.assert_close(loss, tensor(0.245, 0.125, 4.5))
        loss.sum().backward()
        torch.testing.assert_close(values.grad, tensor(-0.7, 0, -3))

    @pytest.mark.parametrize("clip", [None, 0.2])
    def test_gradient_against_finite_differences(self, clip: float | None) -> None:
        values = tensor(0.1, 0.5, -1, 2).requires_grad_()
        old, returns = tensor(0, 0.1, 0, 1), tensor(1, -1, 1, 1.7)
        assert torch.autograd.gradcheck(lambda v: value_loss(v, old, returns, clip), (values,))

    @given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), st.floats(0.01, 1))
    def test_a_clip_only_adds(self, value: float, old: float, target: float, clip: float) -> None:
        plain, clipped = (value_loss(tensor(value), tensor(old), tensor(target), one) for one in (None, clip))
        assert clipped >= plain


class TestExpectileLoss:
    def test_values(self) -> None:
        # Undershooting by 1 costs tau, overshooting by 1 costs 1 - tau.
        torch.testing.assert_close(expectile_loss(tensor(1, -1, 2, 0), 0.7), tensor(0.7, 0.3, 2.8, 0))

    def test_its_minimum_is_the_expectile(self) -> None:
        # q is 0 or 1 equally often: tau (1 - v) = (1 - tau) v, so v = tau.
        v = tensor(0.9).requires_grad_()
        loss = expectile_loss(tensor(0, 1) - v, 0.9).sum()
        (gradient,) = torch.autograd.grad(loss, v)
        torch.testing.assert_close(gradient, tensor(0))

    def test_one_half_is_half_the_squared_error(self) -> None:
        torch.testing.assert_close(expectile_loss(tensor(3, -3), 0.5), tensor(4.5, 4.5))

    def test_gradient_against_finite_differences(self) -> None:
        assert torch.autograd.gradcheck(lambda u: expectile_loss(u, 0.7), (tensor(1.5, -0.3, 2).requires_grad_(),))


class TestAWRWeights:
    def test_values(self) -> None:
        # e^(.5 * 2) = e; e^0 = 1; e^(.5 * 20) = 22026 is bounded; so is what overflows.
        weights = awr_weights(tensor(2, 0, 20, 1e6), 0.5)
        torch.testing.assert_close(weights, tensor(math.e, 1, 100, 100))

    def test_without_preference_it_is_imitation(self) -> None:
        assert awr_weights(tensor(-3, 0, 50), 0.0).tolist() == [1, 1, 1]

    def test_no_gradient_reaches_the_critic(self) -> None:
        assert not awr_weights(tensor(1).requires_grad_(), 1.0).requires_grad


class TestPolyakUpdate:
    @staticmethod
    def network(value: float) -> nn.Module:
        network = nn.BatchNorm1d(2)
        for parameter in network.parameters():
            nn.init.constant_(parameter, value)
        return network

    def test_a_tenth_of_the_way_from_1_to_3(self) -> None:
        target, source = self.network(1), self.network(3)
        polyak_update(target, source, 0.1)
        for parameter, other in zip(target.parameters(), source.parameters(), strict=True):
            torch.testing.assert_close(parameter.detach(), torch.full((2,), 1.2))
            assert other.tolist() == [3, 3]
            assert parameter.requires_grad and parameter.grad_fn is None

    def test_buffers_are_copied(self) -> None:
        target, source = self.network(0), self.network(0)
        source.train()(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)))
        polyak_update(target, source, 0.1)
        assert dict(target.named_buffers())["num_batches_tracked"] == 1
        for name, buffer in source.named_buffers():
            assert torch.equal(dict(target.named_buffers())[name], buffer)

    def test_tied_parameters_move_once(self) -> None:
        def tied(value: float) -> nn.Module:
            layer = nn.Linear(1, 1, bias=False)
            nn.init.constant_(layer.weight, value)
            return nn.Sequential(layer, layer)

        target = tied(1)
        polyak_update(target, tied(3), 0.1)
        torch.testing.assert_close(next(target.parameters()).item(), 1.2, atol=1e-6, rtol=0)

    def test_both_ends(self) -> None:
        target, source = self.network(1), self.network(3)
        polyak_update(target, source, 0)
        assert next(target.parameters()).tolist() == [1, 1]
        polyak_update(target, source, 1)
        assert next(target.parameters()).tolist() == [3, 3]

    def test_networks_that_differ(self) -> None:
        with pytest.raises(ValueError, match="only one of them has: bias"):
            polyak_update(nn.Linear(1, 1), nn.Linear(1, 1, bias=False), 0.1)
