"""From token sequences to padded tensors, and from those to the log-probabilities of the sampled tokens.

The decoder runs over whole sequences, the output head only where a token was sampled. That is most of the cost
of a small model with a large vocabulary, and it leaves masked tokens nothing to enter a loss by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparring.agents.eyes import Eyes, eyes_of
from sparring.agents.grammar import Grammar
from sparring.agents.rendering import ChatFormat, TokenSequence, encode_episode
from sparring.errors import InvalidData
from sparring.trainers.losses import AllowedSets, TokenScores, selected_logprobs
from sparring.types import Image, Trajectory

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence to learn from: a packed episode, or one turn where prompts do not extend each other.

    Attributes:
        ids_T: all tokens, int64, shape [T].
        sampled_n: positions of the n tokens that the policy (or demonstrator) produced, ascending, none at 0,
            which nothing precedes. The loss mask is 1 exactly there.
        logprobs_n: their log-probabilities as sampled, float32; nan where nothing sampled them (demonstrations).
        allowed_n: for each of them the sorted ids that constrained decoding admitted, or None if it was free.
        turn_n: the turn of its episode that each belongs to; None where that is of no interest.
        images: the pictures whose ids stand among the tokens, in order. eyes: how the model takes them.
    """

    ids_T: Ints
    sampled_n: Ints
    logprobs_n: Floats
    allowed_n: tuple[Ints | None, ...]
    turn_n: Ints | None = None
    images: tuple[Image, ...] = ()
    eyes: Eyes | None = None

    def __post_init__(self) -> None:
        count = len(self.sampled_n)
        if not len(self.logprobs_n) == len(self.allowed_n) == count:
            raise InvalidData(
                f"a sample has {count} sampled tokens, but {len(self.logprobs_n)} log-probabilities and "
                f"{len(self.allowed_n)} allowed sets"
            )
        if count and not 0 < self.sampled_n[0] <= self.sampled_n[-1] < len(self.ids_T):
            raise InvalidData(
                f"sampled tokens must lie within 1 and {len(self.ids_T) - 1}, got {self.sampled_n[0]} to "
                f"{self.sampled_n[-1]}: the first token of a sequence has nothing to be predicted from"
            )

    def keeping(self, marks_n: npt.NDArray[np.bool_]) -> Sample:
        """The same sequence, of whose sampled tokens only the marked ones count, bool, shape [n]."""
        return replace(
            self,
            sampled_n=self.sampled_n[marks_n],
            logprobs_n=self.logprobs_n[marks_n],
            allowed_n=tuple(one for one, mark in zip(self.allowed_n, marks_n.tolist(), strict=True) if mark),
            turn_n=None if self.turn_n is None else self.turn_n[marks_n],
        )


def samples_of(
    trajectory: Trajectory, chat: ChatFormat, grammar: Grammar | None, *, system: str | None = None
) -> list[Sample]:
    """What there is to learn from an episode: one sample where prompts extend each other, else one a turn.

    Args:
        chat: the model's chat format. system: the system message that the prompts had.
        grammar: the admissible tokens of constrained decoding; None treats every action as free.
    Raises:
        InvalidData: a rebuilt prompt is not the one that the policy saw.
    """
    sequences = encode_episode(trajectory, chat, grammar=grammar, system=system)
    eyes = chat.eyes if isinstance(chat.eyes, Eyes) else None
    return [_sample(sequence, trajectory, grammar, eyes) for sequence in sequences]


