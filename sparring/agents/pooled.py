"""Run ragged batches over a pool of kept keys and values.

When an episode comes back with a longer prompt, only the tokens that its slot does not hold yet are run through the
model. The rows of a batch always stand in the pool's first slots (slots are swapped where they don't), so that
attention reads keys and values in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch

from sparring.agents.kv import ATTENTION, KeyValuePool, Layout, register_attention

_SHRINK_BELOW = 0.75  # share of the rows still growing at which the others' slots are moved out of the way
_FORWARD_TOKENS = 8192  # most tokens in one forward, to bound the memory of activations


class PooledRunner:
    """Runs ragged batches over a pool of slots (see the module's docstring).

    Works for decoders of `transformers` that look their attention up by name, pass keyword arguments on to it, and
    attend to everything before a token: Llama, Qwen2 and 3, SmolLM2, Mistral without a window, and their like.

    Args:
        model: a causal language model of `transformers`, or such a model under peft.
        max_slots: slots kept for episodes. The least recently used one gives way.
        max_bytes: memory for keys and values; slots of episodes that are not in the batch give way. A batch
            always gets what it needs, whatever the two limits.
    """

    jumps = True

    def __init__(self, model: Any, *, max_slots: int = 256, max_bytes: int = 4 * 2**30) -> None:
        register_attention()
        self._model = model
        self._max_slots, self._max_bytes = max_slots, max_bytes
        self._config = (model.get_base_model() if hasattr(model, "get_base_model") else model).config
        self._pool = KeyValuePool()
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
        for row, leader in enumerate(leader_of):
            if row != leader:
                self._copy(leader, row)
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
        extra = min(needed - len(free), max(min(self._max_slots, self._fitting(0)), len(episodes)) - len(self._owner))
        if extra > 0:
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

    def _fitting(self, positions: int) -> int:
        """How many slots of at least so many positions the memory has room for."""
        slot_bytes = max(positions, self._pool.positions) * self._pool.token_bytes()
        return self._max_bytes // slot_bytes if slot_bytes else self._max_slots

    def _reserve(self, positions: int) -> None:
        """Make room for rows of so many positions, at the cost of slots outside the batch where memory is short."""
        limit = max(self._fitting(positions), len(self._row_slot))
        for slot in range(limit, len(self._owner)):
            self.forget(self._owner[slot])
        del self._held[limit:], self._owner[limit:], self._used[limit:]
        self._pool.keep_first(limit)
        self._pool.grow(len(self._owner), positions, min(limit, self._max_slots))

    def _to_front(self, slots: Sequence[int]) -> None:
        """Swap slots until the given ones are the first."""
        wanted = set(slots)
        outside = [slot for slot in slots if slot >= len(slots)]
        inside = [slot for slot in range(len(slots)) if slot not in wanted]
        if not outside:
            return
        self._pool.grow(len(self._owner), 0, min(self._fitting(0), self._max_slots))
        for here, there in zip(inside, outside, strict=True):
            self._pool.swap(here, there, max(len(self._held[here]), len(self._held[there])))
            self._held[here], self._held[there] = self._held[there], self._held[here]
            self._owner[here], self._owner[there] = self._owner[there], self._owner[here]
            self._used[here], self._used[there] = self._used[there], self._used[here]
        moved = {**dict(zip(inside, outside, strict=True)), **dict(zip(outside, inside, strict=True))}
        self._row_slot = [moved.get(slot, slot) for slot in self._row_slot]
        self._slot_of = {owner: slot for slot, owner in enumerate(self._owner) if owner}

    def _copy(self, source_row: int, target_row: int) -> None:
        """Give a row the keys and values of another."""
        source, target = self._row_slot[source_row], self._row_slot[target_row]
        self._pool.copy(source, target, len(self._held[source]))
        self._held[target] = list(self._held[source])

    def _run(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Run new tokens of some rows through the model; the logits after the last of each, [len(rows), V]."""
        order = sorted(range(len(rows)), key=lambda index: self._row_slot[rows[index]])
        longest = max(len(self._held[self._row_slot[row]]) + len(new) for row, new in zip(rows, tokens, strict=True))
        self._reserve(longest)
        found: list[torch.Tensor] = []
        while order:
            total, share = 0, 0
            while share < len(order) and (share == 0 or total + len(tokens[order[share]]) <= _FORWARD_TOKENS):
                total += len(tokens[order[share]])
                share += 1
            part, order = order[:share], order[share:]
            found.append(
                self._forward([self._row_slot[rows[index]] for index in part], [tokens[index] for index in part])
            )
        logits = found[0] if len(found) == 1 else torch.cat(found)
        slots = [self._row_slot[row] for row in rows]
        if all(left < right for left, right in pairwise(slots)):
            return logits
        rank = {slot: index for index, slot in enumerate(sorted(slots))}
        return logits[[rank[slot] for slot in slots]]

    def _forward(self, slots: Sequence[int], new: Sequence[Sequence[int]]) -> torch.Tensor:
        """One forward of ascending slots; the logits after each, [len(slots), V]."""
        device = self._model.device
        counts = [len(tokens) for tokens in new]
        layout = Layout(
            slots, [len(self._held[slot]) for slot in slots], counts, self._width, self._model.dtype, device
        )
        self._pool.layout = layout
        with self._attention():
            output = self._model(
                input_ids=torch.tensor([[one for tokens in new for one in tokens]], device=device),
                position_ids=torch.tensor([layout.positions()], device=device),
                past_key_values=self._pool,
                use_cache=True,
                logits_to_keep=torch.tensor(counts, device=device).cumsum(0) - 1,
                ragged=layout,
            )
        for slot, tokens in zip(slots, new, strict=True):
            self._held[slot].extend(tokens)
        logits: torch.Tensor = output.logits[0]
        return logits

    @contextmanager
    def _attention(self) -> Iterator[None]:
        """Ragged attention for one forward; the model keeps its own for everybody else."""
        own = self._config._attn_implementation
        self._config._attn_implementation = ATTENTION
        try:
            yield
        finally:
            self._config._attn_implementation = own
