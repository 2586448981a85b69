"""Advantages over a whole batch and of single turns, against values derived here and by their invariances."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparring.trainers.losses import (
    gigpo_advantages,
    group_advantages,
    overlong_penalty,
    turn_group_advantages,
    whiten,
)

F64 = torch.float64


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def numbers(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def f32(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


class TestReinforcePlusPlus:
    def test_by_hand(self) -> None:
        # Returns 1, 3, 5, 7: mean 4, squares 9 + 1 + 1 + 9 = 20 over 3. Less their groups' means 2 and 6 they are
        # -1, 1, -1, 1: mean 0, squares 4 over 3.
        returns, groups = tensor(1, 3, 5, 7), numbers(0, 0, 1, 1)
        plain = group_advantages(returns, groups, "reinforce++")
        torch.testing.assert_close(plain, f32(-3, -1, 1, 3) / (20 / 3) ** 0.5)
        baseline = group_advantages(returns, groups, "reinforce++-baseline")
        torch.testing.assert_close(baseline, f32(-1, 1, -1, 1) / (4 / 3) ** 0.5)

    def test_the_baseline_takes_away_how_hard_a_task_is(self) -> None:
        groups = numbers(0, 0, 1, 1)
        before = group_advantages(tensor(1, 0, 2, 5), groups, "reinforce++-baseline")
        after = group_advantages(tensor(1, 0, 102, 105), groups, "reinforce++-baseline")
        torch.testing.assert_close(after, before)

    def test_a_group_of_equal_returns_teaches_exactly_nothing_under_the_baseline(self) -> None:
        advantages = group_advantages(tensor(0.1, 0.1, 0.1, 1, 0), numbers(0, 0, 0, 1, 1), "reinforce++-baseline")
        assert advantages[:3].tolist() == [0, 0, 0]
        assert advantages[3] > 0 > advantages[4]

    @given(st.lists(st.floats(-5, 5), min_size=2, max_size=6))
    def test_one_group_whitens_alike_with_and_without_baseline(self, returns: list[float]) -> None:
        values = torch.tensor(returns, dtype=F64)
        if float(values.std()) < 1e-2:
            return
        groups = torch.zeros(len(returns), dtype=torch.long)
        for method in ("reinforce++", "reinforce++-baseline"):
            got = group_advantages(values, groups, method)
            torch.testing.assert_close(got, whiten(values).float(), atol=1e-5, rtol=1e-5)


class TestGiGPO:
    RETURNS, GROUPS = tensor(10, 10, 0, 0), numbers(0, 0, 0, 0)

    def test_one_shared_state(self) -> None:
        # Episode part 10 - 5, 0 - 5. Step part: mean of (9.025, 9.5, 0, 0) is 4.63125, so 4.39375, 4.86875, -4.63125.
        advantages = gigpo_advantages(
            self.RETURNS, self.GROUPS, tensor(9.025, 9.5, 0, 0), numbers(0, 1, 2, 3), numbers(7, 7, 7, 7),
            normalise=False,
        )  # fmt: skip
        torch.testing.assert_close(advantages, f32(9.39375, 9.86875, -9.63125, -9.63125))

    def test_normalised(self) -> None:
        # Episodes (1, 0): mean 1/2, standard deviation sqrt(1/2): ±1/sqrt(2). Steps (4, 2): the same by symmetry.
        advantages = gigpo_advantages(
            tensor(1, 0), numbers(0, 0), tensor(4, 2), numbers(0, 1), numbers(3, 3), omega=0.5, normalise=True
        )
        torch.testing.assert_close(advantages, f32(1, -1) * 1.5 * 0.5**0.5, atol=1e-5, rtol=0)

    def test_anchors_are_compared_within_their_group_only(self) -> None:
        # The same state in two groups of two: each turn is alone in its group, so only the episode part is left.
        advantages = gigpo_advantages(
            tensor(1, 0, 1, 0), numbers(0, 0, 1, 1), tensor(9, 5), numbers(0, 2), numbers(4, 4), normalise=False
        )
        torch.testing.assert_close(advantages, f32(0.5, 0.5))

    def test_an_episode_that_returns_to_a_state_is_compared_with_itself(self) -> None:
        # State 0 visited twice by episode 0, with G 2 and 4: -1 and 1 around their mean.
        advantages = gigpo_advantages(
            tensor(0, 0), numbers(0, 0), tensor(2, 4, 8), numbers(0, 0, 1), numbers(0, 0, 5), normalise=False
        )
        torch.testing.assert_close(advantages, f32(-1, 1, 0))

    @given(st.integers(0, 2**16), st.booleans(), st.floats(0, 3))
    def test_order_and_numbering_do_not_matter(self, seed: int, normalise: bool, omega: float) -> None:
        generator = torch.Generator().manual_seed(seed)
        groups = numbers(0, 0, 0, 1, 1)
        returns = torch.randn(5, generator=generator, dtype=F64)
        sequence = torch.randint(0, 5, (12,), generator=generator)
        anchor = torch.randint(0, 3, (12,), generator=generator)
        step_returns = torch.randn(12, generator=generator, dtype=F64)
        plain = gigpo_advantages(returns, groups, step_returns, sequence, anchor, omega=omega, normalise=normalise)
        order = torch.randperm(12, generator=generator)
        moved = gigpo_advantages(
            returns, 5 - groups, step_returns[order], sequence[order], 100 - 7 * anchor[order],
            omega=omega, normalise=normalise,
        )  # fmt: skip
        torch.testing.assert_close(moved, plain[order])


class TestTurnGroups:
    def test_by_hand(self) -> None:
        # Turn 0 of both episodes: 4 and 2 around 3. Turn 1 of both: 6 and 0 around 3. Turn 2 of the second alone: 0.
        advantages = turn_group_advantages(
            tensor(4, 6, 2, 0, 9), numbers(0, 0, 1, 1, 1), numbers(0, 1, 0, 1, 2), numbers(0, 0)
        )
        torch.testing.assert_close(advantages, f32(1, 3, -1, -3, 0))

    def test_groups_are_apart(self) -> None:
        advantages = turn_group_advantages(tensor(4, 2), numbers(0, 1), numbers(0, 0), numbers(0, 1))
        assert advantages.tolist() == [0, 0]

    def test_normalised(self) -> None:
        advantages = turn_group_advantages(tensor(4, 2), numbers(0, 1), numbers(0, 0), numbers(0, 0), normalise=True)
        torch.testing.assert_close(advantages, f32(1, -1) * 0.5**0.5, atol=1e-5, rtol=0)

    @given(st.lists(st.floats(-5, 5), min_size=2, max_size=6))
    def test_episodes_of_one_turn_are_dr_grpo(self, returns: list[float]) -> None:
        values, groups = torch.tensor(returns, dtype=F64), torch.zeros(len(returns), dtype=torch.long)
        advantages = turn_group_advantages(values, torch.arange(len(returns)), groups, groups)
        torch.testing.assert_close(advantages, group_advantages(values, groups, "dr_grpo"))


class TestOverlongPenalty:
    def test_slope(self) -> None:
        penalties = overlong_penalty(numbers(0, 80, 90, 100, 120), 100, 20)
        torch.testing.assert_close(penalties, f32(0, 0, -0.5, -1, -1))

    @pytest.mark.parametrize("cache", [0, 101])
    def test_slope_must_fit(self, cache: int) -> None:
        with pytest.raises(ValueError, match="cache_tokens must lie within 1 and max_tokens"):
            overlong_penalty(numbers(1), 100, cache)
