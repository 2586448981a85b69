"""What is true of what: items, yes-no attributes, and a table of which holds for which.

Two TOML files hold it. One gives each attribute its questions, the canonical one first:

    flies = ["Can it fly?", "Is it capable of flying?"]

The other gives items in groups, each by its noun phrase and other names, with the attributes that hold for it:

    [birds]
    all = "animal bird wings flies"
    "an owl" = "night"
    "a penguin" = "water -flies"
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparring.errors import InvalidConfig, InvalidData, unknown

_ARTICLES = ("a ", "an ", "the ")
_SPLIT_OF_FIVE = ("train", "train", "train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """Something to be guessed: `phrase` is "an owl", `names` its bare names ("owl" first), `group` its table.

    Of each five in a row in the file three are for training, one for development, one for test (`split`), so that
    every larger group has some in each, and a smaller world keeps the splits of the whole.
    """

    phrase: str
    names: tuple[str, ...]
    group: str
    split: str

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def question(self) -> str:
        """The canonical guess."""
        return f"Is it {self.phrase}?"


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something that holds or does not: `questions` ask whether it does, `opposites` whether it does not."""

    key: str
    questions: tuple[str, ...]
    opposites: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        """The canonical question."""
        return self.questions[0]

    @property
    def label(self) -> str:
        """Its name in a summary."""
        return self.key.replace("_", " ")


@dataclass(frozen=True, eq=False, slots=True)
class Knowledge:
    """Items, attributes, and `truth[item, attribute]`, a read-only boolean table."""

    items: tuple[Item, ...]
    attributes: tuple[Attribute, ...]
    truth: npt.NDArray[np.bool_]

    def facts(self, name: str) -> set[str]:
        """The keys of the attributes that hold for the item called `name`.

        Raises:
            UnknownName: no item has this name.
        """
        names = [item.name for item in self.items]
        if name not in names:
            raise unknown("item", name, names)
        return {
            attribute.key
            for attribute, holds in zip(self.attributes, self.truth[names.index(name)], strict=True)
            if holds
        }

    def twins(self) -> list[tuple[str, str]]:
        """Pairs of items that no attribute tells apart."""
        first: dict[bytes, str] = {}
        pairs = []
        for item, row in zip(self.items, self.truth, strict=True):
            before = first.setdefault(row.tobytes(), item.name)
            if before != item.name:
                pairs.append((before, item.name))
        return pairs

    def subset(self, items: int | None, attributes: int | None) -> Knowledge:
        """A smaller world of the same kind.

        A fifth of the items comes from the development split, a fifth from the test split, the rest from the training
        split; of each split they are taken in turn from each group, in the order of the table. Attributes are then
        chosen one at a time so that each tells apart as many pairs as possible that those before it do not; of
        equals the one that holds for the nearest to half of the items.

        Raises:
            InvalidConfig: more than there are, fewer than five items, or too few attributes to tell all items apart.
        """
        for count, have, least, what in (
            (items, self.items, 5, "items"),
            (attributes, self.attributes, 1, "attributes"),
        ):
            if count is not None and not least <= count <= len(have):
                raise InvalidConfig(f"expected from {least} to {len(have)} {what}, got {count}")
        rows = list(range(len(self.items))) if items is None else _share(self.items, items)
        kept = tuple(self.items[row] for row in sorted(rows))
        truth = self.truth[sorted(rows)]
        columns = list(range(len(self.attributes))) if attributes is None else _most_telling(truth, attributes)
        small = _knowledge(kept, tuple(self.attributes[column] for column in columns), truth[:, columns])
        twins = small.twins()
        if twins:
            raise InvalidConfig(
                f"{len(columns)} attributes can't tell {len(kept)} items apart ({twins[0][0]} from {twins[0][1]}, for "
                "example): take more attributes or fewer items"
            )
        return small


def _share(items: Sequence[Item], count: int) -> list[int]:
    """Numbers of `count` rows, the splits' shares kept."""
    held_out = count // 5
    shares = {"train": count - 2 * held_out, "dev": held_out, "test": held_out}
    return [row for split, share in shares.items() for row in _in_turn(items, split)[:share]]