def _sample(sequence: TokenSequence, trajectory: Trajectory, grammar: Grammar | None, eyes: Eyes | None) -> Sample:
    sampled_n = np.flatnonzero(sequence.action_mask)
    logprobs_n = sequence.logprobs[sampled_n]
    allowed_n: list[Ints | None] = []
    for span in sequence.spans:
        actions = trajectory.turns[span.turn].observation.actions
        if span.constrained and grammar is not None and actions is not None:
            allowed_n += grammar.allowed_sets(actions, sequence.ids[span.start : span.stop].tolist())
        else:
            allowed_n += [None] * (span.stop - span.start)
        if not span.sampled:
            logprobs_n[len(allowed_n) - (span.stop - span.start) : len(allowed_n)] = np.nan
    turn_n = sequence.turn_index[sampled_n].astype(np.int64)
    return Sample(sequence.ids, sampled_n, logprobs_n, tuple(allowed_n), turn_n, sequence.images, eyes)


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded tensors for a loss. B sequences, T positions, N sampled tokens in row-major order, U allowed sets."""

    tokens_BT: Tensor  # int64 [B, T]: ids, padded with 0 on the right, where causal attention never looks
    mask_BT: Tensor  # bool [B, T]: true exactly on sampled tokens
    old_logprobs_N: Tensor  # float32 [N]: as sampled; nan in demonstrations
    advantages_N: Tensor  # float32 [N]: 0 where none were given
    weights_N: Tensor  # float32 [N]: what a token counts in the loss of its optimiser step
    row_N: Tensor  # int64 [N]: the sequence that each sampled token stands in
    allowed: AllowedSets | None  # bool [U, V] and int64 [N]; None where every token was drawn freely
    # What a vision-language model is given for the pictures of the sequences, by the name of its argument.
    pixels: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        allowed = self.allowed
        return Batch(
            self.tokens_BT.to(device),
            self.mask_BT.to(device),
            self.old_logprobs_N.to(device),
            self.advantages_N.to(device),
            self.weights_N.to(device),
            self.row_N.to(device),
            None if allowed is None else AllowedSets(allowed.allowed_UV.to(device), allowed.index_N.to(device)),
            {name: tensor.to(device) for name, tensor in self.pixels.items()},
        )


def collate(
    samples: Sequence[Sample],
    vocabulary_size: int,
    *,
    weights_B: Sequence[float] | Tensor | None = None,
    advantages: Sequence[float | Floats] | Tensor | None = None,
) -> Batch:
    """Pad samples into a batch.

    Args:
        samples: B of them.
        vocabulary_size: width V of the model's output.
        weights_B: what each sampled token of a sample counts (`losses.token_weights`); 1 by default.
        advantages: for each sample one number for all its sampled tokens, or one for each; 0 by default.
    """
    tokens_BT, mask_BT = pad(samples)
    counts_B = torch.tensor([len(sample.sampled_n) for sample in samples])
    row_N = torch.repeat_interleave(torch.arange(len(samples)), counts_B)
    weights_N = torch.ones(len(row_N)) if weights_B is None else torch.as_tensor(weights_B, dtype=torch.float32)[row_N]
    advantages_N = np.zeros(len(row_N), dtype=np.float32)
    if advantages is not None and len(samples):
        advantages_N = np.concatenate(
            [
                np.broadcast_to(np.asarray(one, np.float32), len(sample.sampled_n))
                for one, sample in zip(advantages, samples, strict=True)
            ]
        )

    return Batch(
        tokens_BT,
        mask_BT,
        torch.from_numpy(np.concatenate([sample.logprobs_n for sample in samples])),
        torch.from_numpy(advantages_N),
        weights_N,
        row_N,
        _gather_allowed([one for sample in samples for one in sample.allowed_n], vocabulary_size),
        _pixels(samples),
    )


def _pixels(samples: Sequence[Sample]) -> dict[str, Tensor]:
    """The tensors of the samples' pictures, in their order; none for a model of text."""
    images = [image for sample in samples for image in sample.images]
    eyes = next((sample.eyes for sample in samples if sample.eyes is not None), None)
    return eyes.pixels(images) if eyes is not None else {}


