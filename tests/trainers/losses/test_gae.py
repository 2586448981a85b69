"""Advantages over tokens and turns against sums written out here, and against a padded computation with masks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparring.trainers.losses import bilevel_advantages, discounted_returns, generalized_advantages, whiten

F64 = torch.float64
LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=5)
UNIT = st.floats(0, 1)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def flags(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.bool)


def ends_of(lengths: list[int]) -> Tensor:
    ends = torch.zeros(sum(lengths), dtype=torch.bool)
    ends[torch.tensor(lengths).cumsum(0) - 1] = True
    return ends


def noise(count: int, seed: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=F64)


class TestGeneralizedAdvantages:
    def test_by_hand(self) -> None:
        # gamma 1/2, lam 1/2; sequence of two that terminated, then one of one that was cut off where V = 8.
        # delta_1 = 3 + 0 - 2 = 1, A_1 = 1; delta_0 = 1 + 1/2 * 2 - 1 = 1, A_0 = 1 + 1/4 * 1 = 1.25.
        # delta_2 = 0 + 1/2 * 8 - 1 = 3, A_2 = 3. Returns A + V = 2.25, 3, 4.
        nan = math.nan
        advantages, returns = generalized_advantages(
            tensor(1, 3, 0), tensor(1, 2, 1), flags(0, 1, 1), tensor(nan, 0, 8), gamma=0.5, lam=0.5
        )
        torch.testing.assert_close(advantages, tensor(1.25, 1, 3))
        torch.testing.assert_close(returns, tensor(2.25, 3, 4))

    @given(LENGTHS, UNIT, UNIT, st.integers(0, 2**16))
    def test_passes_over_observation_tokens(self, lengths: list[int], gamma: float, lam: float, seed: int) -> None:
        # Reference: the sequences spread over padded rows, garbage at all other positions, state held where the
        # mask is 0: next <- m V + (1 - m) next, A <- m A' + (1 - m) A.
        count = sum(lengths)
        rewards, values, bootstrap = noise(count, seed), noise(count, seed + 1), noise(count, seed + 2)
        ends, width = ends_of(lengths), 9
        expected, first = torch.zeros(count, dtype=F64), 0
        for row, length in enumerate(lengths):
            order = torch.randperm(width, generator=torch.Generator().manual_seed(seed + row))
            mask = torch.zeros(width, dtype=F64)
            mask[order[:length]] = 1
            at = mask.bool()
            rewards_T, values_T = 1e3 * noise(width, seed + 3), 1e3 * noise(width, seed + 4)
            rewards_T[at], values_T[at] = rewards[first : first + length], values[first : first + length]
            following, running, out = bootstrap[first + length - 1], tensor(0)[0], torch.zeros(width, dtype=F64)
            for t in reversed(range(width)):
                m = mask[t]
                updated = rewards_T[t] + gamma * following - values_T[t] + gamma * lam * running
                following = m * values_T[t] + (1 - m) * following
                running = m * updated + (1 - m) * running
                out[t] = running
            expected[first : first + length] = out[at]
            first += length
        advantages, returns = generalized_advantages(
            rewards, values, ends, bootstrap.where(ends, math.nan), gamma=gamma, lam=lam
        )
        torch.testing.assert_close(advantages, expected)
        torch.testing.assert_close(returns, expected + values)

    @given(LENGTHS, UNIT, st.integers(0, 2**16))
    def test_both_ends_of_lam(self, lengths: list[int], gamma: float, seed: int) -> None:
        # lam 1: the sum telescopes to return-to-go (bootstrap included) less value. lam 0: delta.
        count, ends = sum(lengths), ends_of(lengths)
        rewards, values, bootstrap = noise(count, seed), noise(count, seed + 1), noise(count, seed + 2)
        full, _ = generalized_advantages(rewards, values, ends, bootstrap, gamma=gamma, lam=1)
        with_bootstrap = rewards + gamma * bootstrap.where(ends, 0)
        torch.testing.assert_close(full, discounted_returns(with_bootstrap, ends, gamma) - values)
        short, _ = generalized_advantages(rewards, values, ends, bootstrap, gamma=gamma, lam=0)
        following = torch.cat([values[1:], tensor(0)])
        torch.testing.assert_close(short, rewards + gamma * bootstrap.where(ends, following) - values)

    def test_true_values_leave_nothing_to_credit(self) -> None:
        # Deterministic rewards 1, 2, 4 and gamma 1/2: V = 1 + 1 + 1, 2 + 2, 4.
        for lam in (0.0, 0.3, 1.0):
            advantages, returns = generalized_advantages(
                tensor(1, 2, 4), tensor(3, 4, 4), flags(0, 0, 1), torch.zeros(3, dtype=F64), gamma=0.5, lam=lam
            )
            torch.testing.assert_close(advantages, torch.zeros(3, dtype=F64))
            torch.testing.assert_close(returns, tensor(3, 4, 4))

    def test_no_gradient_and_the_dtype_of_the_values(self) -> None:
        values = torch.ones(2, requires_grad=True)
        results = generalized_advantages(torch.ones(2), values, flags(0, 1), torch.zeros(2), gamma=1, lam=1)
        assert all(not one.requires_grad and one.dtype == torch.float32 for one in results)

    def test_nothing_in_nothing_out(self) -> None:
        empty = tensor()
        assert generalized_advantages(empty, empty, empty.bool(), empty, gamma=1, lam=1)[0].shape == (0,)


class TestBilevelAdvantages:
    def test_two_turns_of_two_tokens(self) -> None:
        # Turn values are .2 and .5. delta_1 = 1 - .5 = .5; delta_0 = 0 + .95 * .5 - .2 = .275.
        # A_1 = .5, A_0 = .275 + .95 * .5 = .75. Tokens: .75 + .2 - (.2, .3) and .5 + .5 - (.5, .6).
        advantages, returns = bilevel_advantages(
            tensor(0, 1), tensor(0.2, 0.3, 0.5, 0.6), torch.tensor([0, 0, 1, 1]), flags(0, 1), tensor(math.nan, 0),
            gamma=0.95, lam=1.0,
        )  # fmt: skip
        torch.testing.assert_close(advantages, tensor(0.75, 0.65, 0.5, 0.4))
        torch.testing.assert_close(returns, tensor(0.95, 0.95, 1, 1))

    def test_without_values_each_token_gets_its_turn_s_return(self) -> None:
        advantages, _ = bilevel_advantages(
            tensor(0, 1), torch.zeros(4, dtype=F64), torch.tensor([0, 0, 1, 1]), flags(0, 1), tensor(0, 0),
            gamma=0.95, lam=1.0,
        )  # fmt: skip
        torch.testing.assert_close(advantages, tensor(0.95, 0.95, 1, 1))

    def test_a_turn_is_worth_the_value_at_its_first_token(self) -> None:
        # lam 0: what turn 0 is to reach is 0 + .95 * V_1 = .95 * .5 = .475, whatever the last token's .6 says.
        advantages, returns = bilevel_advantages(
            tensor(0, 1), tensor(0.2, 0.3, 0.5, 0.6), torch.tensor([0, 0, 1, 1]), flags(0, 1), tensor(0, 0),
            gamma=0.95, lam=0.0,
        )  # fmt: skip
        torch.testing.assert_close(advantages, tensor(0.275, 0.175, 0.5, 0.4))
        torch.testing.assert_close(returns, tensor(0.475, 0.475, 1, 1))

    @given(LENGTHS, UNIT, UNIT, st.integers(0, 2**16))
    def test_turns_of_one_token_are_plain_advantages(
        self, lengths: list[int], gamma: float, lam: float, seed: int
    ) -> None:
        count, ends = sum(lengths), ends_of(lengths)
        rewards, values, bootstrap = noise(count, seed), noise(count, seed + 1), noise(count, seed + 2)
        both = bilevel_advantages(rewards, values, torch.arange(count), ends, bootstrap, gamma=gamma, lam=lam)
        for got, expected in zip(
            both, generalized_advantages(rewards, values, ends, bootstrap, gamma=gamma, lam=lam), strict=True
        ):
            torch.testing.assert_close(got, expected)

    @given(LENGTHS, UNIT, st.integers(0, 2**16))
    def test_longer_turns_are_not_discounted_more(self, lengths: list[int], gamma: float, seed: int) -> None:
        # With v = 0 only the number of turns matters, whatever the number of their tokens.
        turns = len(lengths)
        rewards, ends = noise(turns, seed), ends_of([turns])
        turn_N = torch.repeat_interleave(torch.arange(turns), torch.tensor(lengths))
        advantages, _ = bilevel_advantages(
            rewards, torch.zeros(sum(lengths), dtype=F64), turn_N, ends, torch.zeros(turns), gamma=gamma, lam=1
        )
        torch.testing.assert_close(advantages, discounted_returns(rewards, ends, gamma)[turn_N])

    @pytest.mark.parametrize("turn_N", [[0, 0, 2], [1, 1, 0], [0, 1, 0]])
    def test_turns_must_be_complete_and_in_order(self, turn_N: list[int]) -> None:
        turns = max(turn_N) + 1
        with pytest.raises(ValueError, match="in order, each with at least one token"):
            bilevel_advantages(
                torch.zeros(turns), torch.zeros(3), torch.tensor(turn_N), ends_of([turns]), torch.zeros(turns),
                gamma=1, lam=1,
            )  # fmt: skip


def test_discounted_returns_stop_at_the_end_of_a_sequence() -> None:
    # 4; 2 + 4/2 = 4; 1 + 4/2 = 3; and 8 alone.
    torch.testing.assert_close(discounted_returns(tensor(1, 2, 4, 8), flags(0, 0, 1, 1), 0.5), tensor(3, 4, 4, 8))


class TestWhiten:
    def test_by_hand(self) -> None:
        # Mean 2, squares 1 + 0 + 1 over N - 1 = 2: standard deviation 1.
        torch.testing.assert_close(whiten(tensor(1, 2, 3)), tensor(-1, 0, 1))

    @given(st.lists(st.floats(-10, 10), min_size=2, max_size=8), st.floats(0.1, 10), st.floats(-10, 10))
    def test_scale_and_shift_do_not_matter(self, values: list[float], scale: float, shift: float) -> None:
        values_N = torch.tensor(values, dtype=F64)
        if float(values_N.std()) < 1e-2:  # eps would then show
            return
        whitened = whiten(values_N)
        torch.testing.assert_close(whitened.mean(), tensor(0)[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(whitened.std(), tensor(1)[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(whiten(scale * values_N + shift), whitened, atol=1e-4, rtol=1e-4)

    def test_equal_values_and_fewer_than_two_are_exactly_0(self) -> None:
        for values in ([], [3.0], [0.1] * 7):
            assert whiten(torch.tensor(values)).tolist() == [0.0] * len(values)
