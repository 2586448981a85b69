"""Hold a policy to the admissible actions, token by token.

A `Grammar` turns an `ActionSet` into a deterministic automaton over token ids. A choice is the canonical
tokenisation of its text; a form is its prefix, its slot and its suffix, each tokenised on its own; both end with
the end-of-turn token. The same automaton serves three times: the decoder samples along it, a trainer asks it for
the sets that were admissible at each token (`allowed_sets`), and scripted actions take the path through it that
the decoder would have taken (`encode`).

The automaton is built as it is walked: states are found once and kept, so a step costs a dictionary look-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sparring.agents.vocabulary import Vocabulary
from sparring.errors import InvalidConfig, InvalidData
from sparring.types import ActionSet, Form

Ids = npt.NDArray[np.int64]

_CACHED_AUTOMATA = 4096
_CACHED_WORD_LISTS = 1024


@dataclass(eq=False, slots=True)
class _Node:
    """A node of a token trie. `text` is set where one of the trie's texts ends; `to_end` is the least number of
    further tokens to such a node."""

    children: dict[int, _Node] = field(default_factory=dict)
    text: str | None = None
    to_end: int = 0

    def insert(self, ids: Sequence[int], text: str) -> None:
        node = self
        for one in ids:
            node = node.children.setdefault(one, _Node())
        node.text = text if node.text is None else node.text

    def measure(self) -> _Node:
        """Fill in `to_end` below this node, and return it."""
        stack, order = [self], []
        while stack:
            node = stack.pop()
            order.append(node)
            stack.extend(node.children.values())
        for node in reversed(order):
            node.to_end = 0 if node.text is not None else 1 + min(child.to_end for child in node.children.values())
        return self


@dataclass(frozen=True, slots=True)
class _Words:
    """The vocabulary of a slot: words that open it, and words that follow after a space."""

    first: _Node
    following: _Node


@dataclass(frozen=True, slots=True)
class _FreeSlot:
    """The tokens that a free slot may hold, as sorted ids and as a mask over the vocabulary."""

    ids: Ids
    admits: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class _CompiledForm:
    form: Form
    prefix: tuple[int, ...]
    closing: tuple[int, ...]  # the suffix and the end-of-turn token
    free: _FreeSlot | None
    words: _Words | None


# Positions in the automaton. A state is a set of them: more than one where, for example, a choice begins like a form.
@dataclass(frozen=True, slots=True)
class _InChoice:
    node: _Node


@dataclass(frozen=True, slots=True)
class _InPrefix:
    form: _CompiledForm
    read: int


@dataclass(frozen=True, slots=True)
class _InFreeSlot:
    form: _CompiledForm
    is_empty: bool


@dataclass(frozen=True, slots=True)
class _InWord:
    form: _CompiledForm
    node: _Node


@dataclass(frozen=True, slots=True)
class _InClosing:
    form: _CompiledForm
    read: int


@dataclass(frozen=True, slots=True)
class _Done:
    choice: str | None = None
    form: _CompiledForm | None = None


_Place = _InChoice | _InPrefix | _InFreeSlot | _InWord | _InClosing | _Done


@dataclass(eq=False, slots=True)
class State:
    """Where in an action a decoder is.

    Attributes:
        allowed: the admissible ids, sorted, int64; empty when the action is complete.
        forced: the only admissible id, or None where there is a choice. Its log-probability is 0.
        is_done: whether the action is complete (its end-of-turn token included).
    """

    allowed: Ids
    forced: int | None
    is_done: bool
    _depth: int
    _moves: dict[int, tuple[_Place, ...]]
    _free: tuple[tuple[_FreeSlot, _Place], ...]
    _places: tuple[_Place, ...]
    _next: dict[int, State] = field(default_factory=dict)
    _automaton: _Automaton | None = None


class _Automaton:
    """The states of one action set, found as they are reached."""

    def __init__(self, places: tuple[_Place, ...], max_tokens: int, end_id: int) -> None:
        self._states: dict[tuple[tuple[_Place, ...], int], State] = {}
        self._max_tokens = max_tokens
        self._end_id = end_id
        self.start = self._state(places, 0)

    def follow(self, state: State, token: int) -> State | None:
        """The state after `token`, or None where it is not admissible."""
        places = list(state._moves.get(token, ()))
        places += [place for slot, place in state._free if token < len(slot.admits) and slot.admits[token]]
        if not places:
            return None
        following = self._state(tuple(dict.fromkeys(places)), state._depth + 1)
        # A free slot leads every ordinary token to the same state: remembering each would only fill memory.
        if token in state._moves:
            state._next[token] = following
        return following

    def _state(self, places: tuple[_Place, ...], depth: int) -> State:
        # Depth matters only while a slot is open or about to be, because only slots look at the budget.
        counts = any(isinstance(place, (_InPrefix, _InFreeSlot, _InWord)) for place in places)
        key = (places, depth if counts else 0)
        if key not in self._states:
            self._states[key] = self._expand(places, depth)
        return self._states[key]

    def _expand(self, places: tuple[_Place, ...], depth: int) -> State:
        moves: dict[int, list[_Place]] = {}
        free: list[tuple[_FreeSlot, _Place]] = []
        for place in places:
            for token, target in self._moves(place, depth):
                moves.setdefault(token, []).append(target)
            slot = self._free_move(place, depth)
            if slot is not None:
                free.append(slot)
        explicit = np.fromiter(moves, dtype=np.int64, count=len(moves))
        if free:
            allowed = np.unique(np.concatenate([explicit, *(slot.ids for slot, _ in free)]))
        else:
            allowed = np.sort(explicit)
        allowed.setflags(write=False)
        return State(
            allowed=allowed,
            forced=int(allowed[0]) if len(allowed) == 1 else None,
            is_done=any(isinstance(place, _Done) for place in places),
            _depth=depth,
            _moves={token: tuple(targets) for token, targets in moves.items()},
            _free=tuple(free),
            _places=places,
            _automaton=self,
        )

    def _moves(self, place: _Place, depth: int) -> list[tuple[int, _Place]]:
        """The moves by named tokens out of a place."""
        match place:
            case _InChoice(node):
                moves: list[tuple[int, _Place]] = [(token, _InChoice(child)) for token, child in node.children.items()]
                return moves if node.text is None else [*moves, (self._end_id, _Done(choice=node.text))]
            case _InPrefix(form, read):
                return [(form.prefix[read], _enter(form, read + 1))]
            case _InFreeSlot(form, is_empty):
                return [] if is_empty else [_close(form, 0)]
            case _InWord(form, node):
                return self._word_moves(form, node, depth)
            case _InClosing(form, read):
                return [_close(form, read)]
            case _Done():
                return []

    def _free_move(self, place: _Place, depth: int) -> tuple[_FreeSlot, _Place] | None:
        if not isinstance(place, _InFreeSlot) or place.form.free is None:
            return None
        room = self._max_tokens - depth - 1 - len(place.form.closing)
        return (place.form.free, _InFreeSlot(place.form, False)) if place.is_empty or room >= 0 else None

    def _word_moves(self, form: _CompiledForm, node: _Node, depth: int) -> list[tuple[int, _Place]]:
        assert form.words is not None
        room = self._max_tokens - depth - 1 - len(form.closing)
        onward = list(node.children.items())
        closing: list[tuple[int, _Place]] = []
        if node.text is not None:
            closing.append(_close(form, 0))
            onward += form.words.following.children.items()
        within = [(token, child) for token, child in onward if child.to_end <= room]
        if not within and not closing:
            within = [min(onward, key=lambda move: move[1].to_end)]
        return [*closing, *((token, _InWord(form, child)) for token, child in within)]


def _enter(form: _CompiledForm, read: int) -> _Place:
    if read < len(form.prefix):
        return _InPrefix(form, read)
    return _InWord(form, form.words.first) if form.words is not None else _InFreeSlot(form, True)


def _close(form: _CompiledForm, read: int) -> tuple[int, _Place]:
    is_last = read + 1 == len(form.closing)
    return form.closing[read], _Done(form=form) if is_last else _InClosing(form, read + 1)


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
        self._free_slots: dict[str, _FreeSlot] = {}
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
        following = state._next.get(token)
        if following is None:
            assert state._automaton is not None
            following = state._automaton.follow(state, token)
            if following is None:
                raise InvalidData(
                    f"token {token} ({self.vocabulary.decode([token])!r}) is not admissible here; "
                    f"{len(state.allowed)} others are"
                )
        return following

    def text(self, actions: ActionSet, token_ids: Sequence[int]) -> str:
        """The action that complete `token_ids` spell: a choice letter for letter, a form with its decoded slot.

        Raises:
            InvalidData: the ids are no complete action of the set.
        """
        state = self.start(actions)
        for token in token_ids:
            state = self.advance(state, token)
        for place in state._places:
            if isinstance(place, _Done):
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
                assert state._automaton is not None
                state = state._next.get(token) or state._automaton.follow(state, token)
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

    def _compile(self, actions: ActionSet) -> _Automaton:
        places: list[_Place] = []
        if actions.choices:
            root = _Node()
            for choice in actions.choices:
                ids = self.vocabulary.encode(choice)
                if not ids:
                    raise InvalidConfig("an admissible action is the empty string, which no token spells")
                root.insert(ids, choice)
            places.append(_InChoice(root))
        places += [_enter(self._compile_form(form), 0) for form in actions.forms]
        if not places:
            raise InvalidConfig("an ActionSet with neither choices nor forms admits no action at all")
        return _Automaton(tuple(places), self.max_tokens, self.end_id)

    def _compile_form(self, form: Form) -> _CompiledForm:
        if form.words is not None and not form.words:
            raise InvalidConfig(f"the form {form.prefix!r}…{form.suffix!r} has an empty word list")
        closing = (*self.vocabulary.encode(form.suffix), self.end_id)
        prefix = self.vocabulary.encode(form.prefix)
        if form.words is not None:
            return _CompiledForm(form, prefix, closing, None, self._words(form.words))
        return _CompiledForm(form, prefix, closing, self._free_slot(form.suffix[:1]), None)

    def _compile_words(self, words: tuple[str, ...]) -> _Words:
        first, following = _Node(), _Node()
        for word in words:
            if word and " " not in word:
                first.insert(self.vocabulary.encode(word), word)
                following.insert(self.vocabulary.encode(" " + word), word)
        if not first.children:
            raise InvalidConfig(f"a slot's word list holds no usable word: {words[:5]!r}")
        return _Words(first.measure(), following.measure())

    def _free_slot(self, stop: str) -> _FreeSlot:
        """Every token of text that does not contain `stop`, the suffix's first character."""
        if stop not in self._free_slots:
            admits = np.array([bool(text) and not (stop and stop in text) for text in self.vocabulary.texts])
            admits[[one for one in {*self.vocabulary.control_ids, self.end_id} if one < len(admits)]] = False
            ids = np.flatnonzero(admits).astype(np.int64)
            if not len(ids):
                raise InvalidConfig(f"no token may stand in a slot that ends with {stop!r}")
            self._free_slots[stop] = _FreeSlot(ids, admits)
        return self._free_slots[stop]


