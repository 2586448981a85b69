"""Correction for samplers that differ from the trainer, against weights written out here."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparring.trainers.losses import mismatch_metrics, truncated_importance_weights

F64 = torch.float64
LOGPROBS = st.lists(st.tuples(st.floats(-5, 0), st.floats(-5, 0)), min_size=1, max_size=6)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def numbers(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def sides(tokens: list[tuple[float, float]]) -> tuple[Tensor, Tensor]:
    old, behaviour = zip(*tokens, strict=True)
    return tensor(*old), tensor(*behaviour)


class TestWeights:
    # Ratios 3 and 1/2 of one sequence, product 3/2, and 5/4 of another.
    OLD, BEHAVIOUR, SEQUENCE = tensor(3, 0.5, 1.25).log(), tensor(0, 0, 0), numbers(0, 0, 1)

    @pytest.mark.parametrize(
        ("level", "cap", "masked", "expected", "truncated"),
        [
            ("token", 2, False, (2, 0.5, 1.25), (True, False, False)),
            ("token", 2, True, (0, 0.5, 1.25), (True, False, False)),
            ("sequence", 2, False, (1.5, 1.5, 1.25), (False, False, False)),
            ("sequence", 1.3, False, (1.3, 1.3, 1.25), (True, True, False)),
            ("sequence", 1.3, True, (0, 0, 1.25), (True, True, False)),
        ],
    )
    def test_by_hand(
        self, level: str, cap: float, masked: bool, expected: tuple[float, ...], truncated: tuple[bool, ...]
    ) -> None:
        result = truncated_importance_weights(self.OLD, self.BEHAVIOUR, self.SEQUENCE, level, cap, masked=masked)
        torch.testing.assert_close(result.weights_N, tensor(*expected))
        assert result.truncated_N.tolist() == list(truncated)

    def test_log_ratios_are_held_within_20(self) -> None:
        result = truncated_importance_weights(tensor(0, -1e6), tensor(-1e6, 0), numbers(0, 1), "token", float("inf"))
        torch.testing.assert_close(result.weights_N, tensor(20, -20).exp())

    @given(LOGPROBS)
    def test_uncapped_weights_turn_one_expectation_into_the_other(self, tokens: list[tuple[float, float]]) -> None:
        # Over all outcomes, sum_i mu_i w_i f_i = sum_i pi_i f_i.
        old, behaviour = (side.log_softmax(-1) for side in sides(tokens))
        f = torch.linspace(-1, 2, len(tokens), dtype=F64)
        result = truncated_importance_weights(old, behaviour, torch.arange(len(tokens)), "token", float("inf"))
        torch.testing.assert_close((behaviour.exp() * result.weights_N * f).sum(), (old.exp() * f).sum())

    @given(LOGPROBS, st.floats(1, 5), st.booleans())
    def test_sequences_of_one_token_are_tokens(
        self, tokens: list[tuple[float, float]], cap: float, masked: bool
    ) -> None:
        old, behaviour = sides(tokens)
        by_token, by_sequence = (
            truncated_importance_weights(old, behaviour, torch.arange(len(tokens)), level, cap, masked=masked)
            for level in ("token", "sequence")
        )
        assert torch.equal(by_token.weights_N, by_sequence.weights_N)

    def test_no_gradient(self) -> None:
        old = self.OLD.clone().requires_grad_()
        assert not truncated_importance_weights(old, self.BEHAVIOUR, self.SEQUENCE, "token", 2).weights_N.requires_grad

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"cap must be at least 1, got 0\.5"):
            truncated_importance_weights(self.OLD, self.BEHAVIOUR, self.SEQUENCE, "token", 0.5)
        with pytest.raises(ValueError, match="token, sequence"):
            truncated_importance_weights(self.OLD, self.BEHAVIOUR, self.SEQUENCE, "turn", 2)  # type: ignore[arg-type]


class TestMetrics:
    def test_by_hand(self) -> None:
        # Differences log 2 and 0: w - 1 - log w = 1 - log 2 and 0, halved.
        metrics = mismatch_metrics(tensor(2, 1).log(), tensor(0, 0), torch.tensor([True, False]))
        assert metrics == pytest.approx(
            {
                "mismatch_mean": math.log(2) / 2,
                "mismatch_max": math.log(2),
                "mismatch_kl": (1 - math.log(2)) / 2,
                "mismatch_truncated": 0.5,
            }
        )

    @given(LOGPROBS)
    def test_the_estimate_averages_to_the_kl_of_the_sampler(self, tokens: list[tuple[float, float]]) -> None:
        # The mean over tokens, each as often as the sampler draws it; here in equal shares: mu uniform.
        old = sides(tokens)[0].log_softmax(-1)
        behaviour = torch.full_like(old, -math.log(len(tokens)))
        divergence = (behaviour.exp() * (behaviour - old)).sum()
        assert mismatch_metrics(old, behaviour)["mismatch_kl"] == pytest.approx(float(divergence), abs=1e-9)

    def test_nothing(self) -> None:
        assert set(mismatch_metrics(tensor(), tensor()).values()) == {0.0}
        assert mismatch_metrics(tensor(), tensor()).keys() == mismatch_metrics(tensor(1), tensor(1)).keys()
