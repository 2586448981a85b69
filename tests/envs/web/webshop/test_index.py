"""BM25 by hand on a corpus of three documents, and pruned against exhaustive search on random ones."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sparring.envs.web.webshop import index as index_module
from sparring.envs.web.webshop.index import Index
from sparring.envs.web.webshop.index_build import IndexBuilder

NAMES = (
    "term_keys", "posting_starts", "posting_docs", "posting_pairs", "pair_tf", "pair_code", "tie_ranks", "term_blocks",
    "block_ids", "block_best", "block_starts",
)  # fmt: skip


def build_index(folder: Path, documents: list[list[str]], tie_ranks: np.ndarray | None = None) -> Index:
    builder = IndexBuilder(folder)
    for document in documents:
        builder.add(document)
    same = np.arange(len(documents), dtype=np.int32)
    builder.finish(same, same if tie_ranks is None else tie_ranks)
    arrays = {name: np.load(folder / f"{name}.npy") for name in NAMES}
    return Index(arrays, builder.documents, builder.filled_documents, builder.total_tokens)


def bm25(frequency: int, length: int, average: float, documents: int, holding: int, times: int = 1) -> float:
    weight = times * math.log(1 + (documents - holding + 0.5) / (holding + 0.5))
    return weight - weight / (1 + frequency / (0.9 * (1 - 0.4 + 0.4 * length / average)))


def test_scores_are_bm25_and_ties_come_in_order_of_rank(tmp_path: Path) -> None:
    documents = [["red", "shoe"], ["red", "red", "hat", "wool"], ["blue", "shoe"]]
    searched = build_index(tmp_path, documents, tie_ranks=np.array([2, 1, 0], np.int32))
    average = 8 / 3
    numbers, scores = searched.search(["red", "shoe", "shoe", "missing"])
    shoe = bm25(1, 2, average, 3, 2, times=2)
    expected = {0: bm25(1, 2, average, 3, 2) + shoe, 1: bm25(2, 4, average, 3, 2), 2: shoe}
    assert numbers.tolist() == [0, 2, 1]
    assert scores.tolist() == pytest.approx([expected[number] for number in (0, 2, 1)], rel=1e-6)
    # Documents 0 and 2 hold "shoe" once in two tokens: equal scores, so the lower rank comes first.
    assert searched.search(["shoe"])[0].tolist() == [2, 0]
    assert searched.search(["missing"])[0].tolist() == []
    assert searched.search([])[0].tolist() == []


def test_documents_without_terms_count_for_nothing(tmp_path: Path) -> None:
    with_empty = build_index(tmp_path, [["a1"], [], ["b1", "a1"], []])
    # N is 2 and the average length 1.5: the two empty documents do not enter.
    assert with_empty.search(["b1"])[1].tolist() == pytest.approx([bm25(1, 2, 1.5, 2, 1)], rel=1e-6)


@pytest.mark.parametrize("few_postings", [0, 1 << 30])  # by essential terms, by blocks
@pytest.mark.parametrize("seed", range(3))
def test_pruning_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, few_postings: int) -> None:
    generator = np.random.default_rng(seed)
    words = [f"w{number}" for number in range(60)]
    chances = 1 / np.arange(1, 61)
    chances /= chances.sum()
    kinds = generator.permutation(3000) // 300
    documents = [
        [f"kind{kinds[number]}", *generator.choice(words, size=generator.integers(1, 30), p=chances).tolist()]
        for number in range(3000)
    ]
    documents.sort(key=lambda document: document[0])
    searched = build_index(tmp_path, documents, generator.permutation(3000).astype(np.int32))
    small = {"_FIRST_BLOCKS": 1, "_FEW_POSTINGS": few_postings, "_SEED_POSTINGS": 500, "_SEED_BLOCKS": 2}
    for name, value in small.items():
        monkeypatch.setattr(index_module, name, value)
    for _ in range(60):
        query = [*generator.choice(words, size=generator.integers(1, 8)).tolist(), f"kind{generator.integers(12)}"]
        monkeypatch.setattr(index_module, "_DENSE_DOCUMENTS", 1 << 30)
        everything = searched.search(query)
        monkeypatch.setattr(index_module, "_DENSE_DOCUMENTS", 0)
        pruned = searched.search(query)
        assert pruned[0].tolist() == everything[0].tolist()
        assert pruned[1].tolist() == everything[1].tolist()


def test_spilled_chunks_give_the_same_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    documents = [[f"w{one}" for one in generator.integers(0, 40, size=12)] for _ in range(1500)]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    build_index(whole, documents)
    monkeypatch.setattr("sparring.envs.web.webshop.index_build._CHUNK_POSTINGS", 700)
    build_index(parts, documents)
    for name in NAMES:
        assert np.array_equal(np.load(whole / f"{name}.npy"), np.load(parts / f"{name}.npy")), name
    assert sorted(path.name for path in parts.iterdir()) == sorted(f"{name}.npy" for name in NAMES)
