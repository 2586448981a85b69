"""Losses by sequence ratios and away from the sampling policy, against closed forms and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparring.trainers.losses import (
    aggregate,
    cispo_loss,
    clipped_surrogate,
    sequence_log_ratio,
    sequence_means,
    sequence_sums,
    token_weights,
    topr_loss,
)

F64 = torch.float64


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def numbers(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def test_sums_and_means_of_sequences_in_any_order() -> None:
    values, sequence = tensor(1, 10, 3, 2), numbers(5, 2, 5, 5)
    torch.testing.assert_close(sequence_sums(values, sequence), tensor(6, 10, 6, 6))
    torch.testing.assert_close(sequence_means(values, sequence), tensor(2, 10, 2, 2))


class TestSequenceLogRatio:
    def test_value_is_the_geometric_mean(self) -> None:
        # (.1 - .1 + .2) / 3 = .0667; e to that is 1.06894.
        logprobs = tensor(-0.9, -1.1, -0.8)
        ratio = sequence_log_ratio(logprobs, tensor(-1, -1, -1), numbers(0, 0, 0)).exp()
        torch.testing.assert_close(ratio, tensor(1.06894, 1.06894, 1.06894), atol=1e-5, rtol=0)

    def test_gradient_is_the_token_s_own(self) -> None:
        # d exp(x_n) / d logprob_n = s, and no token depends on another.
        logprobs = tensor(-0.9, -1.1, -0.8, -0.5).requires_grad_()
        ratio = sequence_log_ratio(logprobs, tensor(-1, -1, -1, -1), numbers(0, 0, 0, 1)).exp()
        (gradient,) = torch.autograd.grad((ratio * tensor(1, 0, 2, 1)).sum(), logprobs)
        s = math.exp(0.2 / 3)
        torch.testing.assert_close(gradient, tensor(s, 0, 2 * s, math.exp(0.5)))

    @given(st.integers(0, 2**16))
    def test_gspo_is_the_clipped_surrogate_of_whole_sequences(self, seed: int) -> None:
        # Written out: mean over sequences of -min(s A, clip(s) A), s = exp(mean log-ratio), differentiated as a whole.
        generator = torch.Generator().manual_seed(seed)
        sequence, lengths = numbers(0, 0, 0, 1, 2, 2), numbers(3, 1, 2)
        old = -torch.rand(6, generator=generator, dtype=F64)
        logprobs = (old + 0.3 * torch.randn(6, generator=generator, dtype=F64)).requires_grad_()
        advantages_S = torch.randn(3, generator=generator, dtype=F64)
        whole = tensor(0)[0]
        for number in range(3):
            s = (logprobs - old)[sequence == number].mean().exp()
            whole = whole - torch.minimum(s * advantages_S[number], s.clamp(0.9, 1.1) * advantages_S[number]) / 3
        surrogate = clipped_surrogate(
            logprobs, old, advantages_S[sequence], eps_low=0.1, eps_high=0.1,
            log_ratio_N=sequence_log_ratio(logprobs, old, sequence),
        )  # fmt: skip
        weights = token_weights(lengths, "seq-mean-token-mean").to(F64)[sequence]
        loss = aggregate(surrogate.loss_N, weights)
        torch.testing.assert_close(loss, whole, atol=1e-6, rtol=1e-6)  # the weights were float32
        for got, expected in zip(
            torch.autograd.grad(loss, logprobs), torch.autograd.grad(whole, logprobs), strict=True
        ):
            torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-6)

    def test_a_sequence_is_clipped_as_one(self) -> None:
        # Means .2 and 0, bound log 1.1 = .095: all tokens of the first, though one of them went down.
        logprobs, old = tensor(-0.5, -1.1, -1, -1), tensor(-1, -1, -1, -1)
        sequence = numbers(0, 0, 1, 1)
        surrogate = clipped_surrogate(
            logprobs, old, tensor(1, 1, 1, 1), eps_low=0.1, eps_high=0.1,
            log_ratio_N=sequence_log_ratio(logprobs, old, sequence),
        )  # fmt: skip
        assert surrogate.clipped_N.tolist() == [True, True, False, False]

    @given(st.lists(st.tuples(st.floats(-5, 0), st.floats(-5, 0)), min_size=1, max_size=6))
    def test_sequences_of_one_token_are_ppo(self, tokens: list[tuple[float, float]]) -> None:
        logprobs, old = (torch.tensor(side, dtype=F64) for side in zip(*tokens, strict=True))
        advantages = torch.linspace(-1, 1, len(tokens), dtype=F64)
        ratio = sequence_log_ratio(logprobs, old, torch.arange(len(tokens)))
        by_sequence = clipped_surrogate(logprobs, old, advantages, log_ratio_N=ratio)
        torch.testing.assert_close(by_sequence.loss_N, clipped_surrogate(logprobs, old, advantages).loss_N)

    def test_a_broken_sequence_stays_finite(self) -> None:
        logprobs, old = tensor(0, 0), tensor(-1e6, -1)
        ratio = sequence_log_ratio(logprobs, old, numbers(0, 0))
        assert clipped_surrogate(logprobs, old, tensor(-1, -1), log_ratio_N=ratio).loss_N.isfinite().all()


class TestCISPO:
    def test_values_and_gradient(self) -> None:
        # Ratios 2, 1/2 and 1.1 under a bound of 1.2: weights 1.2, .5, 1.1; d loss / d logprob = -weight A.
        old = tensor(-2, -1, -1)
        logprobs = (old + tensor(2, 0.5, 1.1).log()).requires_grad_()
        result = cispo_loss(logprobs, old, tensor(1, -2, 1), eps_high=0.2)
        weight = tensor(1.2, 0.5, 1.1)
        torch.testing.assert_close(result.loss_N, -weight * tensor(1, -2, 1) * logprobs.detach())
        assert result.clipped_N.tolist() == [True, False, False]
        (gradient,) = torch.autograd.grad(result.loss_N.sum(), logprobs)
        torch.testing.assert_close(gradient, -weight * tensor(1, -2, 1))

    def test_a_lower_bound(self) -> None:
        result = cispo_loss(tensor(math.log(0.5)), tensor(0), tensor(1), eps_high=0.2, eps_low=0.2)
        torch.testing.assert_close(result.loss_N, -0.8 * tensor(math.log(0.5)))
        assert result.clipped_N.tolist() == [True]

    @given(st.lists(st.tuples(st.floats(-5, 0), st.floats(-5, 0), st.floats(-3, 3)), min_size=1, max_size=6))
    def test_unbounded_it_has_the_gradient_of_the_unclipped_surrogate(self, tokens: list[tuple[float, ...]]) -> None:
        new, old, advantages = (torch.tensor(side, dtype=F64) for side in zip(*tokens, strict=True))
        new.requires_grad_()
        infinity = float("inf")
        (cispo,) = torch.autograd.grad(cispo_loss(new, old, advantages, eps_high=infinity).loss_N.sum(), new)
        surrogate = clipped_surrogate(new, old, advantages, eps_low=infinity, eps_high=infinity)
        (ppo,) = torch.autograd.grad(surrogate.loss_N.sum(), new)
        torch.testing.assert_close(cispo, ppo)


class TestTOPR:
    def test_weights(self) -> None:
        # Bad tokens with log-ratio -.5 count e^-.5 = .60653, with +.5 they count 1; good ones always 1.
        behaviour = tensor(-1, -1, -1, -1)
        logprobs = (behaviour + tensor(-0.5, 0.5, -0.5, 0.5)).requires_grad_()
        result = topr_loss(logprobs, behaviour, tensor(-1, -1, 2, 2), numbers(0, 1, 2, 3), "token")
        (gradient,) = torch.autograd.grad(result.loss_N.sum(), logprobs)
        torch.testing.assert_close(gradient, tensor(0.60653, 1, -2, -2), atol=1e-5, rtol=0)
        assert result.clipped_N.tolist() == [False, True, False, False]

    def test_what_a_ratio_spans(self) -> None:
        # Log-ratios -.3 and .1 of one bad sequence: alone e^-.3 and 1; together e^-.2; on the mean e^-.1.
        behaviour = tensor(-1, -1)
        logprobs = (behaviour + tensor(-0.3, 0.1)).requires_grad_()
        for ratio, exponents in (("token", (-0.3, 0)), ("sequence", (-0.2, -0.2)), ("sequence-mean", (-0.1, -0.1))):
            loss = topr_loss(logprobs, behaviour, tensor(-1, -1), numbers(4, 4), ratio).loss_N
            (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
            torch.testing.assert_close(gradient, tensor(*exponents).exp())
        with pytest.raises(ValueError, match="token, sequence, sequence-mean"):
            topr_loss(logprobs, behaviour, tensor(-1, -1), numbers(0, 0), "geometric")  # type: ignore[arg-type]

    def test_what_has_become_unlikely_is_left_alone(self) -> None:
        logprobs = tensor(-1000, -1000).requires_grad_()
        loss = topr_loss(logprobs, tensor(-1, -1), tensor(-1, -1), numbers(0, 0), "sequence").loss_N.sum()
        (gradient,) = torch.autograd.grad(loss, logprobs)
        assert gradient.tolist() == [0, 0]

    def test_demonstrations_need_no_recorded_logprobs(self) -> None:
        for ratio in ("token", "sequence", "sequence-mean"):
            logprobs = tensor(-1, -2, -1).requires_grad_()
            loss = topr_loss(logprobs, tensor(math.nan, math.nan, -1), tensor(1, 1, -1), numbers(0, 0, 1), ratio)
            (gradient,) = torch.autograd.grad(loss.loss_N.sum(), logprobs)
            assert gradient.tolist() == [-1, -1, 1]
