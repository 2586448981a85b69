"""Keys and values of many episodes in one pool, and attention over it for ragged batches.

The new tokens of all rows stand behind one another in a single sequence, so that the model's linear layers see no
padding. Only attention knows about rows: a token of a row attends to what the row's slot of the pool holds up to
that token. Where rows bring many tokens each is attended on its own, in place, without padding or copies; where
they bring a few (decoding) the pool's first slots are attended in one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, Cache

ATTENTION = "sparring_ragged"

_POSITIONS_STEP = 128
_BATCHED_UP_TO = 4  # tokens a row: longer chunks waste more on padding than a call for each row costs
_BATCHED_MASK = 2**26  # numbers in a mask: on a GPU up to so many, as its calls should cost more (not compared yet)


@dataclass(slots=True)
class Layout:
    """How the N tokens of one forward stand in rows.

    Attributes:
        slots: the slot of each row, ascending. starts: how many positions it holds already.
        counts: its new tokens, which stand behind one another, row by row.
        width: the rows' slots all lie in [0, width).
        dtype, device: of the masks.
    """

    slots: Sequence[int]
    starts: Sequence[int]
    counts: Sequence[int]
    width: int
    dtype: torch.dtype
    device: torch.device
    _masks: dict[int, Any] = field(default_factory=dict)
    _places: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def is_batched(self) -> bool:
        longest = max(self.counts)
        return longest <= _BATCHED_UP_TO or (
            self.device.type != "cpu" and self.width * longest * self.length <= _BATCHED_MASK
        )

    @property
    def is_dense(self) -> bool:
        """Whether the rows fill [0, width) with equal numbers of tokens."""
        return len(self.slots) == self.width and min(self.counts) == max(self.counts)

    @property
    def length(self) -> int:
        """The longest row, new tokens included."""
        return max(start + count for start, count in zip(self.starts, self.counts, strict=True))

    def positions(self) -> list[int]:
        """The position of each token in its row, N of them."""
        return [
            position
            for start, count in zip(self.starts, self.counts, strict=True)
            for position in range(start, start + count)
        ]

    def places(self, heads: int, room: int) -> torch.Tensor:
        """Where each head's vector of each token goes in the flattened pool, int64 [H * N]."""
        if heads not in self._places:
            slots_N = [slot for slot, count in zip(self.slots, self.counts, strict=True) for _ in range(count)]
            base_N = torch.tensor(slots_N, device=self.device) * (heads * room)
            base_N += torch.tensor(self.positions(), device=self.device)
            heads_H1 = torch.arange(heads, device=self.device).unsqueeze(1) * room
            self._places[heads] = (heads_H1 + base_N).view(-1)
        return self._places[heads]

    def row_masks(self, groups: int) -> list[torch.Tensor]:
        """For each row what its tokens may see, [groups * Q, L], the queries repeated for grouped heads."""
        if groups not in self._masks:
            longest, widest = max(self.counts), max(self.starts)
            columns = torch.arange(widest + longest, device=self.device) - widest
            visible = columns <= torch.arange(longest, device=self.device).unsqueeze(1)
            stairs = torch.zeros(visible.shape, dtype=self.dtype, device=self.device)
            stairs.masked_fill_(~visible, torch.finfo(self.dtype).min)
            cuts = (
                stairs[:count, widest - start : widest + count]
                for start, count in zip(self.starts, self.counts, strict=True)
            )
            if groups > 1:
                self._masks[groups] = [cut.repeat(groups, 1) for cut in cuts]
            else:  # a GPU's kernels can't read a mask that begins anywhere in memory
                self._masks[groups] = [cut if self.device.type == "cpu" else cut.clone() for cut in cuts]
        masks: list[torch.Tensor] = self._masks[groups]
        return masks

    def batch(self, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
        """For attention in one call: the place of each token among [width * Q], and the mask [width, 1, groups * Q, L].

        Queries that are no token see position 0 alone, so that none sees nothing.
        """
        if -groups not in self._masks:
            chunk = max(self.counts)
            queries = [
                slot * chunk + index
                for slot, count in zip(self.slots, self.counts, strict=True)
                for index in range(count)
            ]
            last = [0] * (self.width * chunk)
            for query, position in zip(queries, self.positions(), strict=True):
                last[query] = position
            last_WQ1 = torch.tensor(last, device=self.device).view(self.width, chunk, 1)
            hidden = torch.arange(self.length, device=self.device) > last_WQ1
            mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
            mask.masked_fill_(hidden, torch.finfo(self.dtype).min)
            self._masks[-groups] = (torch.tensor(queries, device=self.device), mask.repeat(1, groups, 1).unsqueeze(1))
        found: tuple[torch.Tensor, torch.Tensor] = self._masks[-groups]
        return found


class KeyValuePool(Cache):  # type: ignore[misc]
    """The cache that a model writes into: for each layer keys and values, [slots, heads, positions, width].

    `layout` says where the tokens of the current forward go.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self.slots = 0
        self.positions = 0
        self.layout: Layout | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write this forward's keys and values [1, H, N, D]; return the layer's whole pool."""
        if layer_idx == len(self.keys):
            self.keys.append(self._allocate(key_states))
            self.values.append(self._allocate(value_states))
        self._write(self.keys[layer_idx], key_states)
        self._write(self.values[layer_idx], value_states)
        return self.keys[layer_idx], self.values[layer_idx]

    def _allocate(self, like: torch.Tensor) -> torch.Tensor:
        # Zeros, because a masked weight of 0 times whatever memory held could be NaN.
        return like.new_zeros((self.slots, like.shape[1], self.positions, like.shape[3]))

    def _write(self, pool: torch.Tensor, states: torch.Tensor) -> None:
        assert self.layout is not None
        width = pool.shape[3]
        pool.view(-1, width).index_copy_(
            0, self.layout.places(pool.shape[1], self.positions), states.reshape(-1, width)
        )

    def grow(self, slots: int, positions: int, most_slots: int = 0) -> None:
        """Make room for at least so many slots and positions; what is held stays.

        Args:
            most_slots: as far as to so many, slots grow by half of what there is, so that one more slot at a time does
                not move everything each time.
        """
        slots = max(slots, min(self.slots * 3 // 2, most_slots)) if slots > self.slots else self.slots
        if positions > self.positions:
            positions = -(-max(positions, self.positions * 3 // 2) // _POSITIONS_STEP) * _POSITIONS_STEP
        else:
            positions = self.positions
        if (slots, positions) == (self.slots, self.positions):
            return
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                new = old.new_zeros((slots, old.shape[1], positions, old.shape[3]))
                new[: self.slots, :, : self.positions] = old
                tensors[layer] = new
        self.slots, self.positions = slots, positions

    def token_bytes(self) -> int:
        """Memory of one position of one slot over all layers; 0 before the first forward."""
        return sum(pool.shape[1] * pool.shape[3] * pool.element_size() for pool in (*self.keys, *self.values))

    def keep_first(self, slots: int) -> None:
        """Give up the memory of all slots but the first ones."""
        if slots < self.slots:
            for tensors in (self.keys, self.values):
                tensors[:] = [pool[:slots].clone() for pool in tensors]
            self.slots = slots

    def swap(self, left: int, right: int, length: int) -> None:
        """Exchange two slots, up to `length` positions."""
        for pool in (*self.keys, *self.values):
            here, there = pool[left, :, :length], pool[right, :, :length]
            kept = here.clone()
            here.copy_(there)
            there.copy_(kept)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy a slot to another, up to `length` positions."""
        for pool in (*self.keys, *self.values):
            pool[target, :, :length] = pool[source, :, :length]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0 if self.layout is None else self.layout.length

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self.get_seq_length(layer_idx), 0


def register_attention() -> None:
    """Make `ragged_attention` known to `transformers` under the name `ATTENTION`; no model uses it unless told."""
    AttentionInterface.register(ATTENTION, ragged_attention)


def ragged_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    ragged: Layout | None = None,
    **unsupported: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of packed queries [1, Hq, N, D] over a pool's layer [slots, H, positions, D], causal in each row.

    Returns:
        The attended values, [1, N, Hq, D].
    Raises:
        TypeError: the model asks for more than plain causal attention (a sliding window, capped logits, sinks).
    """
    extra = [
        name for name in ("sliding_window", "softcap", "s_aux", "position_bias") if unsupported.get(name) is not None
    ]
    if ragged is None or extra:
        raise TypeError(f"ragged attention can't serve {type(module).__name__}: {extra or 'no layout was passed on'}")
    # Query heads that share a key head are laid behind one another as further queries of it: nothing is repeated.
    heads, groups = key.shape[1], query.shape[1] // key.shape[1]
    query_HGND = query.view(heads, groups, *query.shape[2:])
    if ragged.is_batched:
        output_NHGD = _attend_batch(query_HGND, key, value, scaling, ragged, groups)
    else:
        output_NHGD = _attend_rows(query_HGND, key, value, scaling, ragged, groups)
    return output_NHGD.flatten(1, 2).unsqueeze(0), None


def _attend_rows(
    query_HGND: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, ragged: Layout, groups: int
) -> torch.Tensor:
    """One call a row, in place."""
    heads, _, tokens, width = query_HGND.shape
    output_NHGD = query_HGND.new_empty((tokens, heads, groups, value.shape[3]))
    masks = ragged.row_masks(groups)
    begin = 0
    for slot, start, count, mask in zip(ragged.slots, ragged.starts, ragged.counts, masks, strict=True):
        length = start + count
        attended = scaled_dot_product_attention(
            query_HGND[:, :, begin : begin + count].reshape(1, heads, groups * count, width),
            key[slot : slot + 1, :, :length],
            value[slot : slot + 1, :, :length],
            attn_mask=mask,
            scale=scaling,
        )
        output_NHGD[begin : begin + count] = attended.view(heads, groups, count, -1).permute(2, 0, 1, 3)
        begin += count
    return output_NHGD


def _attend_batch(
    query_HGND: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, ragged: Layout, groups: int
) -> torch.Tensor:
    """One call for all rows, over the pool's first slots."""
    heads, _, _, size = query_HGND.shape
    queries, mask = ragged.batch(groups)
    width, length = ragged.width, ragged.length
    chunk = mask.shape[2] // groups
    query_MHGD = query_HGND.permute(2, 0, 1, 3)
    if not ragged.is_dense:
        padded = query_MHGD.new_zeros((width * chunk, heads, groups, size))
        query_MHGD = padded.index_copy_(0, queries, query_MHGD)
    attended = scaled_dot_product_attention(
        query_MHGD.view(width, chunk, heads, groups, size).permute(0, 2, 3, 1, 4).flatten(2, 3),
        key[:width, :, :length],
        value[:width, :, :length],
        attn_mask=mask,
        scale=scaling,
    )
    output_WQHGD = attended.view(width, heads, groups, chunk, -1).permute(0, 3, 1, 2, 4)
    output_MHGD = output_WQHGD.reshape(width * chunk, heads, groups, -1)
    return output_MHGD if ragged.is_dense else output_MHGD[queries]
