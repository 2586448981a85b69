"""What is compared, and with what: one comparison, and the catalogue under test."""

from __future__ import annotations

import hashlib
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

    def owns(self, label: object, asins: set[str]) -> bool:
        """Whether an entry was recorded on this catalogue: by its products where it names any, else by its label."""
        if asins:
            return any(self.catalogue.row_of(asin) is not None for asin in asins)
        if self.dataset is None:
            return label != _EDGE
        return label is None or label == self.dataset
