"""A value model: how far an episode has come, read off a language model's hidden state at the end of the prompt.

    values = load_value_model("runs/rest")
    tree = search(env, policy, start, setting, evaluator=estimate(values))
    rewards = values.step_rewards(trajectory)

It is a function from moments of episodes to numbers within 0 and 1, and with that an evaluator of places for a search.
What a step added to the value is the worth of that step, so it is a process reward model, too. What its numbers mean
depends on what it was trained on: inferred process rewards, or the outcomes of what followed
(`sparring.trainers.rest_mcts`).
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sparring.agents.models import load_model
from sparring.agents.models.critic import Ints, TokenCritic, trunk_of
from sparring.agents.prompts import build
from sparring.agents.rendering import ChatFormat
from sparring.agents.threads import cpu_threads
from sparring.errors import InvalidConfig, InvalidData
from sparring.runs import RunFolder
from sparring.types import Message, Prompt, Trajectory

VALUE_FILE = "value_critic.pt"
"""The value model's part of a checkpoint, beside the policy's folder, whose shape and tokenizer are also its own."""

# Prompts that go through the model at once.
_VALUED_AT_ONCE = 64


class HasPrompt(Protocol):
    """Where an episode stands, such as `sparring.episode.Moment`."""

    def prompt(self) -> Prompt:
        """What a policy is asked there."""
        ...


class ValueModel:
    """Values moments of episodes.

    It reads what was said as text, and not in the tokens in which it was sampled: episodes of a policy with another
    tokenizer, or with none, can be valued as well.

    Args:
        critic: the network, of whose positions the last of a prompt is read. tokenizer: that of its decoder.

    Attributes:
        max_context: longest prompt in tokens; longer ones lose their beginning.
    """

    def __init__(self, critic: TokenCritic, tokenizer: Any) -> None:
        self.critic = critic
        self.chat = ChatFormat.from_tokenizer(tokenizer)
        self.max_context = int(getattr(critic.trunk.config, "max_position_embeddings", 0) or 4096)

    def __call__(self, moments: Sequence[HasPrompt]) -> list[float]:
        """The values of some moments, within 0 and 1."""
        return self._values([moment.prompt().messages for moment in moments])

    def step_rewards(self, episode: Trajectory, *, system: str | None = None) -> list[float]:
        """What each turn of an episode added to the value: its process rewards, within -1 and 1.

        Args:
            system: the system message that the prompts had.
        Raises:
            InvalidData: the episode does not say what was seen at its end.
        """
        if episode.final is None:
            raise InvalidData(f'the episode of task "{episode.task_id}" has no final observation to be valued')
        seen = [*(turn.observation for turn in episode.turns), episode.final]
        values = self._values(
            [
                build(episode.turns[:at], one, memory=episode.memory, instruction=episode.instruction, system=system)
                for at, one in enumerate(seen)
            ]
        )
        return [after - before for before, after in pairwise(values)]

    def encode(self, messages: Sequence[Message]) -> Ints:
        """The ids of a prompt, int64 [T]."""
        ids = self.chat.render([replace(message, action=None) for message in messages])
        return np.array(ids[-self.max_context :], dtype=np.int64)

    def read(self, rows: Sequence[Ints]) -> Tensor:
        """The values of B encoded prompts as the network has them: with gradients, and not held within 0 and 1.

        Returns:
            float32 [B].
        """
        tokens_BT = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
        reads_BT = torch.zeros(tokens_BT.shape, dtype=torch.bool)
        for index, row in enumerate(rows):
            tokens_BT[index, : len(row)] = torch.from_numpy(row)
            reads_BT[index, len(row) - 1] = True
        device = self.critic.head.weight.device
        values_B: Tensor = self.critic(tokens_BT.to(device), reads_BT.to(device))
        return values_B

    def _values(self, prompts: Sequence[Sequence[Message]]) -> list[float]:
        rows = [self.encode(messages) for messages in prompts]
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        found = [0.0] * len(rows)
        with torch.inference_mode(), cpu_threads(self.critic, 0):
            for first in range(0, len(order), _VALUED_AT_ONCE):
                part = order[first : first + _VALUED_AT_ONCE]
                values_B = self.read([rows[index] for index in part]).clamp(0, 1)
                for index, value in zip(part, values_B.tolist(), strict=True):
                    found[index] = value
        return found


def checkpoint_folder(path: str | Path) -> Path:
    """The newest checkpoint of a run, or the folder itself where it is no run.

    Raises:
        InvalidConfig: a run without a checkpoint.
    """
    run = RunFolder(Path(path))
    if not run.config_path.exists():
        return run.path
    latest = run.latest_checkpoint()
    if latest is None:
        raise InvalidConfig(f"{path} is a run without a checkpoint, so it has no value model yet")
    return latest[1]


def load_value_model(path: str | Path) -> ValueModel:
    """The value model of a run, or of a checkpoint's folder.

    Raises:
        UnknownName: no model is there. InvalidConfig: a run without a checkpoint.
        InvalidData: the checkpoint has no value model.
    """
    folder = checkpoint_folder(path)
    model, tokenizer = load_model(folder)
    critic = TokenCritic(trunk_of(model)).to(model.device)
    try:
        critic.load_state_dict(torch.load(folder / VALUE_FILE, weights_only=True, map_location="cpu")["module"])
    except (OSError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise InvalidData(
            f"{folder / VALUE_FILE} holds no value model; runs of rest_mcts have one, but for --values none ({error})"
        ) from error
    return ValueModel(critic.eval().requires_grad_(False), tokenizer)