def _in_turn(items: Sequence[Item], split: str) -> list[int]:
    """A split's rows: the first of each group, then the second of each, and so on."""
    rank: dict[str, int] = {}
    order = []
    for row, item in enumerate(items):
        if item.split == split:
            rank[item.group] = rank.get(item.group, -1) + 1
            order.append((rank[item.group], row))
    return [row for _, row in sorted(order)]


def _most_telling(truth: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Column numbers, in the table's order, chosen greedily to tell the rows apart."""
    alike = np.zeros(len(truth), dtype=np.int64)  # rows with the same number are not told apart yet
    imbalance = np.abs(truth.mean(axis=0) - 0.5)
    left = list(range(truth.shape[1]))
    for _ in range(count):
        best = min(left, key=lambda column: (_pairs(2 * alike + truth[:, column]), imbalance[column], column))
        left.remove(best)
        alike = np.unique(2 * alike + truth[:, best], return_inverse=True)[1]
    return [column for column in range(truth.shape[1]) if column not in left]


def _pairs(numbers: npt.NDArray[np.int64]) -> int:
    """How many ordered pairs of rows have equal numbers."""
    sizes = np.bincount(numbers)
    return int((sizes * (sizes - 1)).sum())


def _knowledge(items: tuple[Item, ...], attributes: tuple[Attribute, ...], truth: npt.NDArray[np.bool_]) -> Knowledge:
    truth = np.ascontiguousarray(truth)
    truth.setflags(write=False)
    return Knowledge(items, attributes, truth)


@cache
def load_knowledge(items: Path, attributes: Path) -> Knowledge:
    """Read both files; a second call returns the same object.

    Raises:
        InvalidData: a file that can't be read, an item given twice, an attribute that is not defined or is given or
            taken away in vain, or two items that no attribute tells apart.
    """
    asked = tuple(_attribute(key, questions) for key, questions in _read(attributes).items())
    column = {attribute.key: number for number, attribute in enumerate(asked)}
    found: list[Item] = []
    rows: list[set[str]] = []
    for group, entries in _read(items).items():
        shared = _keys(entries.get("all", ""), set(), column, f"{group}.all")
        for names, keys in entries.items():
            if names != "all":
                found.append(_item(names, group, _SPLIT_OF_FIVE[len(found) % 5]))
                rows.append(_keys(keys, shared, column, names))
    truth = np.zeros((len(found), len(asked)), dtype=np.bool_)
    for number, held in enumerate(rows):
        truth[number, [column[key] for key in held]] = True
    known = _knowledge(tuple(found), asked, truth)
    named = Counter(item.name for item in found)
    if known.twins() or len(named) < len(found):
        repeated = [name for name, count in named.items() if count > 1]
        raise InvalidData(f"{items}: given twice: {repeated}; told apart by no attribute: {known.twins()}")
    return known


def _read(path: Path) -> Mapping[str, Mapping[str, str]]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidData(f"{path} can't be read as TOML: {error}") from error


def _attribute(key: str, questions: Iterable[str]) -> Attribute:
    asked = tuple(questions)
    positive = tuple(one for one in asked if not one.startswith("!"))
    return Attribute(key, positive, tuple(one[1:] for one in asked if one.startswith("!")))


def _item(names: str, group: str, split: str) -> Item:
    phrase, *others = (name.strip() for name in names.split("|"))
    article = next((one for one in _ARTICLES if phrase.startswith(one)), "")
    return Item(phrase, (phrase[len(article) :], *others), group, split)


def _keys(text: str, shared: set[str], known: Mapping[str, int], where: str) -> set[str]:
    held = set(shared)
    for word in text.split():
        key = word.removeprefix("-")
        if key not in known:
            raise InvalidData(f"{where}: no attribute {key!r} is defined")
        if (key in held) != word.startswith("-"):
            raise InvalidData(f"{where}: {word!r} changes nothing; leave it out")
        held ^= {key}
    return held
