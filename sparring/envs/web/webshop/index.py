"""BM25 over a memory-mapped inverted index, with the original's exact order (WEBSHOP_SPEC.md, section 8).

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), as Lucene 8 computes it:
k1 = 0.9, b = 0.4, no (k1 + 1) factor, document lengths through a one-byte lossy code, float32 for each term, double
precision for their sum. Term scores depend only on (term frequency, length code), so a posting is a document number
and the rank of such a pair, the best-scoring pair first.

Documents are numbered so that products of one kind are neighbours, and each term stores the best pair it has in every
block of documents. A large search scores blocks in the order of what they could hold at best, and stops when no block
left could change the result: Ding and Suel, "Faster top-k document retrieval using block-max indexes", SIGIR 2011,
with whole blocks in place of single documents, which is what suits numpy.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

K1 = np.float32(0.9)
B = np.float32(0.4)
BLOCK_DOCUMENTS = 512
_DENSE_DOCUMENTS = 20_000  # below this many documents, scoring all of them is faster than choosing blocks
_FIRST_BLOCKS, _MOST_BLOCKS = 16, 256  # blocks scored at once: few at first, in the hope that they suffice
_TERMS_KEPT = 1 << 14
_SLACK = 1e-5  # margin on score bounds, far above float32 rounding, so that no hit is lost

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
    """Where a term's postings and its entries in the table of blocks lie, and its idf."""

    start: int
    end: int
    first_block: int
    last_block: int
    idf: np.float32


class _Weighted(NamedTuple):
    """A query term: its postings and what it weighs."""

    postings: _Postings
    weight: np.float32


class Index:
    """An opened index: finds the best documents for a bag of terms. Safe to use from several threads.

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
        self._first_blocks = arrays["term_blocks"].data
        self._block_ids = arrays["block_ids"]
        self._block_best = arrays["block_best"]
        self._block_starts = arrays["block_starts"]
        self._docs = arrays["posting_docs"]
        self._pairs = arrays["posting_pairs"]
        self._tie_ranks = arrays["tie_ranks"]
        factors = length_factors(np.float32(total_tokens / max(filled_documents, 1)))
        self._divisors: npt.NDArray[np.float32] = np.float32(1) + arrays["pair_tf"] * factors[arrays["pair_code"]]
        self._postings = lru_cache(maxsize=_TERMS_KEPT)(self._look_up)

    def search(self, terms: Sequence[str], limit: int = 50) -> tuple[Array, Array]:
        """The numbers of the best documents and their scores: score descending, ties by ASIN.

        Args:
            terms: analysed query terms; a repeated term weighs as often as it occurs. limit: at most this many.
        """
        weighted = []
        for term, count in Counter(terms).items():
            postings = self._postings(term)
            if postings is not None:
                weighted.append(_Weighted(postings, np.float32(count) * postings.idf))
        if not weighted:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        score = self._score_all if self.documents <= _DENSE_DOCUMENTS else self._score_blocks
        docs, sums = score(weighted, limit)
        singles = sums.astype(np.float32)
        order = np.lexsort((self._tie_ranks[docs], -singles))[:limit]
        return docs[order], singles[order]

    def _look_up(self, term: str) -> _Postings | None:
        """A term's postings, None if no document holds it."""
        key = term_key(term)
        place = bisect.bisect_left(self._keys, key)
        if place == len(self._keys) or self._keys[place] != key:
            return None
        start, end = self._starts[place], self._starts[place + 1]
        idf = np.float32(math.log(1 + (self._filled - (end - start) + 0.5) / (end - start + 0.5)))
        return _Postings(start, end, self._first_blocks[place], self._first_blocks[place + 1], idf)

    def _score_all(self, weighted: Sequence[_Weighted], limit: int) -> tuple[Array, Array]:
        stretches = [slice(one.postings.start, one.postings.end) for one in weighted]
        weights = np.repeat([one.weight for one in weighted], [one.stop - one.start for one in stretches])
        pairs = np.concatenate([self._pairs[stretch] for stretch in stretches])
        docs = np.concatenate([self._docs[stretch] for stretch in stretches])
        sums = np.bincount(docs, weights - weights / self._divisors[pairs])  # adds up in double precision
        found = np.flatnonzero(sums)
        return _keep_best(found, sums[found], limit)

    def _score_blocks(self, weighted: Sequence[_Weighted], limit: int) -> tuple[Array, Array]:
        bounds = np.zeros(-(-self.documents // BLOCK_DOCUMENTS))  # [blocks] the most that a document there could score
        for (_, _, first, last, _), weight in weighted:
            bounds[self._block_ids[first:last]] += weight - weight / self._divisors[self._block_best[first:last]]
        order = np.argsort(-bounds)
        docs, sums = np.zeros(0, np.int64), np.zeros(0)
        threshold = _SLACK  # a score that `limit` documents are known to reach
        done, size = 0, _FIRST_BLOCKS
        while done < len(order):
            batch = np.sort(order[done : done + size])
            batch = batch[bounds[batch] >= threshold - _SLACK]
            if not len(batch) or not bounds[batch].any():
                break
            more_docs, more_sums = self._score_batch(weighted, batch, threshold - _SLACK)
            docs, sums = _keep_best(np.concatenate([docs, more_docs]), np.concatenate([sums, more_sums]), limit)
            if len(sums) >= limit:
                threshold = max(threshold, float(sums.min()))
            done, size = done + size, min(2 * size, _MOST_BLOCKS)
        return docs, sums

    def _score_batch(self, weighted: Sequence[_Weighted], batch: Array, needed: float) -> tuple[Array, Array]:
        """Documents of these blocks (in ascending order) that score at least `needed`, and their scores."""
        slots, starts, sizes, weights = [], [], [], []
        for (_, _, first, last, _), weight in weighted:
            ids = self._block_ids[first:last]
            at = np.searchsorted(ids, batch)
            at[at == len(ids)] = 0
            slot = np.flatnonzero(ids[at] == batch)
            entry = at[slot] + first
            slots.append(slot)
            starts.append(self._block_starts[entry])
            sizes.append(self._block_starts[entry + 1] - starts[-1])
            weights.append(np.full(len(slot), weight))
        size = np.concatenate(sizes)
        before = np.cumsum(size) - size
        where = np.arange(int(size.sum())) + np.repeat(np.concatenate(starts) - before, size)
        slot = np.concatenate(slots)
        weight_of = np.repeat(np.concatenate(weights), size)
        shift = np.repeat((slot - batch[slot]) * BLOCK_DOCUMENTS, size)
        sums = np.bincount(self._docs[where] + shift, weight_of - weight_of / self._divisors[self._pairs[where]])
        good = np.flatnonzero(sums >= max(needed, _SLACK))
        return good + (batch[good // BLOCK_DOCUMENTS] - good // BLOCK_DOCUMENTS) * BLOCK_DOCUMENTS, sums[good]


def _keep_best(docs: Array, sums: Array, limit: int) -> tuple[Array, Array]:
    """Drop what cannot be among the best `limit`; ties at the border stay, for the exact order to decide."""
    if len(docs) <= limit:
        return docs, sums
    singles = sums.astype(np.float32)
    border = np.partition(singles, len(singles) - limit)[len(singles) - limit]
    keep = singles >= border
    return docs[keep], sums[keep]
