"""A policy on a Hugging Face causal language model: batched sampling, log-probabilities as sampled, kept caches."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from sparring.agents.embedding import mean_hidden_states
from sparring.agents.grammar import Grammar, State
from sparring.agents.plain import PlainRunner, agrees
from sparring.agents.pooled import PooledRunner
from sparring.agents.rendering import ChatFormat, checksum
from sparring.agents.sampling import check_settings, log_probabilities, sample
from sparring.agents.threads import cpu_threads
from sparring.agents.vocabulary import Vocabulary
from sparring.errors import InvalidConfig
from sparring.types import Action, ActionSet, Prompt


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


@dataclass(slots=True)
class _Row:
    """One action in the making."""

    prompt: Prompt
    prompt_ids: list[int]
    state: State | None
    generator: np.random.Generator | None
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    fed: int = 0
    stop: Literal["end", "length"] | None = None

    def draw(self) -> float:
        """The next uniform number. A forced token takes none, so that jumping over it changes no later draw."""
        is_forced = self.state is not None and self.state.forced is not None
        return 0.0 if is_forced or self.generator is None else self.generator.random()


class HFPolicy:
    """Acts by sampling from a causal language model.

    Equal prompts and seeds give equal samples, whatever else is in the batch (up to the last bits of the logits,
    which kernels round differently in batches of other shapes). Forced tokens of constrained actions are neither
    run nor sampled: their log-probability is 0, and they reach the cache with the next tokens that are run.

    Args:
        model: a causal language model of `transformers`, or such a model under peft. It may be shared with a
            trainer: call `weights_changed()` after a step.
        tokenizer: its tokenizer, with a chat template.
        temperature, top_p: of the sampling distribution. greedy: take the likeliest token instead.
        max_new_tokens: longest action in tokens. Under constrained decoding slots are closed in time for it, and
            the environment's own choices are taken whole.
        constrained: hold actions to `prompt.observation.actions` where the environment lists them.
        max_context: longest prompt and action together, in tokens; by default the model's own limit. A prompt
            that leaves less than `max_new_tokens` is answered by an empty action with stop "context".
        max_slots, max_cache_bytes: how many episodes' keys and values are kept at most, and in how much memory
            (more, where one batch needs more).
        cache: "pooled" keeps keys and values across turns; "plain" runs each prompt from its start by the model's
            own cache, which works for any architecture; "auto" takes pooled where it gives the same logits.
        threads: CPU threads to compute with (`cpu_threads`): 0 chooses by the model's size, None leaves them.

    Raises:
        InvalidConfig: a setting outside its range, or a tokenizer without a usable chat template.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        greedy: bool = False,
        max_new_tokens: int = 32,
        constrained: bool = True,
        max_context: int | None = None,
        max_slots: int = 256,
        max_cache_bytes: int = 4 * 2**30,
        cache: Literal["auto", "pooled", "plain"] = "auto",
        threads: int | None = None,
    ) -> None:
        check_settings(temperature, top_p)
        if max_new_tokens < 1:
            raise InvalidConfig(f"max_new_tokens must be at least 1, got {max_new_tokens}")
        self.model = model
        self.vocabulary = Vocabulary.of(tokenizer)
        self.tokenizer = self.vocabulary.tokenizer
        self.chat = ChatFormat.from_tokenizer(self.vocabulary)
        self.grammar = Grammar(self.vocabulary, self.chat.end_id, max_tokens=max_new_tokens)
        self.temperature, self.top_p, self.greedy = temperature, top_p, greedy
        self.max_new_tokens, self.constrained = max_new_tokens, constrained
        shape = model.config.get_text_config()
        self.max_context = max_context or int(getattr(shape, "max_position_embeddings", 0) or 4096)
        self.stop_ids = _stop_ids(model, self.chat.end_id)
        self._version = 0
        self._max_slots, self._max_cache_bytes = max_slots, max_cache_bytes
        self._cache, self._threads = cache, threads
        self._runner: Runner | None = None
        self._lock = threading.Lock()
        self._forgotten: deque[str] = deque()

    @classmethod
    def from_folder(cls, folder: str | Path, **settings: Any) -> HFPolicy:
        """Load a policy from a Hugging Face folder or one of the names of `agents.models.load_model`.

        Args:
            folder: a model folder, an adapter folder (peft), `tiny` or `smollm2`.
            settings: keyword arguments of the class, and `lora` as for `load_model`.
        """
        from sparring.agents.models import load_model

        model, tokenizer = load_model(folder, lora=settings.pop("lora", None))
        return cls(model, tokenizer, **settings)

    @property
    def version(self) -> int:
        """How often the weights have changed."""
        return self._version

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        """Sample an action for each prompt.

        Raises:
            InvalidConfig: messages that the chat format can't render, or an empty action set.
        """
        rendered = [self.chat.render(prompt.messages) for prompt in prompts]
        actions: list[Action | None] = [None] * len(prompts)
        rows: dict[int, _Row] = {}
        with self._lock, self._inference() as runner:
            for index, (prompt, ids) in enumerate(zip(prompts, rendered, strict=True)):
                if len(ids) + self.max_new_tokens > self.max_context:
                    actions[index] = Action("", prompt_tokens=len(ids), prompt_checksum=checksum(ids), stop="context")
                else:
                    rows[index] = self._row(prompt, ids)
            self._decode(list(rows.values()), runner)
        for index, row in rows.items():
            actions[index] = self._action(row)
        return [action for action in actions if action is not None]

    async def aact(self, prompts: Sequence[Prompt]) -> list[Action]:
        """`act` in a thread, so that environments step meanwhile."""
        return await asyncio.to_thread(self.act, prompts)

    def forget(self, episode: str) -> None:
        """Free what is kept for an episode. Returns at once, even while a batch runs in another thread."""
        self._forgotten.append(episode)

    def release(self) -> None:
        """Give back the memory of all kept caches; the next batch takes what it needs anew."""
        with self._lock:
            self._runner = None
            self._forgotten.clear()

    def weights_changed(self) -> None:
        """Say that the model's weights were changed in place: kept caches are dropped, the version goes up."""
        with self._lock:
            self._version += 1
            if self._runner is not None:
                self._runner.clear()

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy weights into the model.

        Args:
            state: parameters by name, as `model.state_dict()` names them; it may leave some out (an adapter's own).
        Raises:
            InvalidConfig: a name that the model does not have.
        """
        found = self.model.load_state_dict(state, strict=False)
        if found.unexpected_keys:
            raise InvalidConfig(f"the model has no parameter {found.unexpected_keys[0]!r}")
        self.weights_changed()

    def logprobs(self, prompts: Sequence[Prompt], actions: Sequence[Action]) -> list[npt.NDArray[np.float32]]:
        """Log-probabilities of actions under the current weights, by a fresh forward without any cache.

        The temperature is the policy's own. An action with `constrained` set is scored over its admissible tokens.

        Returns:
            For each action, float32 of its number of tokens (an action without token ids is encoded first).
        """
        scores = []
        with self._lock, self._inference():
            for prompt, action in zip(prompts, actions, strict=True):
                ids = self.chat.encode_action(action, prompt.observation.actions, self.grammar)
                whole = torch.tensor([[*self.chat.render(prompt.messages), *ids]], device=self.model.device)
                logits_TV = self.model(input_ids=whole, logits_to_keep=len(ids) + 1).logits[0, :-1]
                allowed = self._allowed(prompt.observation.actions, ids) if action.constrained else None
                table_TV = log_probabilities(logits_TV, temperature=self.temperature, allowed=allowed)
                chosen = table_TV.gather(-1, whole[0, -len(ids) :, None]).squeeze(-1)
                scores.append(chosen.cpu().numpy())
        return scores

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Each text as a vector under the current weights: the mean of the model's last hidden states over its tokens.

        Of a text longer than the context only the beginning is read; a text without tokens becomes zeros.

        Returns:
            float32 [N, D], D being the width of the model.
        """
        rows = [self.vocabulary.encode(text)[: self.max_context] for text in texts]
        with self._lock, self._inference():
            return mean_hidden_states(self.model, rows)

    def _allowed(self, actions: ActionSet | None, ids: Sequence[int]) -> list[npt.NDArray[np.int64]] | None:
        return None if actions is None else self.grammar.allowed_sets(actions, ids)

    @contextmanager
    def _inference(self) -> Iterator[Runner]:
        """Evaluation mode without gradients; the model's own mode comes back afterwards."""
        training = self.model.training
        if training:
            self.model.eval()
        try:
            with torch.inference_mode(), cpu_threads(self.model, self._threads):
                if self._runner is None:
                    self._runner = self._choose_runner()
                while self._forgotten:
                    self._runner.forget(self._forgotten.popleft())
                yield self._runner
        finally:
            if training:
                self.model.train()

    def _choose_runner(self) -> Runner:
        pooled = PooledRunner(self.model, max_slots=self._max_slots, max_bytes=self._max_cache_bytes)
        if self._cache == "pooled" or (self._cache == "auto" and agrees(pooled, self.model)):
            return pooled
        if self._cache == "auto":
            warnings.warn(
                f"{type(self.model).__name__} does not give the same logits with keys and values kept across turns; "
                "each prompt is run from its start (cache='plain' says so without this warning)",
                stacklevel=2,
            )
        return PlainRunner(self.model)

    def _row(self, prompt: Prompt, ids: list[int]) -> _Row:
        actions = prompt.observation.actions if self.constrained else None
        state = self.grammar.start(actions) if actions is not None else None
        return _Row(prompt, ids, state, None if self.greedy else np.random.default_rng(prompt.seed))

    def _decode(self, rows: Sequence[_Row], runner: Runner) -> None:
        """Fill in each row's tokens."""
        if runner.jumps:
            for row in rows:
                self._jump(row)
        rows = [row for row in rows if row.stop is None]
        if not rows:
            return
        logits = runner.begin([row.prompt.episode for row in rows], [row.prompt_ids + row.token_ids for row in rows])
        active = list(range(len(rows)))
        while True:
            for index in active:
                rows[index].fed = len(rows[index].token_ids)
            self._extend([rows[index] for index in active], logits, jumps=runner.jumps)
            active = [index for index in active if rows[index].stop is None]
            if not active:
                return
            logits = runner.feed(active, [rows[index].token_ids[rows[index].fed :] for index in active])

    def _extend(self, rows: Sequence[_Row], logits: torch.Tensor, *, jumps: bool) -> None:
        """Sample one token for each row, and follow what it forces."""
        uniforms = None if self.greedy else [row.draw() for row in rows]
        allowed = [None if row.state is None else row.state.allowed for row in rows]
        tokens, logprobs = sample(logits, uniforms, temperature=self.temperature, top_p=self.top_p, allowed=allowed)
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            self._take(row, token, logprob)
            if jumps:
                self._jump(row)

    def _jump(self, row: _Row) -> None:
        """Take tokens while there is no choice."""
        while row.stop is None and row.state is not None and row.state.forced is not None:
            self._take(row, row.state.forced, 0.0)

    def _take(self, row: _Row, token: int, logprob: float) -> None:
        row.token_ids.append(token)
        row.logprobs.append(logprob)
        if row.state is not None:
            row.state = self.grammar.advance(row.state, token)
            row.stop = "end" if row.state.is_done else None
        elif token in self.stop_ids:
            row.stop = "end"
        elif len(row.token_ids) >= self.max_new_tokens:
            row.stop = "length"

    def _action(self, row: _Row) -> Action:
        assert row.stop is not None
        ids = tuple(row.token_ids)
        if row.state is not None:
            assert row.prompt.observation.actions is not None
            text = self.grammar.text(row.prompt.observation.actions, ids)
        else:
            text = self.vocabulary.decode(ids[:-1] if row.stop == "end" else ids)
        return Action(
            text=text,
            token_ids=ids,
            logprobs=tuple(row.logprobs),
            constrained=row.state is not None,
            prompt_tokens=len(row.prompt_ids),
            prompt_checksum=checksum(row.prompt_ids),
            stop=row.stop,
        )


def _stop_ids(model: Any, end_id: int) -> frozenset[int]:
    """The ids that end a turn: the chat format's own and those of the model's generation settings."""
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    extra = listed if isinstance(listed, (list, tuple)) else [] if listed is None else [listed]
    return frozenset({end_id, *map(int, extra)})