@dataclass(frozen=True, slots=True)
class AllowedTable:
    """The admissible sets of many tokens, each distinct one held once.

    Attributes:
        sets: the distinct sets, U of them, sorted ids.
        index: for each action, the set of each of its tokens, int64 of the action's length.
    """

    sets: tuple[Ids, ...]
    index: tuple[npt.NDArray[np.int64], ...]

    def matrix(self, vocabulary_size: int) -> npt.NDArray[np.bool_]:
        """The sets as a mask, bool [U, V]."""
        allowed_UV = np.zeros((len(self.sets), vocabulary_size), dtype=np.bool_)
        for row, ids in enumerate(self.sets):
            allowed_UV[row, ids] = True
        return allowed_UV


def allowed_table(grammar: Grammar, actions: Sequence[tuple[ActionSet, Sequence[int]]]) -> AllowedTable:
    """Gather `allowed_sets` of many actions, without repeats.

    Args:
        actions: the action set and the token ids of each action.
    Raises:
        InvalidData: a token is not admissible in its set.
    """
    rows: dict[bytes, int] = {}
    sets: list[Ids] = []
    index = []
    for action_set, token_ids in actions:
        found = []
        for allowed in grammar.allowed_sets(action_set, token_ids):
            key = allowed.tobytes()
            if key not in rows:
                rows[key] = len(sets)
                sets.append(allowed)
            found.append(rows[key])
        index.append(np.array(found, dtype=np.int64))
    return AllowedTable(tuple(sets), tuple(index))
