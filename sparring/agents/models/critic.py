"""Critics: how good a state, an utterance or a token is, read off a language model's hidden states."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparring.agents.eyes import eyes_of
from sparring.agents.models.branches import read_branches, takes_branches
from sparring.errors import InvalidConfig

Ints = npt.NDArray[np.int64]


def trunk_of(model: Any) -> nn.Module:
    """A trainable copy of a causal language model's decoder, without its output head and without gradients held.

    Args:
        model: a model of `transformers`, or such a model under peft, whose adapter is merged into the copy.
    Raises:
        InvalidConfig: a vision-language model, whose decoder alone would take pictures for so many equal tokens.
    """
    if eyes_of(model) is not None:
        raise InvalidConfig("a critic does not see pictures: train a vision-language model by sft or grpo")
    if hasattr(model, "get_base_model"):
        decoder = copy.deepcopy(model).merge_and_unload().get_decoder()
    else:
        decoder = copy.deepcopy(model.get_decoder())
    trunk: nn.Module = decoder.requires_grad_(True)
    trunk.zero_grad(set_to_none=True)
    return trunk.eval()


class TokenCritic(nn.Module):
    """The value of what stands before each sampled token: a linear head on a decoder of its own.

    Args:
        trunk: a decoder of `transformers` (`trunk_of`).
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(int(trunk.config.hidden_size), 1)  # type: ignore[union-attr, arg-type]
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def start_at(self, value: float) -> None:
        """Let an untrained critic say `value` of everything: the mean is slow to learn from 0."""
        nn.init.constant_(self.head.bias, value)

    def forward(self, tokens_BT: Tensor, reads_BT: Tensor) -> Tensor:
        """Values at the marked positions.

        Args:
            tokens_BT: ids, padded on the right, int64 [B, T].
            reads_BT: bool [B, T]; a value is read off each marked position, for what follows it.
        Returns:
            float32 [N], in row-major order of the marks.
        """
        hidden_BTD = self.trunk(input_ids=tokens_BT, use_cache=False).last_hidden_state
        values_N: Tensor = self.head(hidden_BTD[reads_BT]).squeeze(-1).float()
        return values_N


class Reader(Protocol):
    """Turns states and utterances into features. `state_width` and `utterance_width` are their sizes."""

    state_width: int
    utterance_width: int

    def read_states(self, states: Sequence[Ints]) -> Tensor:
        """Features of B states, [B, state_width]."""
        ...

    def read(self, states: Sequence[Ints], utterances: Sequence[Ints]) -> tuple[Tensor, Tensor]:
        """Features of B states, and of an utterance in each, [B, utterance_width]."""
        ...

    def read_siblings(self, states: Sequence[Ints], utterances: Sequence[Sequence[Ints]]) -> tuple[Tensor, Tensor]:
        """Features of B states, and of the N utterances in all of them, in order, [N, utterance_width]."""
        ...


