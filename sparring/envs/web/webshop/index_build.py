"""Building the inverted index in bounded memory: postings are spilled in chunks, then sorted term by term."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparring.envs.web.webshop.index import BLOCK_DOCUMENTS, encode_length, length_factors, term_key
from sparring.errors import InvalidData

_CHUNK_POSTINGS = 4_000_000
_CODES = 256


class IndexBuilder:
    """Collects documents, then writes the arrays that `index.Index` opens.

    Args:
        folder: where the arrays go; temporary files are put there too and removed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.documents = 0
        self.filled_documents = 0
        self.total_tokens = 0
        self._terms: dict[str, int] = {}
        self._chunks: list[Path] = []
        self._clear()

    def _clear(self) -> None:
        self._term_of = array("i")
        self._row_of = array("i")
        self._pair_of = array("i")

    def add(self, terms: Sequence[str]) -> None:
        """Add the next document, in row order."""
        code = encode_length(len(terms))
        known = self._terms
        for term, count in Counter(terms).items():
            self._term_of.append(known.setdefault(term, len(known)))
            self._row_of.append(self.documents)
            self._pair_of.append(count * _CODES + code)
        self.documents += 1
        self.filled_documents += bool(terms)
        self.total_tokens += len(terms)
        if len(self._term_of) >= _CHUNK_POSTINGS:
            self._spill()

    def _spill(self) -> None:
        path = self.folder / f"chunk-{len(self._chunks)}.npy"
        np.save(path, np.stack([np.frombuffer(one, np.int32) for one in (self._term_of, self._row_of, self._pair_of)]))
        self._chunks.append(path)
        self._clear()

    def finish(self, number_of_row: npt.NDArray[np.int32], tie_ranks: npt.NDArray[np.int32]) -> None:
        """Write the index.

        Args:
            number_of_row: [documents] the document number of each row; neighbours should be alike.
            tie_ranks: [documents] by document number, the place among equal scores (that of the ASIN).
        """
        if self._term_of or not self._chunks:
            self._spill()
        new_id, keys = self._dictionary()
        pairs, rank = self._rank_pairs()
        sizes = np.zeros(len(keys), np.int64)
        for path in self._chunks:
            sizes += np.bincount(new_id[np.load(path, mmap_mode="r")[0]], minlength=len(keys))
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        count = int(starts[-1])
        pair_type = np.uint16 if len(pairs) <= 1 << 16 else np.uint32
        docs = _new_array(self.folder / "posting_docs.npy", np.int32, count)
        ranks = _new_array(self.folder / "posting_pairs.npy", pair_type, count)
        cursor = starts[:-1].copy()
        for path in self._chunks:
            terms, rows, raw = np.load(path)
            terms = new_id[terms]
            order = np.lexsort((number_of_row[rows], terms))
            terms = terms[order]
            sizes_here = np.bincount(terms, minlength=len(keys))
            within = np.arange(len(terms)) - np.repeat(np.cumsum(sizes_here) - sizes_here, sizes_here)
            at = cursor[terms] + within
            docs[at] = number_of_row[rows[order]]
            ranks[at] = rank[np.searchsorted(pairs, raw[order])]
            cursor += sizes_here
            path.unlink()
        self._sort_postings(starts, docs, ranks)
        by_rank = np.empty_like(pairs)
        by_rank[rank] = pairs
        for name, values in (
            ("term_keys", keys),
            ("posting_starts", starts),
            ("tie_ranks", tie_ranks),
            ("pair_tf", (by_rank // _CODES).astype(np.float32)),
            ("pair_code", (by_rank % _CODES).astype(np.uint8)),
        ):
            np.save(self.folder / f"{name}.npy", values)

    def _dictionary(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
        """Terms renumbered in the order of their keys."""
        keys = np.fromiter((term_key(term) for term in self._terms), np.uint64, len(self._terms))
        order = np.argsort(keys)
        if len(keys) and np.any(np.diff(keys[order]) == 0):
            raise InvalidData("two index terms share a 64-bit key; the term dictionary needs a longer hash")
        new_id = np.empty(len(keys), np.int32)
        new_id[order] = np.arange(len(keys), dtype=np.int32)
        return new_id, keys[order]

    def _rank_pairs(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """All (frequency, length code) pairs, sorted, and each one's rank, the best-scoring first."""
        pairs = np.unique(np.concatenate([np.unique(np.load(path, mmap_mode="r")[2]) for path in self._chunks]))
        factors = length_factors(np.float32(self.total_tokens / max(self.filled_documents, 1)))
        rank = np.empty(len(pairs), np.int64)
        order = np.argsort(-(pairs // _CODES) * factors[pairs % _CODES].astype(np.float64), kind="stable")
        rank[order] = np.arange(len(pairs))
        return pairs, rank

    def _sort_postings(self, starts: npt.NDArray[np.int64], docs: npt.NDArray[Any], ranks: npt.NDArray[Any]) -> None:
        """Sort each term's postings by document number, and table its blocks, a bounded stretch of terms at a time."""
        blocks = -(-self.documents // BLOCK_DOCUMENTS)
        ids = _Growing(self.folder / "block_ids.npy", np.uint16 if blocks <= 1 << 16 else np.uint32)
        best = _Growing(self.folder / "block_best.npy", ranks.dtype)
        begins = _Growing(self.folder / "block_starts.npy", np.int64)
        per_term = [np.zeros(1, np.int64)]
        first, terms = 0, len(starts) - 1
        while first < terms:
            last = int(np.searchsorted(starts, starts[first] + _CHUNK_POSTINGS, side="right")) - 1
            last = min(max(last, first + 1), terms)
            begin, end = int(starts[first]), int(starts[last])
            owner = np.repeat(np.arange(last - first, dtype=np.int64), np.diff(starts[first : last + 1]))
            order = np.argsort(owner << 32 | docs[begin:end], kind="stable")
            docs[begin:end] = docs[begin:end][order]
            ranks[begin:end] = ranks[begin:end][order]
            block = owner << 32 | docs[begin:end] // BLOCK_DOCUMENTS
            heads = np.flatnonzero(np.concatenate([[True], block[1:] != block[:-1]]))
            ids.append(block[heads] & 0xFFFFFFFF)
            best.append(np.minimum.reduceat(ranks[begin:end], heads))
            begins.append(heads + begin)
            per_term.append(np.bincount(owner[heads], minlength=last - first))
            first = last
        begins.append(starts[-1:])
        for one in (ids, best, begins):
            one.finish()
        np.save(self.folder / "term_blocks.npy", np.cumsum(np.concatenate(per_term)))


class _Growing:
    """An array that is written piece by piece, without knowing its length beforehand."""

    def __init__(self, path: Path, kind: npt.DTypeLike) -> None:
        self._path = path
        self._raw = path.with_suffix(".raw")
        self._kind = np.dtype(kind)
        self._file = self._raw.open("wb")

    def append(self, values: npt.NDArray[Any]) -> None:
        """Write the next piece."""
        self._file.write(values.astype(self._kind).tobytes())

    def finish(self) -> None:
        """Close the array."""
        self._file.close()
        if self._raw.stat().st_size:
            np.save(self._path, np.memmap(self._raw, self._kind, mode="r"))
        else:
            np.save(self._path, np.zeros(0, self._kind))
        self._raw.unlink()


def _new_array(path: Path, kind: type[np.generic], count: int) -> npt.NDArray[Any]:
    if count == 0:
        np.save(path, np.zeros(0, kind))
        return np.zeros(0, kind)
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=(count,))
