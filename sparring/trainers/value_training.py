"""Training a value model: regression of its values on labels, by mean squared error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sparring.agents.models.critic import TokenCritic, trunk_of
from sparring.agents.models.value import VALUE_FILE, ValueModel, checkpoint_folder
from sparring.episode import Moment
from sparring.errors import InvalidConfig, InvalidData
from sparring.runs import RunFolder
from sparring.trainers.batch import Ints, cut_by_length
from sparring.trainers.checkpoint import Learner
from sparring.trainers.critic import CriticLearner, load_critic
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rounds import batches
from sparring.trainers.session import entropy

# Examples on which the error is measured: enough for a figure in the metrics.
_MEASURED = 512


@dataclass(frozen=True, slots=True)
class ValueTrainingConfig:
    """How a value model learns in a round. Its optimiser is configured apart."""

    updates: int = 100
    """Optimiser steps of a round."""
    max_passes: int = 3
    """A round ends earlier where it would go through its examples more often than this; the paper has 2 or 3."""
    batch: int = 32
    """Examples in an optimiser step; the paper's code has 3."""

    def __post_init__(self) -> None:
        for name in ("updates", "max_passes", "batch"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"value.{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Example:
    """A moment of an episode, and what it is worth, within 0 and 1.

    Raises:
        InvalidData: a worth outside that.
    """

    moment: Moment
    value: float

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise InvalidData(
                f'a value must lie within 0 and 1, got {self.value} in task "{self.moment.task}": an environment whose '
                "returns do not must report a score"
            )


@dataclass(frozen=True, slots=True)
class ValueLearner:
    """A value model under training.

    Attributes:
        critic: its network, with the optimiser. had_learned: whether it comes from another run.
    """

    model: ValueModel
    critic: CriticLearner[TokenCritic]
    had_learned: bool = False

    @property
    def has_learned(self) -> bool:
        """Whether it has learned anything, so that its opinion means something."""
        return self.had_learned or self.critic.steps > 0


def load_value_learner(
    learner: Learner, optim: OptimConfig, run: RunFolder, *, seed: int, start_from: Path | None = None
) -> ValueLearner:
    """Load the value model of the run's newest checkpoint, optimiser included, or else begin one.

    Args:
        learner: the policy, of whose decoder a new one begins as a copy. start_from: a run or a checkpoint's folder
            whose value model, of the same shape, a new run begins with.
    Raises:
        InvalidData: the checkpoint holds no value model of this shape.
    """
    critic = load_critic(
        lambda: TokenCritic(trunk_of(learner.model)).to(learner.model.device),
        optim,
        run,
        seed=seed,
        file=VALUE_FILE,
        start_from=None if start_from is None else checkpoint_folder(start_from),
    )
    return ValueLearner(ValueModel(critic.module, learner.tokenizer), critic, had_learned=start_from is not None)


def fit(
    config: ValueTrainingConfig, learner: ValueLearner, examples: Sequence[Example], *, seed: int, round: int
) -> dict[str, float]:
    """Take a round's optimiser steps, and return what to log about them; none where there are no examples.

    A model that has learned nothing yet begins with the examples' mean.

    Raises:
        Diverged: a gradient was not finite.
    """
    if not examples:
        return {"value_loss": math.nan, "value_examples": 0.0, "value_updates": 0.0}
    rows = [learner.model.encode(one.moment.prompt().messages) for one in examples]
    labels_K = torch.tensor([one.value for one in examples])
    error_before = error(learner.model, examples, seed=seed, round=round)
    if not learner.has_learned:
        learner.critic.module.start_at(float(labels_K.mean()))
    updates = min(config.updates, config.max_passes * math.ceil(len(examples) / config.batch))
    order = batches(len(examples), config.batch, np.random.default_rng(entropy(seed, round, "value")))
    losses, norms = [], []
    for update in range(updates):
        chosen = next(order)
        losses.append(_add_gradients(learner, [rows[index] for index in chosen], labels_K[chosen]))
        norms.append(learner.critic.take_step(update / updates))
    return {
        "value_loss": float(np.mean(losses)),
        "value_error_before": error_before,
        "value_label_mean": float(labels_K.mean()),
        "value_label_variance": float(labels_K.var(correction=0)),
        "value_grad_norm": float(np.mean(norms)),
        "value_examples": float(len(examples)),
        "value_updates": float(updates),
    }


def error(model: ValueModel, examples: Sequence[Example], *, seed: int, round: int) -> float:
    """The mean squared error on a round's examples, or on some hundreds of them where there are more."""
    chosen = np.random.default_rng(entropy(seed, round, "error")).permutation(len(examples))[:_MEASURED]
    part = [examples[index] for index in chosen.tolist()]
    values = model([one.moment for one in part])
    return float(np.mean([(value - one.value) ** 2 for value, one in zip(values, part, strict=True)]))


def _add_gradients(learner: ValueLearner, rows: Sequence[Ints], labels_B: torch.Tensor) -> float:
    """Add the gradient of the mean squared error on some examples; return that error."""
    total = 0.0
    for part in cut_by_length([len(row) for row in rows], learner.critic.config.micro_batch_tokens):
        values_B = learner.model.read([rows[index] for index in part])
        loss = ((values_B - labels_B[part].to(values_B.device)) ** 2).sum() / len(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total
