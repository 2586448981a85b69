"""BM25 over a memory-mapped inverted index, with the original's exact order (WEBSHOP_SPEC.md, section 8).

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), as Lucene 8 computes it:
k1 = 0.9, b = 0.4, no (k1 + 1) factor, document lengths through a one-byte lossy code, float32 throughout.
Documents are numbered in the order of their ASINs, so that "ties by ASIN" is "ties by document number".

Term scores depend only on (term frequency, length code), so a posting is a document number and the number of
such a pair. Large queries are pruned as in MaxScore (Turtle and Flood, "Query evaluation", IP&M 31(6), 1995):
once the terms still to come cannot lift a new document into the top, only known candidates are looked up.
"""

from __future__ import annotations

import bisect
import hashlib
import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

K1 = np.float32(0.9)
B = np.float32(0.4)
_DENSE_DOCUMENTS = 20_000  # below this many documents, scoring all of them is faster than pruning
_TERMS_KEPT = 1 << 14
_SLACK = 1e-5  # margin on score bounds, far above float32 rounding, so that pruning never loses a hit

Array = npt.NDArray[Any]


def encode_length(length: int) -> int:
    """Lucene's one-byte code of a document length: exact below 40, then a 4-bit mantissa, rounded down."""
    if length < 24:
        return length
    excess = length - 24
    shift = excess.bit_length() - 4
    return 24 + (excess if shift < 0 else (excess >> shift & 7) | (shift + 1) << 3)


def decode_length(code: int) -> int:
    """The length that a code stands for."""
    if code < 24:
        return code
    bits, shift = (code - 24) & 7, ((code - 24) >> 3) - 1
    return 24 + (bits if shift < 0 else (bits | 8) << shift)


def term_key(term: str) -> int:
    """The 64-bit key of a term in the dictionary."""
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def length_factors(average_length: np.float32) -> npt.NDArray[np.float32]:
    """The factor c of each length code: a term that occurs f times scores w - w / (1 + f * c)."""
    lengths = np.array([decode_length(code) for code in range(256)], dtype=np.float32)
    one = np.float32(1)
    factors: npt.NDArray[np.float32] = one / (K1 * ((one - B) + B * lengths / average_length))
    return factors


class _Postings(NamedTuple):
    """Where a term's postings lie, its idf, and the divisor of its best posting."""

    start: int
    end: int
    idf: np.float32
    best_divisor: np.float32


class _Weighted(NamedTuple):
    """A query term: the most it can add to a score, its weight, and where its postings lie."""

    bound: float
    weight: np.float32
    start: int
    end: int


