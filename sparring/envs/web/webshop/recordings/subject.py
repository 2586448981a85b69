"""What is compared, and with what: one comparison, and the catalogue under test."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sparring.envs.web.webshop.catalogue import Catalogue
from sparring.envs.web.webshop.goals import GoalBook
from sparring.envs.web.webshop.session import Shop

_HASH_DIGITS = 16
_EDGE = "edge"


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: what was compared, what the original gave, what we give."""

    what: str
    expected: object
    got: object
    same: bool

    @staticmethod
    def equal(what: str, expected: object, got: object) -> Check:
        """A comparison by equality."""
        return Check(what, expected, got, bool(expected == got))


class OtherData:
    """The entry belongs to another catalogue."""


OTHER_DATA = OtherData()
Result = Check | OtherData


def short_hash(text: str) -> str:
    """The first 16 hex digits of the SHA-256 of a text, as the hashed formats give it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]


def data_set_named(name: str) -> str | None:
    """The data set that an entry's name tells of (`edge/human=False`, `real1k_goals`), None if it tells of none."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    known = [word for word in words if word == _EDGE or re.fullmatch(r"real(\d+k)?", word)]
    if known:
        return known[0]
    return name.split("/")[0] if "/" in name else None


class Subject:
    """The catalogue under test, with goal books and shops made when first needed.

    Args:
        catalogue: compiled from the files that the vectors were recorded on.
        dataset: the vectors' name for it. None to tell by its ASINs: the original's awkward products, whose ASINs
            begin alike, are "edge", and any other catalogue answers to every other name.
    """

    def __init__(self, catalogue: Catalogue, dataset: str | None = None) -> None:
        self.catalogue = catalogue
        self.dataset = dataset or (_EDGE if catalogue.product(0).asin.startswith("B0EDGE") else None)
        self._shops: dict[tuple[bool, int, bool], Shop] = {}

    def shop(self, human: bool, seed: int = 0, show_attrs: bool = False) -> Shop:
        """The shop with these goals."""
        key = (human, seed, show_attrs)
        if key not in self._shops:
            book = GoalBook(self.catalogue, "human" if human else "synthetic", seed)
            self._shops[key] = Shop(book, show_attrs)
        return self._shops[key]

    def owned(self, entries: Sequence[tuple[object, set[str]]]) -> list[bool]:
        """For each entry's label and ASINs, whether it was recorded on this catalogue.

        Entries of one label go together, so that one that names a product we should have and lack is ours too.
        """
        together: dict[object, set[str]] = {}
        for label, asins in entries:
            together[label] = together.get(label, set()) | asins
        whole = {label: self.owns(label, asins) for label, asins in together.items() if label is not None}
        return [whole[label] if label is not None else self.owns(None, asins or together[None])
                for label, asins in entries]  # fmt: skip

    def owns(self, label: object, asins: set[str]) -> bool:
        """Whether an entry was recorded on this catalogue: by its products where it names any, else by its label."""
        if asins:
            return any(self.catalogue.row_of(asin) is not None for asin in asins)
        if self.dataset is None:
            return label != _EDGE
        return label is None or label == self.dataset
