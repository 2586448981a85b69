"""States are one where all that they hold is equal, and never otherwise."""

from __future__ import annotations

import copy
import enum
import random
from collections import OrderedDict, defaultdict, deque

import numpy as np
import pytest

from sparring.search.fingerprint import fingerprint
from sparring.types import Snapshot, SnapshotKind


def of(state):
    return fingerprint(Snapshot("World", SnapshotKind.COPY, state))


class Colour(enum.Enum):
    RED = 0
    BLUE = 1


class Thing:
    def __init__(self, number):
        self.number, self.me = number, self


class Slotted:
    __slots__ = ("number",)

    def __init__(self, number):
        self.number = number


class NamedDict(dict):
    pass


def named_dict(number):
    made = NamedDict(a=1)
    made.number = number
    return made


STATES = {
    "texts": lambda one: ("ab", "c") if one else ("a", "bc"),
    "numbers and truths": lambda one: [1, True][one],
    "lists": lambda one: [[], [one]],
    "lists of one length": lambda one: [["a", "b"], ["ab"]][one],
    "dicts": lambda one: {"a": {"b": (one, None)}},
    "sets": lambda one: {"a", "b", one},
    "kinds of arrays": lambda one: np.zeros(2, (np.int32, np.int64)[one]),
    "shapes of arrays": lambda one: np.zeros(((2, 3), (3, 2))[one]),
    "arrays of objects": lambda one: np.array([one, "x", None], dtype=object),
    "generators": lambda one: np.random.default_rng(one),
    "generators of Python": lambda one: random.Random(one),
    "deques": lambda one: deque([one]),
    "ordered dicts": lambda one: OrderedDict(a=one),
    "default dicts": lambda one: defaultdict(int, a=one),
    "members of enumerations": lambda one: {"colour": list(Colour)[one]},
    "objects in rings": Thing,
    "objects with slots": Slotted,
    "attributes of dicts": named_dict,
    "functions": lambda one: [len, sum][one],
    "methods": lambda one: [[], [1]][one].append,
    "half characters": lambda one: "\ud800" * one,
}


@pytest.mark.parametrize("name", STATES)
def test_states_are_told_apart(name):
    make = STATES[name]
    assert of(make(0)) == of(make(0)) == of(copy.deepcopy(make(0)))
    assert of(make(0)) != of(make(1))


def test_what_can_t_be_looked_into_is_equal_to_nothing():
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    for thing in (lambda: 1, (number for number in range(3)), deep):
        assert of(thing) != of(thing)
