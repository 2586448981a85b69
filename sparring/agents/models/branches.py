"""Several continuations of one text in one pass of a decoder, which reads the text once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]

_TOLERANCE = 1e-4


def read_branches(trunk: Any, stems: Sequence[Ints], branches: Sequence[Sequence[Ints]]) -> tuple[Tensor, Tensor]:
    """Hidden states at the end of each stem and of each of its branches, as if every branch stood alone behind it.

    A row holds a stem and then its branches; by mask and positions a branch sees its stem and itself.

    Args:
        trunk: a decoder for which `takes_branches` holds.
        stems: ids, none empty. branches: of each stem, one or more, none empty.
    Returns:
        float32 [B, D], and float32 [N, D] for the branches of all stems, in order.
    """
    rows = [np.concatenate([stem, *own]) for stem, own in zip(stems, branches, strict=True)]
    width = max(map(len, rows))
    tokens_BT, positions_BT, part_BT = (np.zeros((len(rows), width), dtype=np.int64) for _ in range(3))
    part_BT -= 1  # of no part: padding, which nobody else sees
    stem_ends, branch_ends = [], []
    for row, (stem, own) in enumerate(zip(stems, branches, strict=True)):
        tokens_BT[row, : len(rows[row])] = rows[row]
        positions_BT[row, : len(stem)] = np.arange(len(stem))
        part_BT[row, : len(stem)] = 0
        stem_ends.append((row, len(stem) - 1))
        at = len(stem)
        for number, branch in enumerate(own, 1):
            end = at + len(branch)
            positions_BT[row, at:end] = np.arange(len(stem), len(stem) + len(branch))
            part_BT[row, at:end] = number
            branch_ends.append((row, end - 1))
            at = end
    earlier_TT = np.tri(width, dtype=bool)
    seen_BTT = earlier_TT & ((part_BT[:, None, :] == 0) | (part_BT[:, None, :] == part_BT[:, :, None]))
    parameter = next(trunk.parameters())
    hidden_mask = torch.zeros(len(rows), 1, width, width, dtype=parameter.dtype)
    hidden_mask.masked_fill_(~torch.from_numpy(seen_BTT)[:, None], torch.finfo(parameter.dtype).min)
    hidden_BTD = trunk(
        input_ids=torch.from_numpy(tokens_BT).to(parameter.device),
        attention_mask=hidden_mask.to(parameter.device),
        position_ids=torch.from_numpy(positions_BT).to(parameter.device),
        use_cache=False,
    ).last_hidden_state
    return _at(hidden_BTD, stem_ends), _at(hidden_BTD, branch_ends)


def _at(hidden_BTD: Tensor, places: Sequence[tuple[int, int]]) -> Tensor:
    rows, columns = zip(*places, strict=True)
    return hidden_BTD[list(rows), list(columns)].float()


def slides(config: Any) -> bool:
    """Whether attention looks back over a window alone, or some layers are no full attention at all."""
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    window = getattr(text, "sliding_window", None)
    return kinds != {"full_attention"} or (window is not None and getattr(config, "use_sliding_window", True))


def takes_branches(trunk: Any) -> bool:
    """Whether `read_branches` gives a decoder's own hidden states, tried on two short rows.

    It does not for decoders that forget (sliding windows, state-space layers), or that take no mask of four dimensions.
    """
    if slides(trunk.config):
        return False  # rows as short as these would not show the difference
    size = int(trunk.config.get_text_config().vocab_size)
    stems = [np.arange(3, 3 + length) % size for length in (5, 2)]
    branches = [[np.array([7, 1]) % size, np.array([2]) % size], [np.array([9, 4, 6]) % size]]
    alone = [np.concatenate([stem, one]) for stem, own in zip(stems, branches, strict=True) for one in own]
    device = next(trunk.parameters()).device
    try:
        with torch.no_grad():
            _, found_ND = read_branches(trunk, stems, branches)
            for found_D, ids in zip(found_ND, alone, strict=True):
                given = torch.from_numpy(ids)[None].to(device)
                own_D = trunk(input_ids=given, use_cache=False).last_hidden_state[0, -1].float()
                if float((own_D - found_D).abs().max()) > _TOLERANCE * (float(own_D.abs().max()) + 1e-6):
                    return False
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError):
        return False
    return True
