"""BM25 over a memory-mapped inverted index, with the original's exact order (docs/webshop.md, section 8).

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), as Lucene 8 computes it:
k1 = 0.9, b = 0.4, no (k1 + 1) factor, document lengths through a one-byte lossy code, float32 for each term, double
precision for their sum. Term scores depend only on (term frequency, length code), so a posting is a document number
and the rank of such a pair, the best-scoring pair first.

Documents are numbered so that products of one kind are neighbours, and each term stores the best pair it has in every
block of documents. A large search first scores the blocks that could hold most, which gives a score that the result
must reach. Then it takes the cheaper of two exact ways to find whatever else reaches it: the remaining blocks that
could (Ding and Suel, "Faster top-k document retrieval using block-max indexes", SIGIR 2011), or the documents of the
few terms without which no document could (MaxScore: Turtle and Flood, "Query evaluation", IP&M 31(6), 1995).
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
_BLOCK_SHIFT = 9
BLOCK_DOCUMENTS = 1 << _BLOCK_SHIFT
_DENSE_DOCUMENTS = 20_000  # below this many documents, scoring all of them is faster than choosing blocks
_FIRST_BLOCKS, _MOST_BLOCKS = 24, 256  # blocks scored first, and at once afterwards
_FEW_POSTINGS = 300_000  # as many postings of promising blocks are scored without looking for a cheaper way
_SEED_BLOCKS = 48
_SEED_POSTINGS, _SEEDS = 60_000, 256  # after how many postings the most promising documents are scored in full
_LOOK_UP_COST = 6  # of looking a document up in a term's postings, in postings added up
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
    """Where a term's postings and its entries in the table of blocks lie, its idf, and its best pair's divisor."""

    start: int
    end: int
    first_block: int
    last_block: int
    idf: np.float32
    best_divisor: np.float32

    @property
    def size(self) -> int:
        """Number of postings."""
        return self.end - self.start


class _Weighted(NamedTuple):
    """A query term: its postings and what it weighs."""

    postings: _Postings
    weight: np.float32

    @property
    def bound(self) -> float:
        """The most that the term adds to any document's score."""
        return float(self.weight - self.weight / self.postings.best_divisor)


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
        score = self._score_all if self.documents <= _DENSE_DOCUMENTS else self._score_pruned
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
        first, last = self._first_blocks[place], self._first_blocks[place + 1]
        return _Postings(start, end, first, last, idf, self._divisors[self._block_best[first:last].min()])

    def _score_all(self, weighted: Sequence[_Weighted], limit: int) -> tuple[Array, Array]:
        stretches = [slice(one.postings.start, one.postings.end) for one in weighted]
        weights = np.repeat([one.weight for one in weighted], [one.postings.size for one in weighted])
        pairs = np.concatenate([self._pairs[stretch] for stretch in stretches])
        docs = np.concatenate([self._docs[stretch] for stretch in stretches])
        sums = np.bincount(docs, weights - weights / self._divisors[pairs])  # adds up in double precision
        found = np.flatnonzero(sums)
        return _keep_best(found, sums[found], limit)

    def _score_pruned(self, weighted: Sequence[_Weighted], limit: int) -> tuple[Array, Array]:
        blocks = -(-self.documents // BLOCK_DOCUMENTS)
        bounds = np.zeros(blocks)  # the most that a document of each block could score
        sizes = np.zeros(blocks, np.int64)  # postings of the query's terms there
        for term in weighted:
            ids, most = self._block_bounds(term)
            bounds[ids] += most
            sizes[ids] += np.diff(self._block_starts[term.postings.first_block : term.postings.last_block + 1])
        first = np.sort(_largest(bounds, _FIRST_BLOCKS))
        docs, sums = self._score_batch(weighted, first, _SLACK)
        docs, sums = _keep_best(docs, sums, limit)
        needed = _reached(sums, limit)
        bounds[first] = 0
        left = np.flatnonzero(bounds >= needed)
        if int(sizes[left].sum()) > _FEW_POSTINGS:
            docs, sums = self._score_essential(weighted, blocks, needed, limit)
        else:
            for start in range(0, len(left), _MOST_BLOCKS):
                more = self._score_batch(weighted, left[start : start + _MOST_BLOCKS], needed)
                docs, sums = np.concatenate([docs, more[0]]), np.concatenate([sums, more[1]])
        return _keep_best(docs, sums, limit)

    def _block_bounds(self, term: _Weighted) -> tuple[Array, Array]:
        """The blocks that hold a term, and the most that it adds to a score in each."""
        entries = slice(term.postings.first_block, term.postings.last_block)
        return self._block_ids[entries], term.weight - term.weight / self._divisors[self._block_best[entries]]

    def _score_essential(
        self, weighted: Sequence[_Weighted], blocks: int, needed: float, limit: int
    ) -> tuple[Array, Array]:
        """Documents that score at least `needed`, found through the terms that can add most."""
        ordered = sorted(weighted, key=lambda one: -one.bound)
        rest = np.append(np.cumsum([one.bound for one in reversed(ordered)])[::-1], 0.0)
        table = np.zeros((blocks, BLOCK_DOCUMENTS))
        sums = table.ravel()  # the same numbers by document
        done = added = 0
        while done < len(ordered) and (added < _SEED_POSTINGS or rest[done] >= needed):
            seed = added < _SEED_POSTINGS <= added + ordered[done].postings.size
            self._add_term(sums, ordered[done])
            added += ordered[done].postings.size
            done += 1
            if seed:  # score the most promising documents in full: they raise what the result must reach
                docs = _best_documents(table, _SEEDS)
                needed = max(needed, _reached(self._complete(docs, sums[docs], ordered[done:]), limit))
        others = ordered[done:]  # a document with none but these falls short
        bounds = [self._block_bounds(term) for term in others]
        block_rest = np.zeros(blocks)  # the most that the terms still to come add in each block
        for ids, most in bounds:
            block_rest[ids] += most
        enough = np.maximum(needed - block_rest - _SLACK, _SLACK)
        promising = np.flatnonzero(table.max(axis=1) >= enough)
        where, offset = np.nonzero(table[promising] >= enough[promising, np.newaxis])
        docs = promising[where] * BLOCK_DOCUMENTS + offset
        for term, (ids, most) in zip(others, bounds, strict=True):
            block_rest[ids] -= most
            if _LOOK_UP_COST * len(docs) > term.postings.size:
                self._add_term(sums, term)
            else:
                sums[docs] += self._look_up_scores(docs, term)
            docs = docs[sums[docs] + block_rest[docs >> _BLOCK_SHIFT] >= needed - _SLACK]
        return docs, sums[docs]

    def _add_term(self, sums: npt.NDArray[np.float64], term: _Weighted) -> None:
        """Add a term's scores to all documents that hold it."""
        stretch = slice(term.postings.start, term.postings.end)
        scores = (term.weight - term.weight / self._divisors)[self._pairs[stretch]]
        sums[self._docs[stretch]] += scores

    def _look_up_scores(self, docs: Array, term: _Weighted) -> npt.NDArray[np.float32]:
        """A term's score in each of these documents, 0 where it is missing."""
        held = self._docs[term.postings.start : term.postings.end]
        at = np.searchsorted(held, docs)
        at[at == len(held)] = 0
        divisors = self._divisors[self._pairs[term.postings.start : term.postings.end][at]]
        scores: npt.NDArray[np.float32] = np.where(held[at] == docs, term.weight - term.weight / divisors, 0)
        return scores

    def _complete(self, docs: Array, sums: Array, terms: Sequence[_Weighted]) -> Array:
        """The scores of documents once these terms are added too."""
        for term in terms:
            sums = sums + self._look_up_scores(docs, term)
        return sums

    def _score_batch(self, weighted: Sequence[_Weighted], batch: Array, needed: float) -> tuple[Array, Array]:
        """Documents of these blocks (in ascending order) that score at least `needed`, and their scores."""
        slots, starts, sizes, weights = [], [], [], []
        for postings, weight in weighted:
            first = postings.first_block
            ids = self._block_ids[first : postings.last_block]
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


def _reached(sums: Array, limit: int) -> float:
    """A score that the result must reach, given the full scores of some documents; a little less, for rounding."""
    if len(sums) < limit:
        return _SLACK
    return max(float(np.partition(sums, len(sums) - limit)[len(sums) - limit]) - _SLACK, _SLACK)


def _best_documents(table: npt.NDArray[np.float64], count: int) -> Array:
    """About the best `count` documents by their sums so far ([blocks, documents of a block]), in ascending order."""
    best = table.max(axis=1)
    rows = np.sort(_largest(best, _SEED_BLOCKS))
    at = _largest(table[rows].ravel(), count)
    return np.sort(rows[at // BLOCK_DOCUMENTS] * BLOCK_DOCUMENTS + at % BLOCK_DOCUMENTS)


def _largest(values: Array, count: int) -> Array:
    """Where the `count` largest values are, in no order."""
    return np.argpartition(-values, count)[:count] if len(values) > count else np.arange(len(values))


def _keep_best(docs: Array, sums: Array, limit: int) -> tuple[Array, Array]:
    """Drop what cannot be among the best `limit`; ties at the border stay, for the exact order to decide."""
    if len(docs) <= limit:
        return docs, sums
    singles = sums.astype(np.float32)
    border = np.partition(singles, len(singles) - limit)[len(singles) - limit]
    keep = singles >= border
    return docs[keep], sums[keep]
