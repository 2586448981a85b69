"""Losses on pairs against closed forms, their identities, and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparring.trainers.losses import (
    PairLoss,
    copg_loss,
    dpo_loss,
    ipo_loss,
    rpo_loss,
    side_sums,
    simpo_loss,
)

F64 = torch.float64
RATIOS = st.floats(-5, 5)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def test_dpo_of_a_difference_of_two() -> None:
    # -log sigmoid(.1 * (1.5 + .5)) = log(1 + exp(-.2)) = .598139.
    found = dpo_loss(tensor(1.5), tensor(-0.5), 0.1)
    torch.testing.assert_close(found.loss_P, tensor(math.log1p(math.exp(-0.2))))
    assert found.loss_P.item() == pytest.approx(0.59814, abs=5e-6)
    torch.testing.assert_close(found.chosen_reward_P, tensor(0.15))
    torch.testing.assert_close(found.rejected_reward_P, tensor(-0.05))


def test_ipo_of_a_difference_of_two() -> None:
    # (2 - 1 / .2)^2 = 9.
    torch.testing.assert_close(ipo_loss(tensor(1.5), tensor(-0.5), 0.1).loss_P, tensor(9))


def test_rpo_adds_the_mean_loss_of_the_chosen_tokens() -> None:
    # log 2, and half of 6 nats over 4 tokens.
    found = rpo_loss(tensor(0), tensor(0), tensor(-6), tensor(4), 0.1, nll_coef=0.5)
    torch.testing.assert_close(found.loss_P, tensor(math.log(2) + 0.75))


def test_simpo_compares_tokens() -> None:
    # Rewards 2 * -6/4 = -3 and 2 * -2/1 = -4: 1 apart, of which the margin takes .4.
    found = simpo_loss(tensor(-6), tensor(-2), tensor(4), tensor(1), 2, margin=0.4)
    torch.testing.assert_close(found.loss_P, tensor(math.log1p(math.exp(-0.6))))
    torch.testing.assert_close(found.chosen_reward_P - found.rejected_reward_P, tensor(1))


@given(RATIOS, RATIOS, st.floats(0.01, 1), st.floats(0, 0.49))
def test_smoothing_mixes_a_pair_with_its_reverse(chosen: float, rejected: float, beta: float, rate: float) -> None:
    found = dpo_loss(tensor(chosen), tensor(rejected), beta, label_smoothing=rate).loss_P
    right = dpo_loss(tensor(chosen), tensor(rejected), beta).loss_P
    wrong = dpo_loss(tensor(rejected), tensor(chosen), beta).loss_P
    torch.testing.assert_close(found, (1 - rate) * right + rate * wrong)


def test_smoothed_dpo_is_content_at_the_log_odds() -> None:
    # h = log(.9 / .1): sigmoid(h) = .9, and the gradient -(1 - e) (1 - .9) + e * .9 = 0.
    chosen = tensor(math.log(9) / 0.2).requires_grad_()
    (slope,) = torch.autograd.grad(dpo_loss(chosen, tensor(0), 0.2, label_smoothing=0.1).loss_P.sum(), chosen)
    torch.testing.assert_close(slope, tensor(0))


def test_an_offset_asks_for_more() -> None:
    # beta 1, difference 1, of which 1 is asked for: nothing is left, log 2.
    found = dpo_loss(tensor(1), tensor(0), 1, offset_P=tensor(1)).loss_P
    torch.testing.assert_close(found, tensor(math.log(2)))


@given(RATIOS, RATIOS, st.floats(0.01, 1))
def test_half_a_point_of_copg_is_ipo(chosen: float, rejected: float, beta: float) -> None:
    """With two episodes half a point apart, CoPG is beta^2 times IPO."""
    copg = copg_loss(tensor(chosen, rejected), tensor(0.5, 0), torch.zeros(2, dtype=torch.long), beta)
    torch.testing.assert_close(copg, beta**2 * ipo_loss(tensor(chosen), tensor(rejected), beta).loss_P[0])


@given(RATIOS, RATIOS, st.floats(-5, 5))
def test_only_the_difference_counts(chosen: float, rejected: float, shift: float) -> None:
    for loss in (dpo_loss, ipo_loss):
        before = loss(tensor(chosen), tensor(rejected), 0.3).loss_P
        torch.testing.assert_close(loss(tensor(chosen + shift), tensor(rejected + shift), 0.3).loss_P, before)


def test_dpo_at_the_start_pulls_both_ways_alike() -> None:
    # At log-ratios 0: d loss / d chosen = -beta / 2, d loss / d rejected = beta / 2.
    sides = tensor(0, 0).requires_grad_()
    (slope,) = torch.autograd.grad(dpo_loss(sides[:1], sides[1:], 0.1).loss_P.sum(), sides)
    torch.testing.assert_close(slope, tensor(-0.05, 0.05))


TOKENS = tensor(4, 1, 2), tensor(1, 3, 2)
LOSSES: list[Callable[[Tensor, Tensor], PairLoss]] = [
    lambda chosen, rejected: dpo_loss(chosen, rejected, 0.3, offset_P=tensor(0, 0.5, 1)),
    lambda chosen, rejected: dpo_loss(chosen, rejected, 0.3, label_smoothing=0.2),
    lambda chosen, rejected: ipo_loss(chosen, rejected, 0.3),
    lambda chosen, rejected: rpo_loss(chosen, rejected, chosen - 3, TOKENS[0], 0.3, nll_coef=0.7),
    lambda chosen, rejected: simpo_loss(chosen, rejected, *TOKENS, 2.0, margin=0.5),
]


@pytest.mark.parametrize("loss", LOSSES, ids=["dpo", "cdpo", "ipo", "rpo", "simpo"])
def test_gradients_against_finite_differences(loss: Callable[[Tensor, Tensor], PairLoss]) -> None:
    chosen, rejected = tensor(0.3, -1, 2).requires_grad_(), tensor(0.5, -2, -0.4).requires_grad_()
    assert torch.autograd.gradcheck(lambda one, other: loss(one, other).loss_P, (chosen, rejected))


@pytest.mark.parametrize("loss", LOSSES, ids=["dpo", "cdpo", "ipo", "rpo", "simpo"])
def test_rewards_carry_no_gradient(loss: Callable[[Tensor, Tensor], PairLoss]) -> None:
    found = loss(tensor(0.3, -1, 2).requires_grad_(), tensor(0.5, -2, -0.4).requires_grad_())
    assert found.loss_P.requires_grad
    assert not (found.chosen_reward_P.requires_grad or found.rejected_reward_P.requires_grad)


@pytest.mark.parametrize("loss", LOSSES, ids=["dpo", "cdpo", "ipo", "rpo", "simpo"])
def test_swapped_sides_cost_more(loss: Callable[[Tensor, Tensor], PairLoss]) -> None:
    chosen, rejected = tensor(0.3, -0.5, 0.1), tensor(-3.1, -5, -4)
    assert (loss(chosen, rejected).loss_P < loss(rejected, chosen).loss_P).all()


def test_extreme_differences_stay_finite() -> None:
    sides = tensor(1e4, -1e4).requires_grad_()
    loss = dpo_loss(sides, -sides, 1).loss_P
    (slope,) = torch.autograd.grad(loss.sum(), sides)
    # log(1 + exp(2e4)) = 2e4, with slope -2 for the pair that is wrong and 0 for the one that is right.
    torch.testing.assert_close(loss.detach(), tensor(0, 2e4))
    torch.testing.assert_close(slope, tensor(0, -2))


def test_sums_of_sides_know_no_order_of_tokens() -> None:
    # Pair 0: chosen 1 + 4, rejected 2; pair 1: chosen 8, rejected nothing.
    values, side = tensor(1, 2, 4, 8), torch.tensor([0, 1, 0, 2])
    order = torch.tensor([3, 1, 0, 2])
    for one in (torch.arange(4), order):
        chosen, rejected = side_sums(values[one], side[one], 2)
        torch.testing.assert_close(chosen, tensor(5, 8))
        torch.testing.assert_close(rejected, tensor(2, 0))
