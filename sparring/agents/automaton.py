"""The automaton behind a grammar: tries, places in an action, and states that are found as they are walked.

A place is where one reading of the tokens so far stands; a state is a set of places, because a choice may begin like
a form. States are kept, so a step costs a dictionary look-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sparring.types import Form

Ids = npt.NDArray[np.int64]


@dataclass(eq=False, slots=True)
class Node:
    """A node of a token trie. `text` is set where one of the trie's texts ends; `to_end` is the least number of
    further tokens to such a node."""

    children: dict[int, Node] = field(default_factory=dict)
    text: str | None = None
    to_end: int = 0

    def insert(self, ids: Sequence[int], text: str) -> None:
        node = self
        for one in ids:
            node = node.children.setdefault(one, Node())
        node.text = text if node.text is None else node.text

    def measure(self) -> Node:
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
class WordSlot:
    """The vocabulary of a slot: words that open it, and words that follow after a space.

    `longest` is more tokens than any word has: with so many left, the budget rules out nothing.
    """

    first: Node
    following: Node
    longest: int


@dataclass(frozen=True, slots=True)
class FreeSlot:
    """The tokens that a free slot may hold, as sorted ids and as a mask over the vocabulary."""

    ids: Ids
    admits: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class CompiledForm:
    form: Form
    prefix: tuple[int, ...]
    closing: tuple[int, ...]  # the suffix and the end-of-turn token
    free: FreeSlot | None
    words: WordSlot | None


@dataclass(frozen=True, slots=True)
class InChoice:
    node: Node


@dataclass(frozen=True, slots=True)
class InPrefix:
    form: CompiledForm
    read: int


@dataclass(frozen=True, slots=True)
class InFreeSlot:
    form: CompiledForm
    is_empty: bool


@dataclass(frozen=True, slots=True)
class InWord:
    form: CompiledForm
    node: Node


@dataclass(frozen=True, slots=True)
class InClosing:
    form: CompiledForm
    read: int


@dataclass(frozen=True, slots=True)
class Done:
    choice: str | None = None
    form: CompiledForm | None = None


Place = InChoice | InPrefix | InFreeSlot | InWord | InClosing | Done


@dataclass(frozen=True, eq=False, slots=True)
class Moves:
    """What is possible in some places with some room: all that a state does not owe to its depth."""

    allowed: Ids
    forced: int | None
    is_done: bool
    named: dict[int, tuple[Place, ...]]
    free: tuple[tuple[FreeSlot, Place], ...]


@dataclass(eq=False, slots=True)
class State:
    """Where in an action a decoder is.

    Attributes:
        allowed: the admissible ids, sorted, int64; empty when the action is complete.
        forced: the only admissible id, or None where there is a choice. Its log-probability is 0.
        is_done: whether the action is complete (its end-of-turn token included).
        places: the readings that the tokens so far admit. next: the states found from here.
    """

    allowed: Ids
    forced: int | None
    is_done: bool
    _depth: int
    _moves: Moves
    places: tuple[Place, ...]
    next: dict[int, State] = field(default_factory=dict)
    automaton: Automaton | None = None


class Automaton:
    """The states of one action set, found as they are reached."""

    def __init__(self, places: tuple[Place, ...], max_tokens: int, end_id: int) -> None:
        self._states: dict[tuple[tuple[Place, ...], int], State] = {}
        self._known: dict[tuple[tuple[Place, ...], int], Moves] = {}
        self._max_tokens = max_tokens
        self._end_id = end_id
        self.start = self._state(places, 0)

    def follow(self, state: State, token: int) -> State | None:
        """The state after `token`, or None where it is not admissible."""
        places = list(state._moves.named.get(token, ()))
        places += [place for slot, place in state._moves.free if token < len(slot.admits) and slot.admits[token]]
        if not places:
            return None
        following = self._state(tuple(dict.fromkeys(places)), state._depth + 1)
        # A free slot leads every ordinary token to the same state: remembering each would only fill memory.
        if token in state._moves.named:
            state.next[token] = following
        return following

    def _state(self, places: tuple[Place, ...], depth: int) -> State:
        # Depth matters only while a slot is open or about to be, because only slots look at the budget.
        counts = any(isinstance(place, (InPrefix, InFreeSlot, InWord)) for place in places)
        key = (places, depth if counts else 0)
        if key not in self._states:
            self._states[key] = self._expand(places, depth)
        return self._states[key]

    def _expand(self, places: tuple[Place, ...], depth: int) -> State:
        # Most states are reached with room to spare, and then have the moves of their like at any other depth.
        room = min(self._max_tokens - depth, max((_reach(place) for place in places), default=0))
        moves = self._known.get((places, room))
        if moves is None:
            moves = self._known[places, room] = self._find_moves(places, room)
        return State(moves.allowed, moves.forced, moves.is_done, depth, moves, places, automaton=self)

    def _find_moves(self, places: tuple[Place, ...], room: int) -> Moves:
        named: dict[int, list[Place]] = {}
        free: list[tuple[FreeSlot, Place]] = []
        for place in places:
            for token, target in self._moves(place, room):
                named.setdefault(token, []).append(target)
            slot = _free_move(place, room)
            if slot is not None:
                free.append(slot)
        explicit = np.fromiter(named, dtype=np.int64, count=len(named))
        if free:
            allowed = np.unique(np.concatenate([explicit, *(slot.ids for slot, _ in free)]))
        else:
            allowed = np.sort(explicit)
        allowed.setflags(write=False)
        return Moves(
            allowed=allowed,
            forced=int(allowed[0]) if len(allowed) == 1 else None,
            is_done=any(isinstance(place, Done) for place in places),
            named={token: tuple(targets) for token, targets in named.items()},
            free=tuple(free),
        )

    def _moves(self, place: Place, room: int) -> list[tuple[int, Place]]:
        """The moves by named tokens out of a place, with `room` tokens left for the action."""
        match place:
            case InChoice(node):
                moves: list[tuple[int, Place]] = [(token, InChoice(child)) for token, child in node.children.items()]
                return moves if node.text is None else [*moves, (self._end_id, Done(choice=node.text))]
            case InPrefix(form, read):
                return [(form.prefix[read], enter(form, read + 1))]
            case InFreeSlot(form, is_empty):
                return [] if is_empty else [close_slot(form, 0)]
            case InWord(form, node):
                return _word_moves(form, node, room)
            case InClosing(form, read):
                return [close_slot(form, read)]
            case Done():
                return []


def _free_move(place: Place, room: int) -> tuple[FreeSlot, Place] | None:
    if not isinstance(place, InFreeSlot) or place.form.free is None:
        return None
    is_open = place.is_empty or room > len(place.form.closing)
    return (place.form.free, InFreeSlot(place.form, False)) if is_open else None


def _word_moves(form: CompiledForm, node: Node, room: int) -> list[tuple[int, Place]]:
    assert form.words is not None
    left = room - 1 - len(form.closing)
    onward = list(node.children.items())
    closing: list[tuple[int, Place]] = []
    if node.text is not None:
        closing.append(close_slot(form, 0))
        onward += form.words.following.children.items()
    within = [(token, child) for token, child in onward if child.to_end <= left]
    if not within and not closing:
        within = [min(onward, key=lambda move: move[1].to_end)]
    return [*closing, *((token, InWord(form, child)) for token, child in within)]


def _reach(place: Place) -> int:
    """With at least so many tokens left, a place has the same moves whatever is left."""
    match place:
        case InWord(form, _) if form.words is not None:
            return 1 + len(form.closing) + form.words.longest
        case InFreeSlot(form, _):
            return 1 + len(form.closing)
        case _:
            return 0


def enter(form: CompiledForm, read: int) -> Place:
    if read < len(form.prefix):
        return InPrefix(form, read)
    return InWord(form, form.words.first) if form.words is not None else InFreeSlot(form, True)


def close_slot(form: CompiledForm, read: int) -> tuple[int, Place]:
    is_last = read + 1 == len(form.closing)
    return form.closing[read], Done(form=form) if is_last else InClosing(form, read + 1)
