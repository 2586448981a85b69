"""Telling whether two saved states of an environment are equal, by a hash of all that they hold.

What can't be looked into (an open file, a lambda) is equal to nothing, not even to itself: then places stay apart that
might be one, and none become one that differ.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

from sparring.types import Snapshot

_ATOMS = (str, int, float, complex, bool, bytes, bytearray, type(None), type(...))
_unlike_any = itertools.count()


def fingerprint(saved: Snapshot) -> bytes:
    """A hash of a snapshot's state: equal for equal states, wrappers' counters and random generators included."""
    walk = _Walk()
    try:
        walk.feed(saved.state)
    except RecursionError:  # deeper than can be followed
        walk.unlike_any()
    return walk.digest.digest()


class _Walk:
    """One walk through a state.

    Things that can be changed are fed once and then named by their number, so that a ring of them has an end. All that
    was met is held until the walk is over: a number of something that is gone could be given anew.
    """

    def __init__(self) -> None:
        self.digest = hashlib.blake2b(digest_size=16)
        self._met: dict[int, tuple[int, Any]] = {}

    def feed(self, value: Any) -> None:
        """Add a value."""
        kind = type(value)
        self._say(f"{kind.__module__}.{kind.__qualname__}")
        if kind in _ATOMS:
            self._say(repr(value))
        elif isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.dtype.hasobject):
            self._say(f"{value.dtype.str} {value.shape}")
            self.digest.update(value.tobytes())
        elif kind in (tuple, frozenset):
            self._contents(value)
        elif isinstance(value, (type, FunctionType, BuiltinFunctionType, ModuleType, Enum)):
            self._named(value)
        elif is_dataclass(value) and getattr(kind, "__dataclass_params__").frozen:  # noqa: B009 - typeshed hides it
            self._all(getattr(value, one.name) for one in fields(value))
        elif id(value) in self._met:
            self._say(f"as {self._met[id(value)][0]}")
        else:
            self._met[id(value)] = len(self._met), value
            if kind in (list, dict, set):
                self._contents(value)
            else:
                self._parts(value)

    def _say(self, text: str) -> None:
        said = text.encode("utf-8", "surrogatepass")
        self.digest.update(f"{len(said)}:".encode() + said)

    def _all(self, values: Iterable[Any]) -> None:
        for value in values:
            self.feed(value)

    def _contents(self, value: Any) -> None:
        self._say(str(len(value)))
        if isinstance(value, Mapping):
            for key, one in sorted(value.items(), key=lambda item: repr(item[0])):
                self.feed(key)
                self.feed(one)
        else:
            self._all(sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value)

    def _named(self, value: Any) -> None:
        """What is the same wherever it is found by its name."""
        if isinstance(value, Enum):
            self._say(value.name)
        elif isinstance(value, FunctionType) and (value.__closure__ or "<" in value.__qualname__):
            self.unlike_any()
        else:
            owner = getattr(value, "__self__", None)
            self._say(f"{getattr(value, '__module__', '')} {getattr(value, '__qualname__', value.__name__)}")
            if owner is not None and not isinstance(owner, ModuleType):
                self.feed(owner)

    def _parts(self, value: Any) -> None:
        """Any other object, as it tells `copy` and `pickle` what it is made of."""
        try:
            made = value.__reduce_ex__(4)
        except Exception:
            made = None
        if made is None:
            self.unlike_any()
        elif isinstance(made, str):
            self._say(made)
        else:
            function, arguments, state, items, pairs = (*made, *[None] * 5)[:5]
            for part in (function, arguments, state, None if items is None else list(items)):
                self.feed(part)
            self.feed(None if pairs is None else list(pairs))

    def unlike_any(self) -> None:
        """Make the hash unlike any other."""
        self._say(f"unlike any other, {next(_unlike_any)}")
