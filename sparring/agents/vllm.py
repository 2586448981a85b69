"""A policy on vLLM, in this process: the contract of `HFPolicy` at the speed of an engine built for serving.

Prompts go in as ids of our own chat format and answers come out as ids, so nothing is tokenised on the way; the prompt
of a turn extends that of the turn before, and vLLM finds the keys and values of what they share in its prefix cache.
Constrained decoding follows `Grammar` (`vllm_masks`), with the same admissible sets that a trainer recomputes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sparring.agents.grammar import Grammar, State
from sparring.agents.rendering import ChatFormat, checksum
from sparring.agents.sampling import check_settings
from sparring.agents.vllm_engine import Decoded, Engine, Request
from sparring.agents.vocabulary import Vocabulary
from sparring.errors import InvalidConfig, need
from sparring.types import Action, Prompt


@dataclass(slots=True)
class _Draft:
    """One action in the making."""

    prompt: Prompt
    prompt_ids: list[int]
    state: State | None
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stop: Literal["end", "length", "context"] | None = None

    def extend(self, token_ids: Sequence[int], logprobs: Sequence[float] | None = None) -> None:
        """Add tokens; forced ones come without log-probabilities."""
        self.token_ids.extend(token_ids)
        self.logprobs.extend([0.0] * len(token_ids) if logprobs is None else logprobs)


class VLLMPolicy:
    """Acts by sampling from a model that vLLM runs.

    Equal prompts and seeds give equal samples by the same engine, up to the last bits of the logits, which kernels
    round differently in batches of other shapes. The draws are vLLM's own, other than `HFPolicy`'s at the same seed;
    greedy actions are the same but for ties. There is no nucleus sampling: vLLM reports log-probabilities after
    truncation, where a trainer needs those before it.

    Forced tokens that open an action go in with the prompt, those that end it are never decoded, and the
    log-probability of any forced token is 0.

    Args:
        model: what `Engine` takes (a folder, a name, or a live model), or an `Engine` to share with other policies.
        tokenizer: the model's tokenizer with a chat template; by default that of the model's folder.
        temperature: of the sampling distribution. greedy: take the likeliest token instead.
        max_new_tokens: longest action in tokens. Under constrained decoding slots are closed in time for it, and
            the environment's own choices are taken whole.
        constrained: hold actions to `prompt.observation.actions` where the environment lists them.
        engine: keyword arguments of `Engine` (dtype, max_context, cache_bytes, options).

    A prompt that leaves less than `max_new_tokens` of the context, or whose action does not fit it, is answered by an
    empty action with stop "context".

    Raises:
        InvalidConfig: a setting outside its range, or a tokenizer without a usable chat template.
        MissingExtra: vllm is not installed.
    """

    def __init__(
        self,
        model: Engine | str | Path | Any,
        tokenizer: Any = None,
        *,
        temperature: float = 1.0,
        greedy: bool = False,
        max_new_tokens: int = 32,
        constrained: bool = True,
        **engine: Any,
    ) -> None:
        check_settings(temperature, top_p=1.0)
        if max_new_tokens < 1:
            raise InvalidConfig(f"max_new_tokens must be at least 1, got {max_new_tokens}")
        self.engine = model if isinstance(model, Engine) else Engine(model, **engine)
        if tokenizer is None:
            tokenizer = need("transformers", "train").AutoTokenizer.from_pretrained(self.engine.tokenizer_folder)
        self.vocabulary = Vocabulary.of(tokenizer)
        self.tokenizer = self.vocabulary.tokenizer
        self.chat = ChatFormat.from_tokenizer(self.vocabulary)
        self.grammar = Grammar(self.vocabulary, self.chat.end_id, max_tokens=max_new_tokens)
        self.temperature, self.greedy = temperature, greedy
        self.max_new_tokens, self.constrained = max_new_tokens, constrained
        self.max_context = self.engine.max_context
        self.stop_ids = self.engine.stop_ids | {self.chat.end_id}
        self._version = 0

    @property
    def version(self) -> int:
        """How often the weights have changed."""
        return self._version

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        """Sample an action for each prompt.

        Raises:
            InvalidConfig: messages that the chat format can't render, or an empty action set.
        """
        drafts = [self._draft(prompt) for prompt in prompts]
        open_drafts, requests = [], []
        for draft in drafts:
            request = self._request(draft)
            if request is not None:
                open_drafts.append(draft)
                requests.append(request)
        decoded = self.engine.generate(requests, self.grammar, temperature=self.temperature)
        for draft, one in zip(open_drafts, decoded, strict=True):
            self._take(draft, one)
        return [self._action(draft) for draft in drafts]

    async def aact(self, prompts: Sequence[Prompt]) -> list[Action]:
        """`act` in a thread, so that environments step meanwhile."""
        return await asyncio.to_thread(self.act, prompts)

    def forget(self, episode: str) -> None:
        """Nothing to free: the engine drops what it used least recently."""

    def weights_changed(self) -> None:
        """Bring a live model's weights into the engine; what was cached is dropped, the version goes up."""
        self._version += 1
        self.engine.sync()

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Replace the engine's weights.

        Args:
            state: all of them by name, as in the model's files (and as `model.state_dict()` names them).
        Raises:
            InvalidConfig: a name too many or too few.
        """
        self.engine.load_weights(state)
        self._version += 1

    def _draft(self, prompt: Prompt) -> _Draft:
        """What can be said before the engine is asked: the prompt's ids, and the tokens that open every action."""
        ids = self.chat.render(prompt.messages)
        actions = prompt.observation.actions if self.constrained else None
        draft = _Draft(prompt, ids, None if actions is None else self.grammar.start(actions))
        if len(ids) + self.max_new_tokens > self.max_context:
            draft.stop = "context"
        elif draft.state is not None:
            opening, draft.state = self.grammar.forced(draft.state)
            draft.extend(opening)
            if draft.state.is_done:
                draft.stop = "end"
        return draft

    def _request(self, draft: _Draft) -> Request | None:
        """What the engine must decode of an action; None where nothing is left, or does not fit."""
        if draft.stop is not None:
            return None
        prompt_ids = draft.prompt_ids + draft.token_ids
        room = self.max_context - len(prompt_ids)
        if room < 1:
            draft.stop = "context"
            return None
        if draft.state is None:
            return Request(prompt_ids, self.max_new_tokens, self.stop_ids, self._seed(draft.prompt), None)
        end = frozenset({self.chat.end_id})
        return Request(prompt_ids, room, end, self._seed(draft.prompt), draft.state)

    def _seed(self, prompt: Prompt) -> int | None:
        if self.greedy:
            return None
        return int(np.random.SeedSequence(prompt.seed).generate_state(1, np.uint64)[0] >> 1)

    def _take(self, draft: _Draft, decoded: Decoded) -> None:
        """Add what the engine decoded; where it ended a settled action early, add the rest."""
        if draft.state is None:
            draft.extend(decoded.token_ids, decoded.logprobs)
            draft.stop = "end" if decoded.stopped else "length"
            return
        for token, logprob in zip(decoded.token_ids, decoded.logprobs, strict=True):
            if self.grammar.is_settled(draft.state):
                break
            draft.extend((token,), (logprob,))
            draft.state = self.grammar.advance(draft.state, token)
        closing, draft.state = self.grammar.forced(draft.state)
        draft.extend(closing)
        draft.stop = "end" if draft.state.is_done else "context"

    def _action(self, draft: _Draft) -> Action:
        assert draft.stop is not None
        prompt_tokens, prompt_checksum = len(draft.prompt_ids), checksum(draft.prompt_ids)
        if draft.stop == "context":
            return Action("", prompt_tokens=prompt_tokens, prompt_checksum=prompt_checksum, stop="context")
        ids = tuple(draft.token_ids)
        if draft.state is not None:
            assert draft.prompt.observation.actions is not None
            text = self.grammar.text(draft.prompt.observation.actions, ids)
        else:
            text = self.vocabulary.decode(ids[:-1] if draft.stop == "end" else ids)
        return Action(
            text=text,
            token_ids=ids,
            logprobs=tuple(draft.logprobs),
            constrained=draft.state is not None,
            prompt_tokens=prompt_tokens,
            prompt_checksum=prompt_checksum,
            stop=draft.stop,
        )
