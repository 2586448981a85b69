"""The original's files → a compiled catalogue.

    sparring webshop build --items items_shuffle.json --attributes items_ins_v2.json \\
        --human items_human_ins.json --nouns nouns.json --out catalogue

Rows are streamed, so memory stays bounded at any number of products. The folder is written under another name
and renamed when it is complete.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import shutil
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from sparring.envs.web.webshop import catalogue as catalogues
from sparring.envs.web.webshop.analysis import analyse
from sparring.envs.web.webshop.goals import DEFAULT_SEED, SHUFFLE_SEED, combinations, draw_price_bounds, draw_prices
from sparring.envs.web.webshop.index_build import IndexBuilder
from sparring.envs.web.webshop.nouns import NounsOf, noun_source
from sparring.envs.web.webshop.products import Product, document_text, parse_products, read_rows
from sparring.errors import InvalidConfig, InvalidData

_BATCH = 512
_MOST_COMBINATIONS = 10_000_000  # every one is a goal; ten bytes each are kept, and the shuffle takes seconds

Nouns = Mapping[str, Any] | Callable[[str], Sequence[str]] | Path | None


def build(
    items: Path,
    attributes: Path,
    human: Path | None,
    nouns: Path | None,
    out: Path,
    num_products: int | None = None,
) -> Path:
    """Compile the original's files.

    Args:
        items: `items_shuffle*.json`, a JSON array of rows (or `.jsonl`). attributes: `items_ins_v2*.json`.
        human: `items_human_ins.json`, None for no human goals.
        nouns: JSON of {ASIN or title: nouns}, also by data set; None to tag titles with spaCy.
        out: the folder to write; an older catalogue there is replaced.
        num_products: use this many raw rows only.
    Returns:
        `out`.
    Raises:
        InvalidData: a file or row can't be read; the message names the row and field.
        MissingExtra: nouns were to come from spaCy, which is not installed.
    """
    for path in (items, attributes, human, nouns):
        if isinstance(path, Path) and not path.is_file():
            raise InvalidData(f"there is no file {path}")
    instructions = None if human is None else _read_object(human)
    return build_from_rows(read_rows(items), _read_object(attributes), instructions, nouns, out, num_products)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InvalidData(f"{path}: not JSON ({error})") from None
    if not isinstance(data, dict):
        raise InvalidData(f"{path}: expected an object keyed by ASIN, got {type(data).__name__}")
    return data


def build_from_rows(
    rows: Iterable[object],
    attributes: Mapping[str, Any],
    human: Mapping[str, Any] | None,
    nouns: Nouns,
    out: Path,
    num_products: int | None = None,
) -> Path:
    """Compile rows that are already in memory or made on the way.

    Args:
        rows: raw rows in the original's form. attributes: asin → {attributes, instruction?,
            instruction_attributes?}; anything with `get`, so it can be made on the way too.
        human: asin → list of human instructions. nouns: see `nouns.noun_source`.
        out, num_products: as for `build`.
    """
    out = Path(out)
    manifest = out / catalogues.MANIFEST
    if out.exists() and not manifest.is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidConfig(f"{out} exists and is no catalogue; name another folder, or remove it yourself")
    tag = noun_source(nouns)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        folder.chmod(0o755)
        _Writer(folder).write(parse_products(rows, attributes, num_products), {} if human is None else human, tag)
        _publish(folder, out)
    finally:
        if folder.exists():
            shutil.rmtree(folder)
    return out


def _publish(folder: Path, out: Path) -> None:
    """Rename the finished folder to `out`; an older catalogue, or another process's, is moved away first."""
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".old", dir=out.parent))
    try:
        for number in itertools.count():
            try:
                folder.rename(out)
                return
            except OSError:
                if not (out / catalogues.MANIFEST).is_file() or number == 10:
                    raise
                out.rename(old / str(number))
    finally:
        shutil.rmtree(old)


def product_split(asin: str) -> int:
    """Index into `SPLITS` for a product: 80 % train, 10 % dev, 10 % test, by a stable hash of its ASIN."""
    share = int.from_bytes(hashlib.blake2b(asin.encode("utf-8", "surrogatepass"), digest_size=4).digest()) % 10
    return max(0, share - 7)


