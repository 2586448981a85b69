"""Where the nouns of titles come from: spaCy, a file, or a function."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparring.envs.web.webshop.products import Product
from sparring.errors import InvalidData, MissingExtra, need

MODEL = "en_core_web_sm"

NounsOf = Callable[[Sequence[Product]], list[tuple[str, ...]]]


def spacy_nouns() -> NounsOf:
    """Tag titles with spaCy: lower-cased tokens whose part of speech is NOUN or PROPN.

    Raises:
        MissingExtra: spaCy or its model is not installed.
    """
    spacy = need("spacy", "spacy")
    try:
        tagger = spacy.load(MODEL, exclude=["parser", "ner", "lemmatizer"])
    except OSError as error:
        raise MissingExtra(
            f'the spaCy model "{MODEL}" is needed to tag titles: python -m spacy download {MODEL} '
            f"(or pass --nouns FILE with nouns tagged elsewhere) ({error})"
        ) from error

    def tag(products: Sequence[Product]) -> list[tuple[str, ...]]:
        parsed = tagger.pipe(product.name for product in products)
        return [tuple(token.text.lower() for token in title if token.pos_ in ("NOUN", "PROPN")) for title in parsed]

    return tag


def listed_nouns(table: Mapping[str, Any], source: str = "the table of nouns") -> NounsOf:
    """Look nouns up by ASIN or title.

    Args:
        table: {ASIN or title: [noun, …]}, or a mapping of such tables by data set, which are searched in order.
        source: its name in error messages.
    """
    nested = bool(table) and all(isinstance(value, Mapping) for value in table.values())
    tables: list[Mapping[str, Sequence[str]]] = list(table.values()) if nested else [table]

    def find(product: Product) -> tuple[str, ...]:
        for key in (product.asin, product.name):
            for one in tables:
                if key in one:
                    return tuple(one[key])
        raise InvalidData(
            f'{source} has no nouns for {product.asin} ("{product.name[:60]}"); '
            "add them under its ASIN or title, or tag titles with spaCy"
        )

    return lambda products: [find(product) for product in products]


def noun_source(nouns: Mapping[str, Any] | Callable[[str], Sequence[str]] | Path | None) -> NounsOf:
    """The noun source that a caller named.

    Args:
        nouns: a table (see `listed_nouns`) or the JSON file of one; a function from a title to its nouns; None for
            spaCy.
    """
    if nouns is None:
        return spacy_nouns()
    if isinstance(nouns, Path):
        return listed_nouns(json.loads(nouns.read_text(encoding="utf-8")), str(nouns))
    if isinstance(nouns, Mapping):
        return listed_nouns(nouns)
    return lambda products: [tuple(nouns(product.name)) for product in products]
