"""Run batches by the model's own cache: for architectures that the pool of `sparring.agents.pooled` does not fit."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from sparring.agents.models.branches import slides
from sparring.agents.pooled import PooledRunner

_TOLERANCE = 2e-3


class PlainRunner:
    """Runs each batch from its prompts' starts, padded on the left, and keeps nothing between turns.

    Works for every causal language model of `transformers` that takes an `attention_mask`. Rows advance one token
    at a time, finished ones with padding.
    """

    jumps = False

    def __init__(self, model: Any) -> None:
        self._model = model
        named = inspect.signature(_innermost(model).forward).parameters
        self._takes_positions = "position_ids" in named
        self._mask_BT = torch.zeros(0)
        self._past: Any = None

    def begin(self, episodes: Sequence[str], prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Start a batch of prompts."""
        longest = max(map(len, prompts))
        padded = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        shown = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        self._mask_BT = torch.tensor(shown, device=self._model.device)
        self._past = None
        return self._forward(torch.tensor(padded, device=self._model.device))

    def feed(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append one token to some of the rows."""
        column = [0] * len(self._mask_BT)
        for row, (token,) in zip(rows, tokens, strict=True):
            column[row] = token
        self._mask_BT = torch.cat([self._mask_BT, self._mask_BT.new_ones((len(column), 1))], dim=1)
        logits = self._forward(torch.tensor(column, device=self._model.device).unsqueeze(-1))
        return logits[list(rows)]

    def forget(self, episode: str) -> None:
        """Nothing is kept for an episode."""

    def clear(self) -> None:
        self._past = None

    def arguments(self, ids_BQ: torch.Tensor) -> dict[str, Any]:
        """What the model is given beside ids, mask and its cache."""
        if not self._takes_positions:
            return {}
        return {"position_ids": (self._mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -ids_BQ.shape[1] :]}

    def _forward(self, ids_BQ: torch.Tensor) -> torch.Tensor:
        output = self._model(
            input_ids=ids_BQ,
            attention_mask=self._mask_BT,
            past_key_values=self._past,
            use_cache=True,
            logits_to_keep=1,
            **self.arguments(ids_BQ),
        )
        self._past = output.past_key_values
        logits: torch.Tensor = output.logits[:, -1]
        return logits


def agrees(runner: PooledRunner, model: Any) -> bool:
    """Whether a pooled runner gives the model's own logits on two short ragged rows.

    It does not for models that forget (sliding windows, state-space layers), or that take no 4D mask.
    """
    if slides(model.config):
        return False  # rows as short as these would not show the difference
    size = int(model.config.get_text_config().vocab_size)
    rows = [[(7 * at + 3) % size for at in range(length)] for length in (9, 4)]
    more = [[5 % size], [11 % size, 2 % size, 1]]
    try:
        got = [runner.begin(["", ""], rows), runner.feed([0, 1], more)]
        for step, logits in enumerate(got):
            for row in range(2):
                ids = rows[row] + (more[row] if step else [])
                own = model(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1]
                scale = float(own.float().abs().max()) + 1e-6
                limit = _TOLERANCE if own.dtype == torch.float32 else 0.1
                if float((own - logits[row]).abs().max()) > limit * scale:
                    return False
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError):
        return False
    finally:
        runner.clear()
    return True


def _innermost(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