def _batches(products: Iterator[Product]) -> Iterator[list[Product]]:
    while batch := list(itertools.islice(products, _BATCH)):
        yield batch


class _Writer:
    """Writes one catalogue folder; what grows with the number of products is held in flat arrays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = IndexBuilder(folder)
        self.asins: list[bytes] = []
        self.offsets = array("q", [0])
        self.pricing = array("d")
        self.splits = array("B")
        self.labels: dict[str, dict[str, int]] = {"category": {}, "query": {}, "product_category": {}}
        self.label_of = {kind: array("i") for kind in self.labels}
        self.source_rows = array("i")
        self.source_attributes: list[tuple[int, ...]] = []
        self.source_sizes = array("q")
        self.attribute_ids: dict[str, int] = {}
        self.attribute_counts: Counter[int] = Counter()
        self.human_rows = array("i")
        self.human_offsets = array("q", [0])

    def write(self, products: Iterator[Product], human: Mapping[str, Any], tag: NounsOf) -> None:
        """Write all files, the manifest last."""
        with (self.folder / "products.bin").open("wb") as file, (self.folder / "human.bin").open("wb") as human_file:
            for batch in _batches(products):
                for product, nouns in zip(batch, tag(batch), strict=True):
                    self.offsets.append(self.offsets[-1] + file.write(replace(product, nouns=nouns).to_json()))
                    self._add(product)
                    for entry in _human_entries(product.asin, human):
                        self._add_human(product.asin, entry, human_file)
        if not self.asins:
            raise InvalidData("the catalogue would be empty: no usable product row")
        self._write_products()
        self._write_synthetic_goals()
        self._write_human_goals()
        self._write_manifest()

    def _add(self, product: Product) -> None:
        row = len(self.asins)
        self.asins.append(product.asin.encode("utf-8", "surrogatepass"))
        self.index.add(analyse(document_text(product)))
        self.pricing.extend((product.pricing[0], product.pricing[1] if len(product.pricing) > 1 else float("nan")))
        self.splits.append(product_split(product.asin))
        for kind, numbers in self.labels.items():
            self.label_of[kind].append(numbers.setdefault(getattr(product, kind), len(numbers)))
        if product.instruction is not None:
            size = combinations(product.options)
            if size > _MOST_COMBINATIONS:
                raise InvalidData(
                    f"the options of {product.asin} have {size:,} combinations, each of which would be a goal; "
                    f"expected at most {_MOST_COMBINATIONS:,}. Drop some of its options or its instruction"
                )
            ids = tuple(
                self.attribute_ids.setdefault(one, len(self.attribute_ids)) for one in product.instruction_attributes
            )
            for one in ids:
                self.attribute_counts[one] += size
            self.source_rows.append(row)
            self.source_sizes.append(size)
            self.source_attributes.append(ids)

    def _add_human(self, asin: str, entry: object, file: BinaryIO) -> None:
        fields = _human_fields(asin, entry)
        if fields[1]:  # the original skips instructions without attributes, before it draws anything for them
            data = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
            self.human_offsets.append(self.human_offsets[-1] + file.write(data))
            self.human_rows.append(len(self.asins) - 1)

    def _save(self, name: str, values: Any) -> None:
        np.save(self.folder / f"{name}.npy", values)

    def _write_products(self) -> None:
        asins = np.array(self.asins)
        order = np.argsort(asins, kind="stable").astype(np.int32)
        rank = _inverse(order)
        # Alike products become neighbours in the index, which lets a search skip whole blocks of others.
        kinds = [np.array(self.label_of[kind], np.int32) for kind in ("product_category", "query")]
        document_rows = np.lexsort((rank, *kinds)).astype(np.int32)
        self._save("document_rows", document_rows)
        self._save("asins", asins[order])
        self._save("rows_by_asin", order)
        self._save("product_offsets", np.frombuffer(self.offsets, np.int64))
        self._save("pricing", np.frombuffer(self.pricing, np.float64).reshape(-1, 2))
        self._save("product_splits", np.frombuffer(self.splits, np.uint8))
        for kind in ("category", "query"):
            self._save(f"{kind}_labels", np.frombuffer(self.label_of[kind], np.int32))
        _write_json(self.folder / "labels.json", {kind: self.labels[kind] for kind in ("category", "query")})
        self.index.finish(_inverse(document_rows), rank[document_rows])

    def _write_synthetic_goals(self) -> None:
        sizes = np.array(self.source_sizes, np.int64)
        weights = np.array(
            [
                sum(1.0 / self.attribute_counts[one] for one in ids) / len(ids) if size else 0.0
                for ids, size in zip(self.source_attributes, self.source_sizes, strict=True)
            ],
            np.float64,
        )
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        order = self._write_goal_order("synthetic", int(starts[-1]))
        sources = np.searchsorted(starts, order, side="right") - 1
        self._save("synthetic_rows", np.array(self.source_rows, np.int32))
        self._save("synthetic_sources", sources.astype(np.int32))
        self._save("synthetic_choices", (order - starts[sources]).astype(np.int32))
        self._save("synthetic_weights", weights)
        self._save("synthetic_weight_sums", np.concatenate([[0.0], np.cumsum(weights[sources])]))
        self._write_bounds("synthetic", self.source_rows)

    def _write_human_goals(self) -> None:
        count = len(self.human_rows)
        self._save("human_rows", np.array(self.human_rows, np.int32))
        self._save("human_sources", self._write_goal_order("human", count).astype(np.int32))
        self._save("human_offsets", np.array(self.human_offsets, np.int64))
        self._save("human_weight_sums", np.arange(count + 1, dtype=np.float64))
        self._write_bounds("human", self.human_rows)

    def _write_goal_order(self, kind: str, count: int) -> npt.NDArray[np.int64]:
        """The original's shuffle, which depends on the number of goals alone, and its generator's state thereafter."""
        goals = array("q", range(count))
        generator = random.Random(SHUFFLE_SEED)
        generator.shuffle(goals)
        _write_json(self.folder / f"{kind}_generator.json", generator.getstate())
        return np.array(goals, np.int64)

    def _write_bounds(self, kind: str, rows: array[int]) -> None:
        """The price bounds of the default seed: drawing them for a million goals takes seconds."""
        generator = random.Random(DEFAULT_SEED)
        prices = draw_prices(np.array(self.pricing, np.float64).reshape(-1, 2), generator)
        self._save(f"{kind}_bounds", draw_price_bounds(prices[np.array(rows, np.int32)], generator))

    def _write_manifest(self) -> None:
        files = {
            path.name: {"bytes": path.stat().st_size, "crc32": catalogues.file_checksum(path)}
            for path in sorted(self.folder.iterdir())
        }
        manifest = {
            "format": catalogues.FORMAT,
            "version": catalogues.VERSION,
            "products": len(self.asins),
            "synthetic_goals": sum(self.source_sizes),
            "human_goals": len(self.human_rows),
            "index": {
                "documents": self.index.documents,
                "filled_documents": self.index.filled_documents,
                "total_tokens": self.index.total_tokens,
            },
            "files": files,
        }
        _write_json(self.folder / catalogues.MANIFEST, manifest)


def _inverse(order: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    inverse = np.empty(len(order), np.int32)
    inverse[order] = np.arange(len(order), dtype=np.int32)
    return inverse


def _human_entries(asin: str, human: Mapping[str, Any]) -> Sequence[object]:
    entries = human.get(asin, ())
    if not isinstance(entries, list | tuple):
        raise InvalidData(f"human instructions of {asin}: expected a list of objects, got {entries!r:.80}")
    return entries


def _human_fields(asin: str, entry: object) -> tuple[str, list[str], list[str]]:
    try:
        fields = (entry["instruction"], entry["instruction_attributes"], entry["instruction_options"])  # type: ignore[index]
    except (TypeError, KeyError, IndexError) as error:
        raise InvalidData(
            f"human instructions of {asin}: {entry!r:.80} lacks a field ({error}); expected instruction, "
            "instruction_attributes and instruction_options"
        ) from None
    if not isinstance(fields[0], str) or not isinstance(fields[1], list) or not isinstance(fields[2], list):
        raise InvalidData(f"human instructions of {asin}: expected a string and two lists, got {fields!r:.120}")
    return fields


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
