"""Recorded searches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sparring.envs.web.webshop.analysis import analyse
from sparring.envs.web.webshop.catalogue import Catalogue
from sparring.envs.web.webshop.products import document_text
from sparring.envs.web.webshop.recordings.subject import OTHER_DATA, Check, Result, Subject, data_set_named

_SCORE_DIGITS = 4  # recorded scores are rounded to this


def check_search(data: Mapping[str, Mapping[str, Any]], subject: Subject) -> Iterator[Result]:
    """Analysed tokens, hits, scores, document lengths and frequencies, by data set."""
    catalogue = subject.catalogue
    for name, entry in data.items():
        asins = set(entry.get("doc_lengths", ())) | {asin for query in entry["queries"] for asin in query["ids"][:1]}
        if not subject.owns(entry.get("dataset", data_set_named(name)), asins):
            yield from (OTHER_DATA for _ in entry["queries"])
            continue
        counts = catalogue.manifest["index"]
        if "n_docs" in entry:
            yield Check.equal(f"{name}: documents", entry["n_docs"], counts["documents"])
        if "avgdl" in entry:
            average = float(np.float32(counts["total_tokens"] / counts["filled_documents"]))
            yield Check.equal(f"{name}: average length", entry["avgdl"], average)
        for query in entry["queries"]:
            yield _check_query(name, query, catalogue)
        if "doc_lengths" in entry or "term_df" in entry:
            yield from _check_documents(name, entry, catalogue)


def _check_query(name: str, query: Mapping[str, Any], catalogue: Catalogue) -> Check:
    text = query["query"]
    if isinstance(text, dict):
        text = catalogue.find(text["search_title"]).name.strip().lower()
    terms = analyse(text)
    numbers, found = catalogue.index.search(terms)
    ids = [catalogue.product(row).asin for row in catalogue.document_rows[numbers].tolist()]
    scores = [round(score, _SCORE_DIGITS) for score in found.tolist()][: len(query.get("scores", ()))]
    expected = [query.get("tokens", terms), query["ids"], query.get("scores", [])]
    near = len(scores) == len(expected[2]) and np.allclose(scores, expected[2], rtol=0, atol=1.5 * 10**-_SCORE_DIGITS)
    same = bool(near) and expected[:2] == [terms, ids]
    return Check(f"{name}: search {text!r:.80} (terms, ids, scores)", expected, [terms, ids, scores], same)


def _check_documents(name: str, entry: Mapping[str, Any], catalogue: Catalogue) -> Iterator[Check]:
    lengths: dict[str, int] = {}
    frequencies: Counter[str] = Counter()
    for row in range(len(catalogue)):
        product = catalogue.product(row)
        terms = analyse(document_text(product))
        lengths[product.asin] = len(terms)
        frequencies.update(set(terms))
    for asin, length in entry.get("doc_lengths", {}).items():
        yield Check.equal(f"{name}: length of {asin}", length, lengths.get(asin))
    for term, frequency in entry.get("term_df", {}).items():
        yield Check.equal(f"{name}: documents with {term!r}", frequency, frequencies[term])
