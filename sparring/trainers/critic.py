"""Critics under training: their optimiser, their target copy, and their part of a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from sparring.errors import InvalidData
from sparring.runs import RunFolder
from sparring.trainers.losses import polyak_update
from sparring.trainers.optim import OptimConfig, build_optimizer, learning_rate, take_step
from sparring.trainers.session import entropy

CRITIC_FILE = "critic.pt"

CriticT = TypeVar("CriticT", bound=nn.Module)


@dataclass(slots=True)
class CriticLearner(Generic[CriticT]):
    """A critic with its optimiser, and a slowly following copy where its own predictions are its targets.

    Attributes:
        module: the critic. target: the copy, or None. steps: optimiser steps taken.
    """

    module: CriticT
    optimizer: torch.optim.AdamW
    config: OptimConfig
    target: CriticT | None = None
    steps: int = 0
    file: str = CRITIC_FILE

    def take_step(self, progress: float, tau: float | None = None) -> float:
        """Follow the gradients held, then let the target follow by `tau`; return the gradient's norm."""
        self.steps += 1
        norm = take_step(self.optimizer, self.config, learning_rate(self.config, self.steps, progress))
        if tau is not None and self.target is not None:
            polyak_update(self.target, self.module, tau)
        return norm

    def write(self, folder: Path) -> None:
        """Add the critic to a checkpoint's folder."""
        state = {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "target": None if self.target is None else self.target.state_dict(),
            "steps": self.steps,
        }
        torch.save(state, folder / self.file)


def load_critic(
    build: Callable[[], CriticT],
    config: OptimConfig,
    run: RunFolder,
    *,
    seed: int,
    has_target: bool = False,
    file: str = CRITIC_FILE,
    start_from: Path | None = None,
) -> CriticLearner[CriticT]:
    """Build a critic, with the weights and the optimiser of the run's newest checkpoint where there is one.

    Args:
        build: makes the module; whatever it draws from torch's global generator depends on `seed` alone.
        has_target: keep a target copy. file: its name in a checkpoint.
        start_from: a checkpoint folder of another run, whose critic a new run begins with.
    Raises:
        InvalidData: the checkpoint holds no critic of this shape.
    """
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.default_rng(entropy(seed, 0, "critic")).integers(2**62)))
        module = build()
    module.eval()
    latest = run.latest_checkpoint()
    source = latest[1] if latest is not None else start_from
    state = None if source is None else _read(source / file)
    try:
        if state is not None:
            module.load_state_dict(state["module"])
        target = copy.deepcopy(module).requires_grad_(False) if has_target else None
        learner = CriticLearner(module, build_optimizer(module, config), config, target, file=file)
        if state is not None and latest is not None:
            learner.optimizer.load_state_dict(state["optimizer"])
            learner.steps = int(state["steps"])
            if target is not None:
                target.load_state_dict(state["target"])
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise InvalidData(f"{source}/{file} holds a critic of another shape than this run's: {error}") from error
    return learner


def _read(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise InvalidData(
            f"{path} holds no critic, so the run can't go on from it. Start a new run from its weights with "
            f"--model {path.parent} ({error})"
        ) from error
    return state
