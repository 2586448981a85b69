"""Keep keys and values across the turns of an episode, for ragged batches.

A pool holds one slot for each episode in flight. When an episode comes back with a longer prompt, only the tokens
that its slot does not hold yet are run through the model; rows of different lengths go through together, padded
on the left, each with its own positions. The rows of a batch always stand in the pool's first slots (slots are
swapped where they don't), so that the model reads keys and values in place: no copy is made for a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers import Cache

_POSITIONS_STEP = 128
_SHRINK_BELOW = 0.75
_FORWARD_TOKENS = 16_384


class Runner(Protocol):
    """Gives next-token logits for the rows of a batch that grow as tokens are chosen.

    `jumps` says whether rows may be fed different numbers of tokens.
    """

    jumps: bool

    def begin(self, episodes: Sequence[str], prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Start a batch of prompts; the logits after each, [B, V]."""
        ...

    def feed(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append tokens to some of the rows; the logits after them, in the order of `rows`."""
        ...

    def forget(self, episode: str) -> None: ...

    def clear(self) -> None:
        """Drop everything kept: the weights have changed."""
        ...


class PooledCache(Cache):  # type: ignore[misc]
    """The cache that the model writes into: the pool's first slots, at the positions of the current forward.

    Tensors are laid out [slots, heads, positions + 1, width], so that a head's keys stand together; the last
    position takes the padding's keys and values, which no mask ever shows.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self.slots = 0
        self.positions = 0
        self._width = 0
        self._length = 0
        self._writes_BQ = torch.zeros((0, 0), dtype=torch.long)
        self._flat_index: dict[int, torch.Tensor] = {}

    def aim(self, writes_BQ: torch.Tensor, length: int) -> None:
        """Prepare a forward of the first B slots.

        Args:
            writes_BQ: the position that each token's keys and values go to, int64 [B, Q].
            length: how many positions the rows may attend to.
        """
        self._writes_BQ = writes_BQ
        self._width, self._length = len(writes_BQ), length
        self._flat_index.clear()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write this forward's keys and values [B, H, Q, D]; return all that its rows may attend to."""
        if layer_idx == len(self.keys):
            self.keys.append(self._allocate(key_states))
            self.values.append(self._allocate(value_states))
        return self._write(self.keys[layer_idx], key_states), self._write(self.values[layer_idx], value_states)

    def _allocate(self, like: torch.Tensor) -> torch.Tensor:
        _, heads, _, width = like.shape
        # Zeros, because a masked weight of 0 times whatever memory held could be NaN.
        return like.new_zeros((self.slots, heads, self.positions + 1, width))

    def _write(self, pool: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        width = pool.shape[3]
        pool.view(-1, width).index_copy_(0, self._places(pool.shape[1]), states.reshape(-1, width))
        return pool[: self._width, :, : self._length]

    def _places(self, heads: int) -> torch.Tensor:
        """Where each of the B x H x Q vectors of a forward goes in the flattened pool."""
        if heads not in self._flat_index:
            vectors_BH = torch.arange(self._width * heads, device=self._writes_BQ.device).view(self._width, heads, 1)
            places = vectors_BH * (self.positions + 1) + self._writes_BQ.unsqueeze(1)
            self._flat_index[heads] = places.reshape(-1)
        return self._flat_index[heads]

    def grow(self, slots: int, positions: int) -> None:
        """Make room for at least so many slots and positions; what is held stays."""
        slots = max(slots, self.slots)
        if positions > self.positions:
            positions = -(-max(positions, self.positions * 3 // 2) // _POSITIONS_STEP) * _POSITIONS_STEP
        else:
            positions = self.positions
        if (slots, positions) == (self.slots, self.positions):
            return
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                new = old.new_zeros((slots, old.shape[1], positions + 1, old.shape[3]))
                new[: self.slots, :, : self.positions] = old[:, :, : self.positions]
                tensors[layer] = new
        self.slots, self.positions = slots, positions

    def swap(self, left: Sequence[int], right: Sequence[int], length: int) -> None:
        """Exchange slots pairwise, up to `length` positions."""
        here, there = torch.tensor([*left, *right]), torch.tensor([*right, *left])
        for pool in (*self.keys, *self.values):
            pool[here, :, :length] = pool[there, :, :length]

    def copy(self, source: Sequence[int], target: Sequence[int], length: int) -> None:
        """Copy slots pairwise, up to `length` positions."""
        for pool in (*self.keys, *self.values):
            pool[torch.tensor(target), :, :length] = pool[torch.tensor(source), :, :length]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._length

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self._length, 0


class PooledRunner:
    """Runs ragged batches over a pool of slots (see the module's docstring).

    Works for decoders that take a `Cache`, `position_ids` and a 4D mask and attend to everything before a token.

    Args:
        model: a causal language model of `transformers`, or such a model under peft.
        max_slots: slots kept for episodes; a batch larger than that gets as many as it needs. The least
            recently used slot gives way.
    """

    jumps = True

    def __init__(self, model: Any, *, max_slots: int = 256) -> None:
        self._model = model
        self._max_slots = max_slots
        self._cache = PooledCache()
        self._held: list[list[int]] = []  # the ids whose keys and values each slot holds
        self._owner: list[str] = []  # the episode of each slot, "" where it is free
        self._used: list[int] = []  # when it was last used
        self._clock = 0
        self._slot_of: dict[str, int] = {}
        self._row_slot: list[int] = []  # the slot of each row of the current batch
        self._width = 0  # slots [0, width) are run at each step

    def begin(self, episodes: Sequence[str], prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Start a batch; each row runs only what its slot does not hold."""
        self._clock += 1
        self._seat(episodes)
        self._width = len(prompts)
        leaders: dict[tuple[int, ...], int] = {}
        for row, prompt in enumerate(prompts):
            key = tuple(prompt)
            if key not in leaders or self._common(row, prompt) > self._common(leaders[key], prompt):
                leaders[key] = row
        leading = sorted(leaders.values())
        fresh = []
        for row in leading:
            common = self._common(row, prompts[row])
            del self._held[self._row_slot[row]][common:]
            fresh.append(list(prompts[row][common:]))
        logits = self._run(leading, fresh)
        if len(leading) == len(prompts):
            return logits
        place = {row: index for index, row in enumerate(leading)}
        leader_of = [leaders[tuple(prompt)] for prompt in prompts]
        followers = [row for row, leader in enumerate(leader_of) if row != leader]
        self._copy([leader_of[row] for row in followers], followers)
        return logits[[place[leader] for leader in leader_of]]

    def feed(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append tokens to some of the rows."""
        if len(rows) <= _SHRINK_BELOW * self._width:
            self._to_front([self._row_slot[row] for row in rows])
            self._width = len(rows)
        return self._run(rows, tokens)

    def forget(self, episode: str) -> None:
        slot = self._slot_of.pop(episode, None)
        if slot is not None:
            self._owner[slot] = ""
            self._held[slot] = []

    def clear(self) -> None:
        self._slot_of.clear()
        self._owner = [""] * len(self._owner)
        self._held = [[] for _ in self._held]

    def _common(self, row: int, prompt: Sequence[int]) -> int:
        """How many leading ids of `prompt` the row's slot holds, one short of all: a logit needs a token."""
        held = self._held[self._row_slot[row]]
        limit = min(len(held), len(prompt) - 1)
        if list(prompt[:limit]) == held[:limit]:
            return limit
        return next(index for index in range(limit) if held[index] != prompt[index])

    def _seat(self, episodes: Sequence[str]) -> None:
        """Give each row a slot, and bring those slots to the front of the pool."""
        seats: list[int | None] = []
        taken: set[int] = set()
        for episode in episodes:
            slot = self._slot_of.get(episode) if episode else None
            seats.append(None if slot in taken else slot)
            if slot is not None:
                taken.add(slot)
        needed = seats.count(None)
        free = [slot for slot, owner in enumerate(self._owner) if not owner and slot not in taken]
        if len(free) < needed and len(self._owner) < max(self._max_slots, len(episodes)):
            wanted = max(self._max_slots, len(episodes)) - len(self._owner)
            extra = min(needed - len(free), wanted)
            free += range(len(self._owner), len(self._owner) + extra)
            self._held += [[] for _ in range(extra)]
            self._owner += [""] * extra
            self._used += [0] * extra
        if len(free) < needed:
            idle = [slot for slot, owner in enumerate(self._owner) if owner and slot not in taken]
            for slot in sorted(idle, key=self._used.__getitem__)[: needed - len(free)]:
                self.forget(self._owner[slot])
                free.append(slot)
        free.sort(reverse=True)
        self._row_slot = []
        for episode, slot in zip(episodes, seats, strict=True):
            if slot is None:
                slot = free.pop()
                self._held[slot] = []
                if episode and episode not in self._slot_of:
                    self._owner[slot] = episode
                    self._slot_of[episode] = slot
            self._used[slot] = self._clock
            self._row_slot.append(slot)
        self._to_front(self._row_slot)

    def _to_front(self, slots: Sequence[int]) -> None:
        """Swap slots until the given ones are the first."""
        wanted = set(slots)
        outside = [slot for slot in slots if slot >= len(slots)]
        inside = [slot for slot in range(len(slots)) if slot not in wanted]
        if not outside:
            return
        length = max(len(self._held[slot]) for slot in (*outside, *inside))
        self._cache.grow(len(self._owner), 0)
        if length:
            self._cache.swap(inside, outside, length)
        moved = {**dict(zip(inside, outside, strict=True)), **dict(zip(outside, inside, strict=True))}
        for here, there in zip(inside, outside, strict=True):
            self._held[here], self._held[there] = self._held[there], self._held[here]
            self._owner[here], self._owner[there] = self._owner[there], self._owner[here]
            self._used[here], self._used[there] = self._used[there], self._used[here]
        self._row_slot = [moved.get(slot, slot) for slot in self._row_slot]
        self._slot_of = {owner: slot for slot, owner in enumerate(self._owner) if owner}

    def _copy(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Give rows the keys and values of other rows."""
        source_slots = [self._row_slot[row] for row in sources]
        target_slots = [self._row_slot[row] for row in targets]
        self._cache.copy(source_slots, target_slots, max(len(self._held[slot]) for slot in source_slots))
        for source, target in zip(source_slots, target_slots, strict=True):
            self._held[target] = list(self._held[source])

    def _run(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Run new tokens of some rows through the model; the logits after the last of each, [len(rows), V]."""
        new: list[Sequence[int]] = [()] * self._width
        for row, fresh in zip(rows, tokens, strict=True):
            new[self._row_slot[row]] = fresh
        longest = max(len(held) + len(fresh) for held, fresh in zip(self._held, new, strict=False))
        self._cache.grow(len(self._owner), longest)
        logits = self._forward(new, longest)
        for slot, fresh in enumerate(new):
            self._held[slot].extend(fresh)
        order = [self._row_slot[row] for row in rows]
        return logits if order == list(range(len(logits))) else logits[order]

    def _forward(self, new: Sequence[Sequence[int]], longest: int) -> torch.Tensor:
        device = self._model.device
        width, chunk = len(new), max(map(len, new))
        trash = self._cache.positions
        ids, positions, writes = [], [], []
        for held, fresh in zip(self._held, new, strict=False):
            padding, at = chunk - len(fresh), range(len(held), len(held) + len(fresh))
            ids.append([0] * padding + list(fresh))
            positions.append([0] * padding + list(at))
            writes.append([trash] * padding + list(at))
        positions_BQ = torch.tensor(positions, device=device)
        visible_BQL = torch.arange(longest, device=device) <= positions_BQ.unsqueeze(-1)
        dtype = self._model.dtype
        mask = torch.zeros((width, 1, chunk, longest), dtype=dtype, device=device)
        mask.masked_fill_(~visible_BQL.unsqueeze(1), torch.finfo(dtype).min)
        self._cache.aim(torch.tensor(writes, device=device), longest)
        output = self._model(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=mask,
            position_ids=positions_BQ,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits
