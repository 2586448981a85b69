"""Losses that compare whole sequences with each other, whatever the micro-batches that they are cut into.

A first pass without gradient gives every token's log-probability; the loss of those is a small function, whose slopes a
second pass carries into the model, micro-batch by micro-batch. The gradient is exact, for one more forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sparring.trainers.batch import Floats, Sample, collate, micro_batches, score_tokens, vocabulary_size
from sparring.trainers.tally import Tally


def score(model: Any, samples: Sequence[Sample], token_budget: int, temperature: float, tally: Tally) -> list[Tensor]:
    """Log-probabilities of each sample's tokens, without gradient; `tally` gets the entropy."""
    found: list[Tensor] = [torch.zeros(0)] * len(samples)
    for rows in micro_batches(samples, token_budget):
        batch = collate([samples[row] for row in rows], vocabulary_size(model)).to(model.device)
        with torch.no_grad():
            scores = score_tokens(model, batch, temperature)
        tally.add(entropy=scores.entropy_N)
        parts = torch.split(scores.logprobs_N, [len(samples[row].sampled_n) for row in rows])
        for row, part in zip(rows, parts, strict=True):
            found[row] = part
    return found


def add_slopes(
    model: Any, samples: Sequence[Sample], slopes: Sequence[Floats], token_budget: int, temperature: float
) -> None:
    """Add to the model's gradient that of a loss whose slopes by the log-probabilities are known.

    Args:
        slopes: for each sample, of each of its sampled tokens, float32 [n]; samples without any cost nothing.
    """
    telling = [row for row, slope in enumerate(slopes) if slope.any()]
    for rows in micro_batches([samples[row] for row in telling], token_budget):
        chosen = [telling[row] for row in rows]
        batch = collate(
            [samples[row] for row in chosen], vocabulary_size(model), advantages=[slopes[row] for row in chosen]
        ).to(model.device)
        (score_tokens(model, batch, temperature).logprobs_N * batch.advantages_N).sum().backward()  # type: ignore[no-untyped-call]
