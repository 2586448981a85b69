"""Which words of a text are words of an instruction: what a person sees at a glance."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from sparring.envs.web.webshop.analysis import analyse

_EDGES = re.compile(r"^[^\w<$#%&+]+|[^\w%+]+$")


@lru_cache(maxsize=4096)
def words_of(text: str) -> tuple[str, ...]:
    """The distinct words of a text in order: lower case, without punctuation at their ends and without brackets."""
    words = (_EDGES.sub("", word) for word in re.sub(r"[\[\]<>]", " ", text.lower()).split())
    return tuple(dict.fromkeys(word for word in words if word))


@lru_cache(maxsize=4096)
def stems_of(text: str) -> frozenset[str]:
    """The stems of a text's words, as search compares them (stop words left out)."""
    return frozenset(analyse(text))


def shared_words(text: str, instruction: str) -> int:
    """How many different words of `text` the instruction contains, compared by stem."""
    return len(stems_of(text) & stems_of(instruction))


def asked_for(values: Iterable[str], instruction: str) -> frozenset[str]:
    """The option values that an instruction names as whole words.

    A value that is part of another one named there does not count: "blue" beside "navy blue".
    """
    told = instruction.lower()
    found = [value for value in values if names(told, value)]
    return frozenset(value for value in found if not any(value != other and names(other, value) for other in found))


def names(text: str, value: str) -> bool:
    """Whether `value` stands in `text` by itself, not as part of a longer word or number."""
    return re.search(rf"(?<![\w.-]){re.escape(value)}(?![\w-]|\.\d)", text) is not None
