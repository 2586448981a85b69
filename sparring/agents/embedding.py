"""What a text means to a language model, as a vector: the mean of its last hidden states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

TOKENS_AT_ONCE = 8192


@torch.inference_mode()
def mean_hidden_states(
    model: Any, rows: Sequence[Sequence[int]], *, tokens_at_once: int = TOKENS_AT_ONCE
) -> npt.NDArray[np.float32]:
    """The mean over each row's tokens of what the decoder makes of them.

    Args:
        model: a causal language model of `transformers`, or such a model under peft, in evaluation mode.
        rows: token ids of N texts. One without tokens becomes zeros.
        tokens_at_once: of one forward at most, padding included; a longer row goes alone.
    Returns:
        float32 [N, D], D being the width of the model.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    found_ND = np.zeros((len(rows), int(base.config.get_text_config().hidden_size)), dtype=np.float32)
    for batch in _batches([len(row) for row in rows], tokens_at_once):
        lengths_B = torch.tensor([len(rows[index]) for index in batch])
        ids_BT = torch.zeros((len(batch), int(lengths_B.max())), dtype=torch.int64)
        for place, index in enumerate(batch):
            ids_BT[place, : len(rows[index])] = torch.tensor(rows[index])
        mask_BT = (torch.arange(ids_BT.shape[1]) < lengths_B.unsqueeze(1)).to(model.device)
        hidden_BTD = base.get_decoder()(
            input_ids=ids_BT.to(model.device), attention_mask=mask_BT.long(), use_cache=False
        ).last_hidden_state
        sums_BD = (hidden_BTD.float() * mask_BT.unsqueeze(-1)).sum(dim=1)
        found_ND[batch] = sums_BD.cpu().numpy() / lengths_B.unsqueeze(1).numpy()
    return found_ND


def _batches(lengths: Sequence[int], tokens_at_once: int) -> Iterator[list[int]]:
    """Indices of rows of like length, the shortest first; empty rows are in none."""
    batch: list[int] = []
    for index in sorted((index for index, length in enumerate(lengths) if length), key=lengths.__getitem__):
        if batch and lengths[index] * (len(batch) + 1) > tokens_at_once:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
