"""The optimiser step: AdamW, gradient clipping, and a learning rate that warms up and decays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from sparring.errors import InvalidConfig, SparringError


class Diverged(SparringError, ArithmeticError):
    """A gradient was not finite, so the step was not taken."""


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """AdamW (arXiv:1711.05101) and what surrounds it."""

    lr: float = 1e-3
    """Peak learning rate. A small model trained from scratch wants 1e-3 to 4e-3, LoRA about 1e-4, a pretrained
    model trained in full about 1e-6 to 1e-5."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the running means of the gradient and of its square."""
    amsgrad: bool = False
    """Divide by the largest mean square that a gradient has had, not by the latest (AMSGrad, arXiv:1904.09237), so that
    steps shrink as gradients do. Otherwise a policy that has converged keeps taking whole steps on what noise is left,
    and the first large gradient after many small ones throws it far."""
    weight_decay: float = 0.0
    """Decoupled weight decay, on matrices only."""
    warmup_steps: int = 10
    """Steps over which the rate rises linearly from near 0 to `lr`."""
    decay: Literal["constant", "linear", "cosine"] = "constant"
    """Shape of the way down from `lr` to `final_lr_fraction * lr` at the end of the budget."""
    final_lr_fraction: float = 0.1
    """What is left of `lr` at the end of a decay."""
    grad_clip: float = 1.0
    """Gradients are scaled down to this global norm."""
    micro_batch_tokens: int = 1024
    """At most so many tokens, padding included, go through the model at once (a longer sequence goes
    alone). On a CPU small micro-batches stay in its caches and are faster; on a GPU fill its memory."""

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise InvalidConfig(f"optim.lr must be above 0, got {self.lr}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InvalidConfig(f"optim.betas must lie in [0, 1), got {self.betas}")
        if self.weight_decay < 0:
            raise InvalidConfig(f"optim.weight_decay must be at least 0, got {self.weight_decay}")
        if self.warmup_steps < 0:
            raise InvalidConfig(f"optim.warmup_steps must be at least 0, got {self.warmup_steps}")
        if not 0 <= self.final_lr_fraction <= 1:
            raise InvalidConfig(f"optim.final_lr_fraction must be within 0 and 1, got {self.final_lr_fraction}")
        if self.grad_clip <= 0:
            raise InvalidConfig(f"optim.grad_clip must be above 0 (inf for none), got {self.grad_clip}")
        if self.micro_batch_tokens < 1:
            raise InvalidConfig(f"optim.micro_batch_tokens must be at least 1, got {self.micro_batch_tokens}")


def learning_rate(config: OptimConfig, step: int, progress: float) -> float:
    """The rate of one step.

    Args:
        step: number of the step, from 1. progress: share of the whole budget used so far, within 0 and 1.
    """
    warm = min(1.0, step / (config.warmup_steps + 1))
    progress = min(max(progress, 0.0), 1.0)
    if config.decay == "linear":
        shape = 1 - progress
    elif config.decay == "cosine":
        shape = (1 + math.cos(math.pi * progress)) / 2
    else:
        return config.lr * warm
    return config.lr * warm * (config.final_lr_fraction + (1 - config.final_lr_fraction) * shape)


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; vectors (norms, biases) are not decayed."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in trainable if one.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [one for one in trainable if one.ndim < 2], "weight_decay": 0.0},
    ]
    # Fused: one call for all parameters, which for a small model is most of the cost of a step.
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=config.betas,
        amsgrad=config.amsgrad,
        fused=True,
    )


def take_step(optimizer: torch.optim.AdamW, config: OptimConfig, lr: float) -> float:
    """Clip the accumulated gradients, step, clear them, and return their norm before clipping.

    Raises:
        Diverged: the norm is not finite. The weights are left as they were.
    """
    parameters = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
    norm = float(nn.utils.clip_grad_norm_(parameters, config.grad_clip))
    if not math.isfinite(norm):
        optimizer.zero_grad(set_to_none=True)
        raise Diverged(
            f"the gradient's norm is {norm}: the step was not taken. Lower optim.lr or optim.grad_clip, and "
            "continue from the last checkpoint with --resume"
        )
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm
