"""The optimiser's step after gradients have dwindled, which is where trainers of converged policies fell."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from sparring.trainers.optim import OptimConfig, build_optimizer, take_step

LR = 0.01
CONFIG = OptimConfig(lr=LR, grad_clip=float("inf"))


class One(nn.Module):
    """A single weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


def moved(config: OptimConfig, gradients: list[float]) -> float:
    """How far the last of some gradients moves a weight."""
    model = One()
    optimizer = build_optimizer(model, config)
    before = 0.0
    for gradient in gradients:
        before = model.weight.item()
        model.weight.grad = torch.tensor(gradient)
        take_step(optimizer, config, LR)
    return abs(model.weight.item() - before)


def test_a_step_after_small_gradients() -> None:
    # m = (1 - .9) · .01 = .001; v = (1 - .95) · .01² without the memory of larger ones: a step of lr · .1 / sqrt(.05),
    # nearly half of one for a gradient of 1/100 of those before. With it v is what the ones left, 1: lr / 1,000.
    gradients = [1.0] * 300 + [1e-7] * 600 + [0.01]
    assert moved(CONFIG, gradients) == pytest.approx(LR * 0.1 / 0.05**0.5, rel=0.01)
    assert moved(replace(CONFIG, amsgrad=True), gradients) == pytest.approx(LR / 1000, rel=0.01)
