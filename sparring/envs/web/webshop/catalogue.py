"""A compiled catalogue: a folder of binary files, opened lazily, memory-mapped and shared by processes.

The folder holds `manifest.json` (format version, counts, and the size and CRC-32 of every file), `products.bin`
with its offsets, the search index, and tables for goals, prices and splits. `build.py` writes it.
"""

from __future__ import annotations

import json
import os
import weakref
import zlib
from collections.abc import Hashable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from sparring.envs.web.webshop.analysis import analyse
from sparring.envs.web.webshop.index import Index
from sparring.envs.web.webshop.products import Product
from sparring.errors import InvalidData, unknown

FORMAT = "sparring-webshop-catalogue"
VERSION = 3
MANIFEST = "manifest.json"
SPLITS = ("train", "dev", "test")

_INDEX_ARRAYS = (
    "term_keys", "posting_starts", "posting_docs", "posting_pairs", "pair_tf", "pair_code", "tie_ranks",
    "term_blocks", "block_ids", "block_best", "block_starts",
)  # fmt: skip
_PRODUCTS_KEPT = 4096
_SEARCHES_KEPT = 4096


def file_checksum(path: Path) -> int:
    """CRC-32 of a file's bytes."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def read_manifest(path: Path) -> dict[str, Any]:
    """Read and check the manifest of a catalogue folder, and that each of its files has its full size.

    Raises:
        InvalidData: no catalogue, a half-written one, or one of another format version.
    """
    mend = "build it again with `sparring webshop build` or `sparring webshop generate`"
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = "is half written (it has no manifest.json)" if path.is_dir() else "does not exist"
        raise InvalidData(f"the catalogue {path} {what}; {mend}") from None
    except (json.JSONDecodeError, NotADirectoryError, UnicodeDecodeError) as error:
        raise InvalidData(f"the catalogue {path} can't be read ({error}); {mend}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InvalidData(f'{path / MANIFEST} is no manifest of a catalogue (its "format" is not "{FORMAT}"); {mend}')
    if manifest.get("version") != VERSION:
        raise InvalidData(
            f"the catalogue {path} has format version {manifest.get('version')}, this release reads {VERSION}; {mend}"
        )
    if not _well_formed(manifest):
        raise InvalidData(f"{path / MANIFEST} is damaged: a field is missing or of the wrong kind; {mend}")
    for name, entry in manifest["files"].items():
        file = path / name
        size = file.stat().st_size if file.is_file() else None
        if size != entry["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes"
            raise InvalidData(
                f"the catalogue {path} is half written: {name} {found}, expected {entry['bytes']} bytes; {mend}"
            )
    return manifest


def _well_formed(manifest: Mapping[str, Any]) -> bool:
    """Whether the manifest has its fields, and its files are plain names, so that nothing outside is read."""
    files, index = manifest.get("files"), manifest.get("index")
    if not isinstance(files, dict) or "products.bin" not in files or not isinstance(index, dict):
        return False
    numbers = [manifest.get(name) for name in ("products", "synthetic_goals", "human_goals")]
    numbers += [index.get(name) for name in ("documents", "filled_documents", "total_tokens")]
    for name, entry in files.items():
        if Path(name).name != name or not isinstance(entry, dict):
            return False
        numbers += [entry.get("bytes"), entry.get("crc32")]
    return all(isinstance(number, int) and number >= 0 for number in numbers)


class Catalogue:
    """An opened catalogue. Use `open_catalogue`, which shares one per folder within the process.

    Args:
        path: the folder. verify: also compare the checksum of every file (reads all of them).
    Raises:
        InvalidData: see `read_manifest`; with `verify`, a file whose content differs from what was written.
    """

    def __init__(self, path: Path, verify: bool = False) -> None:
        self.path = path
        self.manifest = read_manifest(path)
        if verify:
            for name, entry in self.manifest["files"].items():
                if file_checksum(path / name) != entry["crc32"]:
                    raise InvalidData(f"the catalogue {path} is damaged: {name} does not have its recorded checksum")
        self.product = lru_cache(_PRODUCTS_KEPT)(self._read_product)
        self.search = lru_cache(_SEARCHES_KEPT)(self._search)
        self.shared: dict[Hashable, Any] = {}  # goal books on this catalogue

    def __len__(self) -> int:
        return int(self.manifest["products"])

    def array(self, name: str) -> npt.NDArray[Any]:
        """A stored array, memory-mapped."""
        path = self.path / f"{name}.npy"
        # A small file is not worth a mapping; empty arrays cannot be mapped at all.
        mode: Literal["r"] | None = "r" if path.stat().st_size >= 4096 else None
        try:
            return np.asarray(np.load(path, mmap_mode=mode))
        except (ValueError, EOFError) as error:
            raise InvalidData(f"the catalogue {self.path} is damaged: {path.name} holds no array ({error})") from None

    @cached_property
    def _records(self) -> BinaryIO:
        return (self.path / "products.bin").open("rb", buffering=0)

    @cached_property
    def _offsets(self) -> memoryview:
        return self.array("product_offsets").data

    def _read_product(self, row: int) -> Product:
        # Read, not mapped: what many episodes touch of a large catalogue would all count as this process's memory.
        start, end = self._offsets[row], self._offsets[row + 1]
        try:
            return Product.from_json(os.pread(self._records.fileno(), end - start, start))
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidData(
                f"the catalogue {self.path} is damaged: row {row} of products.bin can't be read ({error})"
            ) from None

    @cached_property
    def _human(self) -> tuple[BinaryIO, memoryview]:
        return (self.path / "human.bin").open("rb", buffering=0), self.array("human_offsets").data

    def human_entry(self, number: int) -> tuple[str, list[str], list[str]]:
        """Instruction, wanted attributes and wanted options of a human goal source."""
        file, offsets = self._human
        data = os.pread(file.fileno(), offsets[number + 1] - offsets[number], offsets[number])
        instruction, attributes, options = json.loads(data.decode("utf-8", "surrogatepass"))
        return instruction, attributes, options

    @cached_property
    def _asins(self) -> npt.NDArray[np.bytes_]:
        return self.array("asins")

    @cached_property
    def rows_by_asin(self) -> npt.NDArray[np.int32]:
        """[products] the row of each product in the order of ASINs."""
        return self.array("rows_by_asin")

    @cached_property
    def document_rows(self) -> npt.NDArray[np.int32]:
        """[products] the row of each document of the index."""
        return self.array("document_rows")

    def row_of(self, asin: str) -> int | None:
        """The row of a product, None if there is none."""
        key = asin.encode("utf-8", "surrogatepass")
        at = int(np.searchsorted(self._asins, np.bytes_(key)))
        if at == len(self._asins) or self._asins[at] != key:
            return None
        return int(self.rows_by_asin[at])

    def find(self, asin: str) -> Product:
        """The product with this ASIN.

        Raises:
            UnknownName: there is none; the message names the nearest.
        """
        row = self.row_of(asin)
        if row is None:
            at = int(np.searchsorted(self._asins, np.bytes_(asin.encode("utf-8", "surrogatepass"))))
            near = [one.decode("utf-8", "surrogatepass") for one in self._asins[max(0, at - 3) : at + 3].tolist()]
            raise unknown("product", asin, near)
        return self.product(row)

    @cached_property
    def index(self) -> Index:
        """The search index."""
        counts = self.manifest["index"]
        return Index(
            {name: self.array(name) for name in _INDEX_ARRAYS},
            counts["documents"], counts["filled_documents"], counts["total_tokens"],
        )  # fmt: skip

    def _search(self, query: str) -> tuple[int, ...]:
        """Rows of the best 50 products for a lower-case query, best first."""
        numbers, _ = self.index.search(analyse(query))
        return tuple(self.document_rows[numbers].tolist())

    @cached_property
    def _labels(self) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = json.loads((self.path / "labels.json").read_text(encoding="utf-8"))
        return labels

    def rows_labelled(self, kind: str, label: str) -> npt.NDArray[np.int64]:
        """Rows of all products whose `category` or `query` (the `kind`) equals `label`, in file order."""
        number = self._labels[kind].get(label, -1)
        return np.flatnonzero(self.array(f"{kind}_labels") == number)

    @cached_property
    def pricing(self) -> npt.NDArray[np.float64]:
        """[products, 2] the price, or the two ends of the price range; NaN in the second place without a range."""
        return self.array("pricing")

    @cached_property
    def product_splits(self) -> npt.NDArray[np.uint8]:
        """[products] index into `SPLITS`, from a stable hash of the ASIN."""
        return self.array("product_splits")


_open: weakref.WeakValueDictionary[tuple[Path, int], Catalogue] = weakref.WeakValueDictionary()


def open_catalogue(path: Path | str) -> Catalogue:
    """Open a catalogue folder; an already opened one is shared."""
    try:
        folder = Path(path).expanduser().resolve()
        stamp = (folder / MANIFEST).stat().st_mtime_ns if (folder / MANIFEST).is_file() else 0
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL in it, a loop of links, no such user
        raise InvalidData(
            f"the catalogue {str(path)!r:.80} can't be opened: no folder can have this name ({error})"
        ) from None
    catalogue = _open.get((folder, stamp))
    if catalogue is None:
        catalogue = Catalogue(folder)
        _open[folder, stamp] = catalogue
    return catalogue
