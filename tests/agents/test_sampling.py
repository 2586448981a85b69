"""Sampling: closed forms of temperature, nucleus, constraint and the inverse of the cumulative sum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sparring.agents.sampling import check_settings, log_probabilities, nucleus, sample
from sparring.errors import InvalidConfig

# Probabilities 1/2, 1/4, 1/8, 1/8 at temperature 1.
LOGITS = torch.log(torch.tensor([[4.0, 2.0, 1.0, 1.0]]))


def test_temperature_divides_logits() -> None:
    # At temperature 1/2 the weights are squared: 16, 4, 1, 1 of 22.
    cold = log_probabilities(LOGITS, temperature=0.5).exp()[0]
    assert torch.allclose(cold, torch.tensor([16, 4, 1, 1]) / 22)


def test_the_inverse_of_the_cumulative_sum() -> None:
    # The sums are 1/2, 3/4, 7/8, 1: a number below 1/2 takes token 0, one above it token 1, and so on.
    uniforms = [0.0, 0.499, 0.501, 0.749, 0.751, 0.876, 1 - 2**-53]
    tokens, logprobs = sample(LOGITS.repeat(len(uniforms), 1), uniforms)
    assert tokens.tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert logprobs == pytest.approx(np.log([1 / 2, 1 / 2, 1 / 4, 1 / 4, 1 / 8, 1 / 8, 1 / 8]))


def test_nucleus_keeps_the_smallest_set_that_reaches_its_mass() -> None:
    probabilities = LOGITS.softmax(-1)
    # 1/2 + 1/4 reaches .7 and .75; .76 needs one more, and ties go to the lower id.
    assert nucleus(probabilities, 0.7)[0].tolist() == pytest.approx([1 / 2, 1 / 4, 0, 0])
    assert nucleus(probabilities, 0.75)[0].tolist() == pytest.approx([1 / 2, 1 / 4, 0, 0])
    assert nucleus(probabilities, 0.76)[0].tolist() == pytest.approx([1 / 2, 1 / 4, 1 / 8, 0])
    assert nucleus(probabilities, 1e-9)[0].tolist() == pytest.approx([1 / 2, 0, 0, 0])


def test_logprobs_are_those_before_the_nucleus() -> None:
    # Within {0, 1} renormalised to 2/3 and 1/3, the number .7 takes token 1, whose log-probability stays log 1/4.
    tokens, logprobs = sample(LOGITS, [0.7], top_p=0.7)
    assert tokens.tolist() == [1]
    assert logprobs == pytest.approx([math.log(1 / 4)])


def test_constrained_rows_are_renormalised_and_others_are_not() -> None:
    # Over {1, 3} the weights 2 and 1 become 2/3 and 1/3.
    tokens, logprobs = sample(LOGITS.repeat(2, 1), [0.9, 0.9], allowed=[np.array([1, 3]), None])
    assert tokens.tolist() == [3, 3]
    assert logprobs == pytest.approx(np.log([1 / 3, 1 / 8]))


def test_inadmissible_tokens_never_come_out() -> None:
    logits = torch.tensor([[50.0, 0.0, 0.0, 0.0]]).repeat(200, 1)
    uniforms = [index / 200 for index in range(199)] + [1 - 2**-53]
    tokens, _ = sample(logits, uniforms, allowed=[np.array([1, 2])] * 200)
    assert set(tokens.tolist()) == {1, 2}


def test_greedy_takes_the_likeliest_admissible_token() -> None:
    tokens, logprobs = sample(LOGITS.repeat(2, 1), None, allowed=[None, np.array([2, 3])])
    assert tokens.tolist() == [0, 2]
    assert logprobs == pytest.approx(np.log([1 / 2, 1 / 2]))


def test_frequencies_follow_the_distribution() -> None:
    rng = np.random.default_rng(0)
    tokens, _ = sample(LOGITS.repeat(4000, 1), rng.random(4000).tolist())
    counts = np.bincount(tokens, minlength=4) / 4000
    # Four standard deviations of a share of 1/2 among 4,000 draws are .032.
    assert counts == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 8], abs=0.032)


@pytest.mark.parametrize(("temperature", "top_p"), [(0, 1), (-1, 1), (1, 0), (1, 1.1), (float("nan"), 1)])
def test_settings_outside_their_range_are_refused(temperature: float, top_p: float) -> None:
    with pytest.raises(InvalidConfig):
        check_settings(temperature, top_p)