class CausalReader(nn.Module):
    """Reads a state at its last token, and an utterance at its own last token, in one pass of a decoder.

    An utterance is seen in the light of its state, which matters where its words alone say little ("click [12]").
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.state_width = self.utterance_width = int(trunk.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self._takes_branches: bool | None = None

    def read_states(self, states: Sequence[Ints]) -> Tensor:
        return self._hidden(states, [[len(one) - 1] for one in states])

    def read(self, states: Sequence[Ints], utterances: Sequence[Ints]) -> tuple[Tensor, Tensor]:
        whole = [np.concatenate(pair) for pair in zip(states, utterances, strict=True)]
        places = [[len(state) - 1, len(one) - 1] for state, one in zip(states, whole, strict=True)]
        both = self._hidden(whole, places)
        return both[0::2], both[1::2]

    def read_siblings(self, states: Sequence[Ints], utterances: Sequence[Sequence[Ints]]) -> tuple[Tensor, Tensor]:
        if self._takes_branches is None:
            self._takes_branches = takes_branches(self.trunk)
        if self._takes_branches:
            return read_branches(self.trunk, states, utterances)
        firsts = np.cumsum([0, *map(len, utterances)])[:-1]
        repeated = [state for state, own in zip(states, utterances, strict=True) for _ in own]
        state_ND, utterance_ND = self.read(repeated, [one for own in utterances for one in own])
        return state_ND[firsts], utterance_ND

    def read_and_foresee(
        self, states: Sequence[Ints], utterances: Sequence[Ints], following: Sequence[Ints]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Like `read`, with the mean cross-entropy of the tokens that followed, a scalar.

        What is to be predicted is what the environment answered, so that the features of an utterance come to say what
        it does. Logits are by the trunk's own token embeddings.
        """
        ends = [len(state) + len(one) for state, one in zip(states, utterances, strict=True)]
        whole = [np.concatenate(parts) for parts in zip(states, utterances, following, strict=True)]
        places = [
            [len(state) - 1, *range(end - 1, len(one) - 1)] for state, end, one in zip(states, ends, whole, strict=True)
        ]
        hidden_ND = self._hidden(whole, places)
        counts = torch.tensor([len(found) for found in places])
        firsts = counts.cumsum(0) - counts
        is_state = torch.zeros(len(hidden_ND), dtype=torch.bool)
        is_state[firsts] = True
        wanted_N = torch.from_numpy(np.concatenate([one[end:] for one, end in zip(whole, ends, strict=True)]))
        embeddings_VD: Tensor = self.trunk.get_input_embeddings().weight  # type: ignore[operator]
        logits_NV = hidden_ND[~is_state.to(hidden_ND.device)] @ embeddings_VD.float().T
        loss = nn.functional.cross_entropy(logits_NV, wanted_N.to(logits_NV.device))
        return hidden_ND[firsts], hidden_ND[firsts + 1], loss

    def _hidden(self, rows: Sequence[Ints], places: Sequence[Sequence[int]]) -> Tensor:
        """Hidden states at some places of each row, row after row, [sum of places, D]."""
        tokens_BT = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        for index, row in enumerate(rows):
            tokens_BT[index, : len(row)] = row
        device = next(self.parameters()).device
        hidden_BTD = self.trunk(input_ids=torch.from_numpy(tokens_BT).to(device), use_cache=False).last_hidden_state
        row_N = torch.tensor([index for index, found in enumerate(places) for _ in found], device=device)
        place_N = torch.tensor([place for found in places for place in found], device=device)
        found_ND: Tensor = hidden_BTD[row_N, place_N].float()
        return found_ND


class TextReader(nn.Module):
    """Reads states and utterances apart, as text, with a bidirectional encoder, as ArCHer's code does with RoBERTa.

    Args:
        folder: of an encoder of `transformers` (RoBERTa, BERT …) with its tokenizer.
        decode: from the actor's ids to text.
        max_tokens: longer texts lose their beginning, so that the newest survives; fewer where the encoder holds less.

    Raises:
        InvalidConfig: the folder holds no encoder with a tokenizer.
    """

    def __init__(self, folder: str | Path, decode: Any, *, max_tokens: int = 512) -> None:
        from transformers import AutoModel, AutoTokenizer

        super().__init__()
        try:
            self.encoder: Any = AutoModel.from_pretrained(folder)
            self._tokenizer = AutoTokenizer.from_pretrained(folder, truncation_side="left")
        except (OSError, ValueError) as error:
            raise InvalidConfig(
                f"{folder} holds no encoder of transformers with its tokenizer, as RoBERTa's folder does ({error})"
            ) from error
        self._decode = decode
        self._max_tokens = min(max_tokens, _positions(self.encoder), self._tokenizer.model_max_length)
        self.state_width = int(self.encoder.config.hidden_size)
        self.utterance_width = 2 * self.state_width

    def read_states(self, states: Sequence[Ints]) -> Tensor:
        return self._features(states)

    def read(self, states: Sequence[Ints], utterances: Sequence[Ints]) -> tuple[Tensor, Tensor]:
        return self.read_siblings(states, [[one] for one in utterances])

    def read_siblings(self, states: Sequence[Ints], utterances: Sequence[Sequence[Ints]]) -> tuple[Tensor, Tensor]:
        state_BD = self._features(states)
        counts = torch.tensor([len(own) for own in utterances], device=state_BD.device)
        said_ND = self._features([one for own in utterances for one in own])
        return state_BD, torch.cat([state_BD.repeat_interleave(counts, dim=0), said_ND], dim=-1)

    def _features(self, rows: Sequence[Ints]) -> Tensor:
        texts = [self._decode(row.tolist()) for row in rows]
        encoded = self._tokenizer(
            texts, return_tensors="pt", padding=True, truncation=True, max_length=self._max_tokens
        ).to(self.encoder.device)
        output = self.encoder(**encoded)
        pooled = getattr(output, "pooler_output", None)
        found: Tensor = output.last_hidden_state[:, 0] if pooled is None else pooled
        return found.float()


