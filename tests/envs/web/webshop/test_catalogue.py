"""Compiled catalogues: whole or refused, shared, replaced in one go."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from sparring.envs.web.webshop.build import build, build_from_rows, product_split
from sparring.envs.web.webshop.catalogue import MANIFEST, Catalogue, open_catalogue, read_manifest
from sparring.errors import InvalidConfig, InvalidData, MissingExtra, UnknownName

GOLDEN = Path(__file__).parent / "golden"


def rows() -> list[dict[str, object]]:
    loaded: list[dict[str, object]] = json.loads((GOLDEN / "awkward_items.json").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def copied(awkward_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(awkward_folder, tmp_path / "catalogue"))


def test_products_and_look_ups(awkward: Catalogue) -> None:
    assert len(awkward) == 31
    assert awkward.find("B0TEST0004").name == "Confusing Gadget"  # the first of the two with that id
    assert awkward.row_of("B0TEST00055") is None
    with pytest.raises(UnknownName, match="B0TEST0006"):
        awkward.find("B0TEST0005")
    assert awkward.product(awkward.search("plain lamp")[0]).asin == "B0TEST0006"
    assert [awkward.product(int(row)).category for row in awkward.rows_labelled("category", "electronics")] == [
        "electronics"
    ]


def test_an_opened_catalogue_is_shared(awkward_folder: Path, awkward: Catalogue) -> None:
    assert open_catalogue(awkward_folder) is awkward
    assert open_catalogue(str(awkward_folder)) is awkward


def cut_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def cut_file(folder: Path) -> None:
    data = (folder / "products.bin").read_bytes()
    (folder / "products.bin").write_bytes(data[:-1])


def lose_file(folder: Path) -> None:
    (folder / "posting_docs.npy").unlink()


def other_version(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "version": 0}))


def no_manifest_of_ours(folder: Path) -> None:
    (folder / MANIFEST).write_text("[]")


def broken_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"format":')


def changed(**fields: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps({**manifest, **fields}))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (changed(files=None), "manifest.json is damaged"),
        (changed(files={"products.bin": 5}), "manifest.json is damaged"),
        (changed(files={}), "manifest.json is damaged"),
        (changed(products="many"), "manifest.json is damaged"),
        (changed(index=None), "manifest.json is damaged"),
        (changed(files={"../../etc/passwd": {"bytes": 1, "crc32": 1}}), "manifest.json is damaged"),
        (cut_manifest, "half written .it has no manifest.json"),
        (cut_file, "half written: products.bin has .* bytes, expected"),
        (lose_file, "half written: posting_docs.npy is missing"),
        (other_version, "format version 0"),
        (no_manifest_of_ours, "is no manifest of a catalogue"),
        (broken_manifest, "can't be read"),
    ],
)
def test_a_damaged_catalogue_is_refused(copied: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(copied)
    with pytest.raises(InvalidData, match=message) as caught:
        open_catalogue(copied)
    assert "sparring webshop build" in str(caught.value)


def test_changed_content_is_found_on_demand(copied: Path) -> None:
    data = bytearray((copied / "products.bin").read_bytes())
    data[100] ^= 1
    (copied / "products.bin").write_bytes(data)
    read_manifest(copied)  # sizes fit
    with pytest.raises(InvalidData, match=r"products\.bin does not have its recorded checksum"):
        Catalogue(copied, verify=True)


@pytest.mark.parametrize("name", ["pricing.npy", "posting_docs.npy", "synthetic_rows.npy", "products.bin"])
def test_garbage_of_the_right_size_is_reported_as_damage_when_it_is_read(copied: Path, name: str) -> None:
    size = (copied / name).stat().st_size
    (copied / name).write_bytes(b"\xfe" * size)
    catalogue = Catalogue(copied)
    with pytest.raises(InvalidData, match=f"damaged.*{name}"):
        if name == "products.bin":
            catalogue.product(0)
        else:
            catalogue.array(name.removesuffix(".npy"))


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_a_name_that_no_folder_can_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidData, match="no folder can have this name"):
        open_catalogue(name)


def test_a_product_with_too_many_combinations_of_options_is_named(tmp_path: Path) -> None:
    groups = {f"part {number}": [{"value": str(value)} for value in range(10)] for number in range(12)}
    row = {**rows()[0], "customization_options": groups}
    goal = {str(row["asin"]): {"attributes": ["a"], "instruction": "find it", "instruction_attributes": ["a"]}}
    with pytest.raises(InvalidData, match=rf"{row['asin']}.*1,000,000,000,000 combinations"):
        build_from_rows([row], goal, None, lambda title: [], tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("entries", [5, None, "text", {"instruction": "x"}])
def test_human_instructions_that_are_no_list_are_refused(entries: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"human instructions of .*expected a list"):
        build_from_rows(rows()[:1], {}, {str(rows()[0]["asin"]): entries}, lambda title: [], tmp_path / "out")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="nowhere does not exist"):
        open_catalogue(tmp_path / "nowhere")


def test_a_failed_build_leaves_nothing_and_an_older_catalogue_alone(tmp_path: Path) -> None:
    out = tmp_path / "catalogue"
    build_from_rows(rows()[:1], {}, None, lambda title: ["noun"], out)
    before = (out / MANIFEST).read_text()
    with pytest.raises(InvalidData, match="product row 1"):
        build_from_rows([rows()[0], {"asin": "B1"}], {}, None, lambda title: ["noun"], out)
    assert (out / MANIFEST).read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["catalogue"]


def test_a_finished_build_replaces_an_older_catalogue_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "catalogue"
    build_from_rows(rows()[:1], {}, None, lambda title: [], out)
    build_from_rows(rows()[:2], {}, None, lambda title: [], out)
    assert len(open_catalogue(out)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["catalogue"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(InvalidConfig, match="exists and is no catalogue"):
        build_from_rows(rows(), {}, None, lambda title: [], tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_the_same_rows_give_the_same_bytes(awkward_folder: Path, tmp_path: Path) -> None:
    files = {key: GOLDEN / f"awkward_{key}.json" for key in ("items", "attributes", "human", "nouns")}
    again = build(**files, out=tmp_path / "again")
    assert (again / MANIFEST).read_bytes() == (awkward_folder / MANIFEST).read_bytes()


def test_no_usable_row_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="would be empty"):
        build_from_rows([], {}, None, {}, tmp_path / "catalogue")


@pytest.mark.parametrize("nested", [False, True])
def test_nouns_come_by_id_or_title_from_tables_of_one_or_more_data_sets(tmp_path: Path, nested: bool) -> None:
    table = {"B0TEST0001": ["kettle"], "Plain Lamp": ["lamp"]}
    nouns = {"first": {"x": ["y"]}, "second": table} if nested else table
    chosen = [rows()[0], rows()[7]]
    catalogue = open_catalogue(build_from_rows(chosen, {}, None, nouns, tmp_path / "catalogue"))
    assert [catalogue.product(row).nouns for row in range(2)] == [("kettle",), ("lamp",)]
    with pytest.raises(InvalidData, match="no nouns for B0TEST0003"):
        build_from_rows([rows()[2]], {}, None, nouns, tmp_path / "other")


def test_without_nouns_the_missing_tagger_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingExtra, match=r"sparring\[spacy\]"):
        build_from_rows(rows(), {}, None, None, tmp_path / "catalogue")


def test_titles_are_tagged_by_spacy_as_the_original_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tagger that calls every word a noun but "red", and upper-case words proper nouns."""

    def tag(word: str) -> SimpleNamespace:
        return SimpleNamespace(text=word, pos_="ADJ" if word == "red" else "PROPN" if word.isupper() else "NOUN")

    def pipe(titles: Iterable[str]) -> Iterator[list[SimpleNamespace]]:
        return ([tag(word) for word in title.split()] for title in titles)

    spacy = SimpleNamespace(load=lambda name, exclude: SimpleNamespace(pipe=pipe) if name == "en_core_web_sm" else None)
    monkeypatch.setitem(sys.modules, "spacy", spacy)
    chosen = [{**rows()[0], "name": "ACME red Kettle red kettle"}]
    catalogue = open_catalogue(build_from_rows(chosen, {}, None, None, tmp_path / "catalogue"))
    assert catalogue.product(0).nouns == ("acme", "kettle", "kettle")


