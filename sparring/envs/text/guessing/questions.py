"""Which attribute or item a question is about.

A question in its plain form (`wording.plain`) opens in one of many ways: "is it", "would you find it in", "can it".
What follows the opening, together with the kind of opening, is looked up. The attributes' own questions, taken apart
in the same way, fill the table: "Can it fly?" teaches that an opening of the kind `does` followed by "fly" asks for
that attribute, and so "Is it something that flies?" is understood as well. Nothing is guessed: what is not in the
table is not understood.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from sparring.envs.text.guessing.knowledge import Knowledge
from sparring.envs.text.guessing.wording import plain
from sparring.errors import InvalidData


@dataclass(frozen=True, slots=True)
class AsksWhether:
    """Whether an attribute (a column of the table) holds, or, asked for the `opposite`, does not."""

    attribute: int
    opposite: bool = False


@dataclass(frozen=True, slots=True)
class Guesses:
    """Whether it is this item (a row of the table)."""

    item: int


Meaning = AsksWhether | Guesses


def _with_prepositions(openings: tuple[str, ...], prepositions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(pair).strip() for pair in product(openings, prepositions))


_WHERE = ("in", "on", "at", "inside", "within")
_SOMETHING = ("is it something", "is it something is", "is it one")
_OPENINGS: dict[str, tuple[str, ...]] = {
    "is": ("is it", "it is", "can it be", "does it count as", "can you say it is", "can you call it", *_SOMETHING),
    "guess": ("", "guess is", "you guess it is", "you think it is", "you guess", "is it called", "is it named"),
    "whole": ("",),
    "does": (
        *("does it", "can it", "it can", "is it able to", "is it known to", "is it something can"),
        *("is it something", "is it something does", "is it animal can", "is it one"),
    ),
    "has": (
        *("does it have", "has it", "has it got", "it has", "does it come with", "can it have", "is it something has"),
        *("is it something with", "does it got", "is it equipped with", "does it possess"),
    ),
    "you": (
        *("does you", "can you", "is it something you", "is it something you can", "is you able to", "you can"),
        *("does most you", "can most you", "is it something you does", "is it possible to"),
    ),
    "use": _with_prepositions(
        (
            *("is it used", "is it", "is it meant", "is it made", "is it designed", "is it something used"),
            *("does you use it", "can you use it", "can it be used", "is it useful"),
        ),
        ("to", "for"),
    ),
    "place": (
        *_with_prepositions(
            (
                *("is it found", "is it used", "is it kept", "is it located", "is it situated", "is it seen"),
                *("is it stored", "is it something found", "is it something used", "can it be found", "can it be"),
                *("does it live", "does it belong", "does it exist", "does it lie", "is it something you find"),
                *("does you find it", "can you find it", "does you use it", "can you use it", "does you keep it"),
                *("can you see it", "does you see it", "is it something you can find", "is it something you use"),
            ),
            (*_WHERE, ""),
        ),
        *_with_prepositions(("is it", "it is"), _WHERE),
    ),
    "made": (
        *_with_prepositions(("is it made", "is it built"), ("of", "out of", "from", "with")),
        "does it consist of",
    ),
}
_KINDS: dict[str, tuple[str, ...]] = {}
for _kind, _all in _OPENINGS.items():
    for _opening in _all:
        _KINDS[_opening] = (*_KINDS.get(_opening, ()), _kind)
_LONGEST_OPENING = max(len(opening.split()) for opening in _KINDS)


def _readings(line: str) -> Iterator[tuple[int, str, str]]:
    """How a plain question can be read: words of the opening (the most first), its kind, and what follows."""
    words = line.split(" ")
    for length in range(min(_LONGEST_OPENING, len(words) - 1), -1, -1):
        for kind in _KINDS.get(" ".join(words[:length]), ()):
            rest = words[length:]
            # "can you eat it" and "is it something you eat" differ only in where "it" stands
            yield length, kind, " ".join(word for word in rest if word != "it") if kind == "you" else " ".join(rest)


class Reader:
    """Understands questions about the items and attributes of a knowledge.

    Raises:
        InvalidData: two attributes or items are asked for by the same words.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self._meanings: dict[tuple[str, str], Meaning] = {}
        self._canonical: dict[str, Meaning] = {}
        for column, attribute in enumerate(knowledge.attributes):
            self._canonical[attribute.question] = AsksWhether(column)
            for question in attribute.questions:
                self._learn_question(question, AsksWhether(column))
            for question in attribute.opposites:
                self._learn_question(question, AsksWhether(column, opposite=True))
        for row, item in enumerate(knowledge.items):
            self._canonical[item.question] = Guesses(row)
            for name in item.names:
                words = plain(name) or name
                self._learn("is", words, Guesses(row), name)
                self._learn("guess", words, Guesses(row), name)

    def read(self, question: str) -> Meaning | None:
        """What `question` asks, or None if it is not understood."""
        meaning = self._canonical.get(question)
        if meaning is not None:
            return meaning
        line = plain(question)
        if line is None:
            return None
        for _, kind, words in _readings(line):
            meaning = self._meanings.get((kind, words))
            if meaning is not None:
                return meaning
        return None

    def _learn_question(self, question: str, meaning: Meaning) -> None:
        line = plain(question)
        if line is None:
            raise InvalidData(f"the question {question!r} can't be understood itself: it is too long or denies")
        readings = list(_readings(line))
        for length, kind, words in readings:
            if length == readings[0][0] and kind != "guess":
                self._learn(kind, words, meaning, question)

    def _learn(self, kind: str, words: str, meaning: Meaning, source: str) -> None:
        before = self._meanings.setdefault((kind, words), meaning)
        if before != meaning:
            raise InvalidData(f'"{source}" is asked by the words "{words}" ({kind}), which mean {before} already')
