"""Constrained decoding inside vLLM: a logits processor that walks the automata of `Grammar`, token by token.

Written to the interface of vLLM's V1 model runner (`vllm.v1.sample.logits_processor`), which version 2 of the runner
does not take. What is left are the admissible tokens, so that vLLM's processed log-probabilities are renormalised
over them, as `HFPolicy`'s are. Imported only where vllm is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, process_dict_updates

from sparring.agents.grammar import Grammar, State

ARGUMENT = "sparring"  # the key of `SamplingParams.extra_args` under which a request brings its `Steering`


@dataclass(frozen=True, slots=True)
class Steering:
    """How one request's logits are changed.

    Attributes:
        grammar: walks the states. state: where the action stands at the request's first token; None leaves the
            tokens free.
        divisor: what logits are divided by. vLLM has no temperature in greedy decoding, where this stands in for it.
    """

    grammar: Grammar
    state: State | None
    divisor: float = 1.0


class _Row:
    """A request in the batch."""

    def __init__(self, steering: Steering, output_ids: Sequence[int]) -> None:
        self.steering = steering
        self._state = steering.state
        self._output_ids = output_ids  # vLLM's own list, which grows
        self._read = 0

    def allowed(self) -> npt.NDArray[np.int64] | None:
        """The admissible ids now. Where the rest is settled, the end of turn alone: the policy fills in the rest."""
        if self._state is None:
            return None
        grammar = self.steering.grammar
        while self._read < len(self._output_ids):
            self._state = grammar.advance(self._state, self._output_ids[self._read])
            self._read += 1
        if grammar.is_settled(self._state):
            return np.array([grammar.end_id])
        return self._state.allowed


class Masks(LogitsProcessor):  # type: ignore[misc]  # vllm is not installed where types are checked
    """Bans what a request's grammar does not admit."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        """Whether greedy decoding may skip this: no."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow requests as they enter, leave and change places in the batch."""
        process_dict_updates(self._rows, batch_update, _row)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Set what is not admissible to -inf, in place. logits: float32 [B, V]."""
        kept: list[tuple[int, npt.NDArray[np.int64]]] = []
        banned: list[tuple[int, npt.NDArray[np.int64]]] = []
        for index, row in self._rows.items():
            if row.steering.divisor != 1.0:
                logits[index] /= row.steering.divisor
            allowed = row.allowed()
            if allowed is None:
                continue
            if 2 * len(allowed) <= logits.shape[1]:
                kept.append((index, allowed))
            else:  # an open slot: few tokens are banned
                admits = np.zeros(logits.shape[1], dtype=np.bool_)
                admits[allowed] = True
                banned.append((index, np.flatnonzero(~admits)))
        if kept:
            rows, columns = _places(kept, logits.device)
            values = logits[rows, columns]
            logits[torch.tensor([index for index, _ in kept], device=logits.device)] = -torch.inf
            logits[rows, columns] = values
        if banned:
            logits[_places(banned, logits.device)] = -torch.inf
        return logits


def _row(params: Any, prompt_ids: Sequence[int] | None, output_ids: Sequence[int]) -> _Row | None:
    steering = (params.extra_args or {}).get(ARGUMENT)
    return None if steering is None else _Row(steering, output_ids)


def _places(
    ids_by_row: Sequence[tuple[int, npt.NDArray[np.int64]]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of each id."""
    rows = np.concatenate([np.full(len(ids), row) for row, ids in ids_by_row])
    columns = np.concatenate([ids for _, ids in ids_by_row])
    return torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)