def test_a_missing_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, exclude: list[str]) -> None:
        raise OSError(f"no model {name}")

    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=load))
    with pytest.raises(MissingExtra, match="en_core_web_sm"):
        build_from_rows(rows(), {}, None, None, tmp_path / "catalogue")


@pytest.mark.parametrize("entry", ["text", {"instruction": "x"}, {"instruction": 1, "instruction_attributes": [],
                                                                  "instruction_options": []}])  # fmt: skip
def test_a_malformed_human_instruction_names_its_product(entry: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="human instructions of B0TEST0001"):
        build_from_rows(rows(), {}, {"B0TEST0001": [entry]}, lambda title: [], tmp_path / "catalogue")


def test_splits_are_stable_and_about_80_10_10() -> None:
    counts = [0, 0, 0]
    for number in range(20_000):
        counts[product_split(f"B{number:09d}")] += 1
    # Three standard deviations of a binomial with n = 20,000 and p = 0.1 are 127.
    assert abs(counts[1] - 2000) < 130 and abs(counts[2] - 2000) < 130
    # Pinned: a catalogue built today must not move products between training and test tomorrow.
    pinned = {"B0TEST0003": 0, "B0TEST0004": 1, "B0TEST0008": 2, "B0TEST0118": 1, "B0TEST0121": 2}
    assert {asin: product_split(asin) for asin in pinned} == pinned
