"""Hold a policy to the admissible actions, token by token.

A `Grammar` turns an `ActionSet` into a deterministic automaton over token ids. A choice is the canonical
tokenisation of its text; a form is its prefix, its slot and its suffix, each tokenised on its own; both end with
the end-of-turn token. The same automaton serves three times: the decoder samples along it, a trainer asks it for
the sets that were admissible at each token (`allowed_sets`), and scripted actions take the path through it that
the decoder would have taken (`encode`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from sparring.agents.automaton import (
    Automaton,
    CompiledForm,
    Done,
    FreeSlot,
    Ids,
    InChoice,
    Node,
    Place,
    State,
    WordSlot,
    enter,
)
from sparring.agents.vocabulary import Vocabulary
from sparring.errors import InvalidConfig, InvalidData
from sparring.types import ActionSet, Form

_CACHED_AUTOMATA = 4096
_CACHED_WORD_LISTS = 1024

__all__ = ["Grammar", "Ids", "State"]


class Grammar:
    """Token automata for action sets.

    Args:
        tokenizer: a `transformers` tokenizer, or a `Vocabulary`.
        end_id: the end-of-turn token that closes every action.
        max_tokens: the slot of a form is closed in time for the action to hold at most this many tokens, the
            end included (its prefix, one slot token or word, and its suffix are always granted). Choices are the
            environment's own strings and are taken whole, however long.
    """

    def __init__(self, tokenizer: Any, end_id: int, *, max_tokens: int = 32) -> None:
        if max_tokens < 1:
            raise InvalidConfig(f"max_tokens must be at least 1, got {max_tokens}")
        self.vocabulary = Vocabulary.of(tokenizer)
        self.end_id = end_id
        self.max_tokens = max_tokens
        self._free_slots: dict[str, FreeSlot] = {}
        self._automaton = lru_cache(_CACHED_AUTOMATA)(self._compile)
        self._words = lru_cache(_CACHED_WORD_LISTS)(self._compile_words)

    def start(self, actions: ActionSet) -> State:
        """The state before the first token.

        Raises:
            InvalidConfig: the action set is empty.
        """
        return self._automaton(actions).start

    def allowed(self, state: State) -> Ids:
        """The admissible ids, sorted; the same array object for the same state."""
        return state.allowed

    def advance(self, state: State, token: int) -> State:
        """The state after `token`.

        Raises:
            InvalidData: the token is not admissible here.
        """
        following = state.next.get(token)
        if following is None:
            assert state.automaton is not None
            following = state.automaton.follow(state, token)
            if following is None:
                raise InvalidData(
                    f"token {token} ({self.vocabulary.decode([token])!r}) is not admissible here; "
                    f"{len(state.allowed)} others are"
                )
        return following

    def forced(self, state: State) -> tuple[tuple[int, ...], State]:
        """The tokens that follow without a choice, and the state where there is one again or the action is complete."""
        tokens = []
        while state.forced is not None:
            tokens.append(state.forced)
            state = self.advance(state, state.forced)
        return tuple(tokens), state

    def is_settled(self, state: State) -> bool:
        """Whether tokens are left of the action, and no choice among them."""
        return state.forced is not None and self.forced(state)[1].is_done

    def text(self, actions: ActionSet, token_ids: Sequence[int]) -> str:
        """The action that complete `token_ids` spell: a choice letter for letter, a form with its decoded slot.

        Raises:
            InvalidData: the ids are no complete action of the set.
        """
        state = self.start(actions)
        for token in token_ids:
            state = self.advance(state, token)
        for place in state.places:
            if isinstance(place, Done):
                if place.choice is not None:
                    return place.choice
                assert place.form is not None
                form = place.form
                slot = token_ids[len(form.prefix) : len(token_ids) - len(form.closing)]
                return form.form.prefix + self.vocabulary.decode(slot) + form.form.suffix
        raise InvalidData(f"{self.vocabulary.decode(token_ids)!r} is no complete action")

    def encode(self, text: str, actions: ActionSet) -> tuple[int, ...]:
        """The ids of an action, end-of-turn token included, along the path that decoding would take.

        Raises:
            InvalidData: no path spells `text`: it is not admissible, its slot holds the suffix's first character,
                or it is longer than the budget for a slot.
        """
        for ids in self._spellings(text, actions):
            state: State | None = self.start(actions)
            for token in ids:
                if state is None:
                    break
                assert state.automaton is not None
                state = state.next.get(token) or state.automaton.follow(state, token)
            if state is not None and state.is_done:
                return ids
        raise InvalidData(f"{text!r} can't be reached by constrained decoding within {self.max_tokens} tokens")

    def _spellings(self, text: str, actions: ActionSet) -> list[tuple[int, ...]]:
        if text in actions.choices:
            return [(*self.vocabulary.encode(text), self.end_id)]
        found = []
        for form in actions.forms:
            if form.admits(text):
                compiled = self._compile_form(form)
                slot = text[len(form.prefix) : len(text) - len(form.suffix)]
                found.append((*compiled.prefix, *self._spell_slot(slot, form), *compiled.closing))
        return found

    def _spell_slot(self, slot: str, form: Form) -> tuple[int, ...]:
        if form.words is None:
            return self.vocabulary.encode(slot)
        first, *following = slot.split(" ")
        ids = list(self.vocabulary.encode(first))
        for word in following:
            ids += self.vocabulary.encode(" " + word)
        return tuple(ids)

    def allowed_sets(self, actions: ActionSet, token_ids: Sequence[int]) -> list[Ids]:
        """What was admissible at each token of an action (sorted ids; equal states share one array).

        Raises:
            InvalidData: a token is not admissible.
        """
        state, sets = self.start(actions), []
        for token in token_ids:
            sets.append(state.allowed)
            state = self.advance(state, token)
        return sets

    def _compile(self, actions: ActionSet) -> Automaton:
        places: list[Place] = []
        if actions.choices:
            root = Node()
            for choice in actions.choices:
                ids = self.vocabulary.encode(choice)
                if not ids:
                    raise InvalidConfig("an admissible action is the empty string, which no token spells")
                root.insert(ids, choice)
            places.append(InChoice(root))
        places += [enter(self._compile_form(form), 0) for form in actions.forms]
        if not places:
            raise InvalidConfig("an ActionSet with neither choices nor forms admits no action at all")
        return Automaton(tuple(places), self.max_tokens, self.end_id)

    def _compile_form(self, form: Form) -> CompiledForm:
        if form.words is not None and not form.words:
            raise InvalidConfig(f"the form {form.prefix!r}…{form.suffix!r} has an empty word list")
        closing = (*self.vocabulary.encode(form.suffix), self.end_id)
        prefix = self.vocabulary.encode(form.prefix)
        if form.words is not None:
            return CompiledForm(form, prefix, closing, None, self._words(form.words))
        return CompiledForm(form, prefix, closing, self._free_slot(form.suffix[:1]), None)

    def _compile_words(self, words: tuple[str, ...]) -> WordSlot:
        first, following = Node(), Node()
        for word in words:
            if word and " " not in word:
                first.insert(self.vocabulary.encode(word), word)
                following.insert(self.vocabulary.encode(" " + word), word)
        if not first.children:
            raise InvalidConfig(f"a slot's word list holds no usable word: {words[:5]!r}")
        longest = max(len(self.vocabulary.encode(" " + word)) for word in words) + 1
        return WordSlot(first.measure(), following.measure(), longest)

    def _free_slot(self, stop: str) -> FreeSlot:
        """Every token of text that does not contain `stop`, the suffix's first character."""
        if stop not in self._free_slots:
            admits = np.array([bool(text) and not (stop and stop in text) for text in self.vocabulary.texts])
            admits[[one for one in {*self.vocabulary.control_ids, self.end_id} if one < len(admits)]] = False
            ids = np.flatnonzero(admits).astype(np.int64)
            if not len(ids):
                raise InvalidConfig(f"no token may stand in a slot that ends with {stop!r}")
            self._free_slots[stop] = FreeSlot(ids, admits)
        return self._free_slots[stop]