class UtteranceCritic(nn.Module):
    """ArCHer's critic: two Q and two V heads on the features of one encoder, which all four train.

    Each head is an MLP of two hidden layers, as in ArCHer's code (there with ReLU). The heads' last layers begin at 0,
    so that an untrained critic prefers nothing.

    Args:
        reader: the encoder.

    Attributes:
        spread: the trainer's running scale of advantages, a buffer, so that it is part of a checkpoint.
    """

    spread: Tensor

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        if not isinstance(reader, nn.Module):
            raise InvalidConfig(f"a critic's reader must be a torch module, got {type(reader).__name__}")
        self.reader: Any = reader
        self.q_heads = nn.ModuleList(_head(reader.utterance_width, reader.state_width) for _ in range(2))
        self.v_heads = nn.ModuleList(_head(reader.state_width, reader.state_width) for _ in range(2))
        self.register_buffer("spread", torch.zeros(()))

    def start_at(self, value: float) -> None:
        """Let an untrained critic say `value` of everything, rather than find the mean by bootstrapping from 0."""
        for head in (*self.q_heads, *self.v_heads):
            nn.init.constant_(head[-1].bias, value)

    def values(self, states: Sequence[Ints]) -> Tensor:
        """Both values of B states, [2, B]."""
        return _apply(self.v_heads, self.reader.read_states(states))

    def siblings(self, states: Sequence[Ints], utterances: Sequence[Sequence[Ints]]) -> tuple[Tensor, Tensor]:
        """Both Q of the N utterances in all of B states, in order, [2, N], and both V of the states, [2, B]."""
        state_BD, utterance_ND = self.reader.read_siblings(states, utterances)
        return _apply(self.q_heads, utterance_ND), _apply(self.v_heads, state_BD)

    def forward(
        self, states: Sequence[Ints], utterances: Sequence[Ints], following: Sequence[Ints] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both Q of an utterance in each of B states, and both V of the states, each [2, B].

        Args:
            following: the prompts that came next. Given, the loss of foreseeing them comes third (else 0).
        """
        if following is None:
            state_BD, utterance_BD = self.reader.read(states, utterances)
            foreseen = state_BD.new_zeros(())
        else:
            state_BD, utterance_BD, foreseen = self.reader.read_and_foresee(states, utterances, following)
        return _apply(self.q_heads, utterance_BD), _apply(self.v_heads, state_BD), foreseen


class OutcomeCritic(nn.Module):
    """How likely success is in a state: heads on the features of one encoder, whose sigmoid is a probability.

    The heads' last layers begin at 0: an untrained critic says 1/2.

    Args:
        reader: the encoder. heads: how many, of which a careful reader takes the lowest.
    """

    def __init__(self, reader: Reader, heads: int = 1) -> None:
        super().__init__()
        self.reader: Any = reader
        self.heads = nn.ModuleList(_head(reader.state_width, reader.state_width) for _ in range(heads))

    def forward(self, states: Sequence[Ints]) -> Tensor:
        """Logits of B states, [heads, B]."""
        return _apply(self.heads, self.reader.read_states(states))


def build_utterance_critic(encoder: str, model: Any, decode: Callable[[Sequence[int]], str]) -> UtteranceCritic:
    """An untrained critic, on the device of the policy's model.

    Args:
        encoder: `actor` for a copy of the model's decoder, or the folder of an encoder such as RoBERTa.
        model: the policy's. decode: from its ids to text, for an encoder with a tokenizer of its own.
    """
    reader: Any = CausalReader(trunk_of(model)) if encoder == "actor" else TextReader(encoder, decode)
    return UtteranceCritic(reader).to(model.device)


def _positions(encoder: Any) -> int:
    """How many tokens an encoder can tell the places of; no limit where places are relative."""
    held: int = getattr(encoder.config, "max_position_embeddings", None) or sys.maxsize
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin number places from behind the one of padding.
    padding = getattr(table, "padding_idx", None)
    return held if padding is None else held - padding - 1


def _head(width: int, hidden: int) -> nn.Sequential:
    last = nn.Linear(hidden, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    # SiLU: in heads as narrow as a small model's, ReLU soon dies, and the critic with it.
    return nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), last)


def _apply(heads: Iterator[nn.Module] | nn.ModuleList, features_BD: Tensor) -> Tensor:
    return torch.stack([head(features_BD).squeeze(-1) for head in heads])