def pad(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Ids padded with 0 on the right, int64 [B, T], and marks on sampled tokens, bool [B, T]."""
    tokens_BT = np.zeros((len(samples), max(len(sample.ids_T) for sample in samples)), dtype=np.int64)
    mask_BT = np.zeros(tokens_BT.shape, dtype=np.bool_)
    for row, sample in enumerate(samples):
        tokens_BT[row, : len(sample.ids_T)] = sample.ids_T
        mask_BT[row, sample.sampled_n] = True
    return torch.from_numpy(tokens_BT), torch.from_numpy(mask_BT)


def _gather_allowed(allowed_N: Sequence[Ints | None], vocabulary_size: int) -> AllowedSets | None:
    """Store each distinct array once. Equal sets in different arrays cost a row each, which is cheaper than a hash."""
    rows: dict[int, int] = {}
    distinct: list[Ints] = []
    index_N = np.full(len(allowed_N), -1, dtype=np.int64)
    for position, ids in enumerate(allowed_N):
        if ids is None:
            continue
        row = rows.get(id(ids))
        if row is None:
            row = rows[id(ids)] = len(distinct)
            distinct.append(ids)
        index_N[position] = row
    if not distinct:
        return None
    allowed_UV = np.zeros((len(distinct), vocabulary_size), dtype=np.bool_)
    lengths_U = [len(ids) for ids in distinct]
    allowed_UV[np.repeat(np.arange(len(distinct)), lengths_U), np.concatenate(distinct)] = True
    return AllowedSets(torch.from_numpy(allowed_UV), torch.from_numpy(index_N))


def micro_batches(samples: Sequence[Sample], token_budget: int) -> Iterator[list[int]]:
    """Cut samples into batches of like length (`cut_by_length`)."""
    return cut_by_length([len(sample.ids_T) for sample in samples], token_budget)


def cut_by_length(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """Cut rows into batches of like length.

    Args:
        token_budget: tokens a batch may hold, padding included; a longer row goes alone.
    Yields:
        Indices into `lengths`, every one once, the longest rows first (so that a batch that does not fit into
        memory fails at once).
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batch: list[int] = []
    for index in order:
        width = lengths[batch[0]] if batch else 0
        if batch and width * (len(batch) + 1) > token_budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def score_tokens(model: Any, batch: Batch, temperature: float = 1.0) -> TokenScores:
    """Log-probabilities and entropies of the sampled tokens of a batch, with gradients.

    Args:
        model: a Hugging Face causal language model, or a `PeftModel` around one.
        temperature: what the tokens were sampled at.
    Returns:
        Scores of the N sampled tokens in row-major order of `batch.mask_BT`.
    """
    return scores_of(token_logits(model, batch), batch, temperature)


def scores_of(logits_NV: Tensor, batch: Batch, temperature: float) -> TokenScores:
    """What some logits say about the sampled tokens of a batch (`token_logits`)."""
    return selected_logprobs(logits_NV, batch.tokens_BT[batch.mask_BT], batch.allowed, temperature)


def token_logits(model: Any, batch: Batch) -> Tensor:
    """The logits that the N sampled tokens of a batch are drawn by, in row-major order, float32, shape [N, V]."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    inputs_BT, predicts_BT = batch.tokens_BT[:, :-1], batch.mask_BT[:, 1:]
    eyes = eyes_of(base)
    if eyes is not None:
        arguments = eyes.arguments(batch.pixels, inputs_BT)
        hidden_BTD = base.base_model(input_ids=inputs_BT, use_cache=False, **arguments).last_hidden_state
        return eyes.silenced(base.get_output_embeddings()(hidden_BTD[predicts_BT]).float())
    if _has_plain_head(base):
        hidden_BTD = base.get_decoder()(input_ids=inputs_BT, use_cache=False).last_hidden_state
        logits_NV: Tensor = base.get_output_embeddings()(hidden_BTD[predicts_BT])
    else:
        logits_NV = base(input_ids=inputs_BT, use_cache=False).logits[predicts_BT]
    return logits_NV.float()


def _has_plain_head(base: nn.Module) -> bool:
    """Whether logits are the output embedding of the hidden state, with no capping or scaling after it."""
    extras = ("final_logit_softcapping", "logits_scaling", "logit_scale")
    return all(getattr(base.config, name, None) in (None, 1, 1.0) for name in extras)


def vocabulary_size(model: Any) -> int:
    """Width of the model's output (which may exceed the tokenizer's vocabulary)."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return int(base.get_output_embeddings().weight.shape[0])
