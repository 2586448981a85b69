"""Critics under training: their optimiser, their target copy, and their part of a checkpoint."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sparring.agents.models.critic import OutcomeCritic, UtteranceCritic
from sparring.errors import InvalidData
from sparring.runs import RunFolder
from sparring.trainers.batch import Ints, cut_by_length
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
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise InvalidData(
            f"{path} holds no critic, so the run can't go on from it. Start a new run from its weights with "
            f"--model {path.parent} ({error})"
        ) from error
    return state


def state_values(critic: UtteranceCritic, states: Sequence[Ints], budget: int) -> Tensor:
    """Both values of each of B states, [2, B], without gradients.

    Args:
        budget: tokens that go through the critic at once. Equal states go once.
    """
    places, firsts = _distinct([one.tobytes() for one in states])
    found_2U = torch.zeros(2, len(firsts), device=critic.spread.device)
    with torch.no_grad():
        for rows in cut_by_length([len(states[first]) for first in firsts], budget):
            found_2U[:, rows] = critic.values([states[firsts[row]] for row in rows])
    return found_2U[:, places]


def utterance_values(
    critic: UtteranceCritic, states: Sequence[Ints], utterances: Sequence[Ints], budget: int
) -> tuple[Tensor, Tensor]:
    """Both Q of each of B utterances and both V of its state, each [2, B], without gradients.

    Args:
        budget: tokens that go through the critic at once. Equal pairs go once, and so do equal states.
    """
    places, firsts = _distinct(
        [(state.tobytes(), one.tobytes()) for state, one in zip(states, utterances, strict=True)]
    )
    owners, stems = _distinct([states[first].tobytes() for first in firsts])
    siblings: list[list[int]] = [[] for _ in stems]
    for pair, owner in enumerate(owners):
        siblings[owner].append(pair)
    texts = [states[firsts[stem]] for stem in stems]
    said = [[utterances[firsts[pair]] for pair in own] for own in siblings]
    q_2U, v_2U = (torch.zeros(2, len(firsts), device=critic.spread.device) for _ in range(2))
    lengths = [len(text) + sum(map(len, own)) for text, own in zip(texts, said, strict=True)]
    with torch.no_grad():
        for rows in cut_by_length(lengths, budget):
            q_2N, v_2B = critic.siblings([texts[row] for row in rows], [said[row] for row in rows])
            pairs = [pair for row in rows for pair in siblings[row]]
            q_2U[:, pairs] = q_2N
            v_2U[:, pairs] = v_2B[:, [at for at, row in enumerate(rows) for _ in siblings[row]]]
    return q_2U[:, places], v_2U[:, places]


def success_rates(critic: OutcomeCritic, states: Sequence[Ints], budget: int) -> Tensor:
    """The lowest of the heads' probabilities of success in each of B states, float32 [B], without gradients.

    Args:
        budget: tokens that go through the critic at once. Equal states go once.
    """
    places, firsts = _distinct([one.tobytes() for one in states])
    found_U = torch.zeros(len(firsts), device=next(critic.parameters()).device)
    with torch.no_grad():
        for rows in cut_by_length([len(states[first]) for first in firsts], budget):
            found_U[rows] = critic([states[firsts[row]] for row in rows]).amin(0).sigmoid()
    return found_U[places]


def _distinct(keys: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """For each key its place among the distinct ones, and for each of those where it stands first."""
    numbers: dict[Hashable, int] = {}
    firsts: list[int] = []
    places = []
    for index, key in enumerate(keys):
        if key not in numbers:
            numbers[key] = len(firsts)
            firsts.append(index)
        places.append(numbers[key])
    return places, firsts
