"""CoPG against its pairs written out, and against RLOO on the regularised return."""

from __future__ import annotations

from itertools import combinations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparring.trainers.losses import copg_loss, group_advantages

F64 = torch.float64
SEQUENCES = st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=2, max_size=6)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def numbers(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def test_a_pair() -> None:
    # R_beta = 1 - .05 = .95 and 0 + .05 = .05; .9 squared.
    torch.testing.assert_close(copg_loss(tensor(0.5, -0.5), tensor(1, 0), numbers(0, 0), 0.1), tensor(0.81)[0])


def test_groups_are_averaged_and_singles_do_not_count() -> None:
    # .81, and (3 - 1)^2 = 4 with log-ratios 0; the group of one is left out.
    loss = copg_loss(tensor(0.5, 0, -0.5, 0, 9), tensor(1, 3, 0, 1, 5), numbers(0, 8, 0, 8, 3), 0.1)
    torch.testing.assert_close(loss, tensor((0.81 + 4) / 2)[0])
    assert copg_loss(tensor(1), tensor(1), numbers(0), 0.1) == 0


@given(SEQUENCES, st.floats(0.01, 1))
def test_it_is_the_sum_over_pairs(sequences: list[tuple[float, float]], beta: float) -> None:
    log_ratio, returns = (tensor(*side) for side in zip(*sequences, strict=True))
    values = (returns - beta * log_ratio).tolist()
    pairs = sum((a - b) ** 2 for a, b in combinations(values, 2)) / (len(values) - 1)
    loss = copg_loss(log_ratio, returns, torch.zeros(len(values), dtype=torch.long), beta)
    torch.testing.assert_close(loss, tensor(pairs)[0])


@given(SEQUENCES, st.floats(0.01, 1))
def test_its_gradient_is_that_of_rloo(sequences: list[tuple[float, float]], beta: float) -> None:
    # grad L = -2 beta sum_i A_i grad log pi(i), A the RLOO advantages of R - beta log-ratio.
    log_ratio, returns = (tensor(*side) for side in zip(*sequences, strict=True))
    group = torch.zeros(len(sequences), dtype=torch.long)
    advantages = group_advantages(returns - beta * log_ratio, group, "rloo").to(F64)
    log_ratio.requires_grad_()
    (gradient,) = torch.autograd.grad(copg_loss(log_ratio, returns, group, beta), log_ratio)
    torch.testing.assert_close(gradient, -2 * beta * advantages, atol=1e-5, rtol=1e-5)


@given(st.floats(-3, 3), st.floats(0.05, 1))
def test_half_a_point_between_two_is_ipo(difference: float, beta: float) -> None:
    # R_w - R_l = 1/2: (1/2 - beta d)^2 = beta^2 (d - 1 / (2 beta))^2.
    loss = copg_loss(tensor(difference, 0), tensor(0.5, 0), numbers(0, 0), beta)
    torch.testing.assert_close(loss, tensor(beta**2 * (difference - 1 / (2 * beta)) ** 2)[0])


def test_the_regularised_optimum_costs_nothing() -> None:
    # policy = reference exp(R / beta) / Z, so R - beta log-ratio = beta log Z for all.
    returns, beta, log_z = tensor(1, 0.2, -3), 0.1, 0.7
    log_ratio = (returns / beta - log_z).requires_grad_()
    loss = copg_loss(log_ratio, returns, numbers(0, 0, 0), beta)
    (gradient,) = torch.autograd.grad(loss, log_ratio)
    torch.testing.assert_close(loss.detach(), tensor(0)[0])
    torch.testing.assert_close(gradient, tensor(0, 0, 0))


def test_gradient_against_finite_differences() -> None:
    returns, group = tensor(1, 0, 0.5, 2), numbers(0, 0, 0, 1)
    log_ratio = tensor(0.3, -0.2, 1, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: copg_loss(x, returns, group, 0.3), (log_ratio,))