class Index:
    """An opened index: finds the best documents for a bag of terms.

    Args:
        arrays: the arrays that `index_build.IndexBuilder.finish` wrote, by name.
        documents: number of documents. filled_documents: those with at least one term.
        total_tokens: over all documents.
    """

    def __init__(self, arrays: Mapping[str, Array], documents: int, filled_documents: int, total_tokens: int) -> None:
        self.documents = documents
        self._filled = filled_documents
        self._keys = arrays["term_keys"].data  # a memoryview's items are plain numbers, quickly had
        self._starts = arrays["posting_starts"].data
        self._best = arrays["term_best"]
        self._docs = arrays["posting_docs"]
        self._pairs = arrays["posting_pairs"]
        average = np.float32(total_tokens / max(filled_documents, 1))
        factors = length_factors(average)
        self._divisors: npt.NDArray[np.float32] = np.float32(1) + arrays["pair_tf"] * factors[arrays["pair_code"]]
        self._postings = lru_cache(maxsize=_TERMS_KEPT)(self._look_up)
        self._lock = threading.Lock()
        self._sums: npt.NDArray[np.float64] = np.zeros(documents)  # for pruned searches; all zero between them

    def search(self, terms: Sequence[str], limit: int = 50) -> tuple[Array, Array]:
        """The numbers of the best documents and their scores: score descending, then number ascending.

        Args:
            terms: analysed query terms; a repeated term weighs as often as it occurs. limit: at most this many.
        """
        weighted = self._weigh(Counter(terms))
        if not weighted:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if self.documents <= _DENSE_DOCUMENTS:
            docs, scores = self._score_all(weighted, limit)
        else:
            with self._lock:
                docs, scores = self._score_pruned(weighted, limit)
        singles = scores.astype(np.float32)
        order = np.argsort(-singles, kind="stable")[:limit]
        return docs[order], singles[order]

    def _look_up(self, term: str) -> _Postings | None:
        """A term's postings, None if no document holds it."""
        key = term_key(term)
        place = bisect.bisect_left(self._keys, key)
        if place == len(self._keys) or self._keys[place] != key:
            return None
        start, end = self._starts[place], self._starts[place + 1]
        idf = np.float32(math.log(1 + (self._filled - (end - start) + 0.5) / (end - start + 0.5)))
        return _Postings(start, end, idf, self._divisors[self._best[place]])

    def _weigh(self, counts: Mapping[str, int]) -> list[_Weighted]:
        """The known terms with their weights, the one that can score highest first."""
        weighted = []
        for term, count in counts.items():
            postings = self._postings(term)
            if postings is not None:
                weight = np.float32(count) * postings.idf
                bound = float(weight - weight / postings.best_divisor)
                weighted.append(_Weighted(bound, weight, postings.start, postings.end))
        weighted.sort(key=lambda one: (-one.bound, one.start))
        return weighted

    def _score_all(self, weighted: Sequence[_Weighted], limit: int) -> tuple[Array, Array]:
        stretches = [slice(one.start, one.end) for one in weighted]
        weights = np.repeat([one.weight for one in weighted], [one.end - one.start for one in weighted])
        pairs = np.concatenate([self._pairs[stretch] for stretch in stretches])
        docs = np.concatenate([self._docs[stretch] for stretch in stretches])
        sums = np.bincount(docs, weights - weights / self._divisors[pairs])  # adds up in double precision
        found = np.flatnonzero(sums)
        return _keep_best(found, sums[found], limit)

    def _term_scores(self, weight: np.float32, pairs: Array) -> npt.NDArray[np.float32]:
        """The scores of one term for postings with these pairs."""
        if len(pairs) > len(self._divisors):
            scores: npt.NDArray[np.float32] = (weight - weight / self._divisors)[pairs]
        else:
            scores = weight - weight / self._divisors[pairs]
        return scores

    def _score_pruned(self, weighted: Sequence[_Weighted], limit: int) -> tuple[Array, Array]:
        rest = [*np.cumsum([one.bound for one in weighted[::-1]])[::-1].tolist(), 0.0]
        sums = self._sums
        threshold = 0.0  # a score that `limit` documents are known to reach
        touched: list[Array] = []
        done = 0
        for done, (_, weight, start, end) in enumerate(weighted):
            if rest[done] < threshold - _SLACK:
                break
            docs = self._docs[start:end]
            values = sums[docs] + self._term_scores(weight, self._pairs[start:end])
            sums[docs] = values
            touched.append(docs)
            threshold = max(threshold, _nth_largest(values, limit))
        else:
            done = len(weighted)
        needed = threshold - rest[done] - _SLACK
        docs = np.unique(np.concatenate([part[sums[part] >= needed] for part in touched]))
        scores = sums[docs]
        for part in touched:
            sums[part] = 0
        for place in range(done, len(weighted)):
            term = weighted[place]
            postings = self._docs[term.start : term.end]
            at = np.minimum(np.searchsorted(postings, docs), len(postings) - 1)
            found = postings[at] == docs
            scores[found] += self._term_scores(term.weight, self._pairs[term.start : term.end][at[found]])
            threshold = max(threshold, _nth_largest(scores, limit))
            keep = scores >= threshold - rest[place + 1] - _SLACK
            docs, scores = docs[keep], scores[keep]
        return _keep_best(docs, scores, limit)


def _nth_largest(values: Array, limit: int) -> float:
    """The `limit`-th largest value, 0 where there are fewer."""
    if len(values) < limit:
        return 0.0
    return float(np.partition(values, len(values) - limit)[len(values) - limit])


def _keep_best(docs: Array, scores: Array, limit: int) -> tuple[Array, Array]:
    """Drop what cannot be among the best `limit`; ties at the border stay, for the exact order to decide."""
    if len(docs) <= limit:
        return docs, scores
    singles = scores.astype(np.float32)
    keep = singles >= np.float32(_nth_largest(singles, limit))
    return docs[keep], scores[keep]
