"""Rows become products as the original loads them, and a malformed row is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparring.envs.web.webshop.products import (
    Product,
    document_text,
    parse_product,
    parse_products,
    read_rows,
)
from sparring.errors import InvalidData

ROW: dict[str, Any] = {
    "asin": "B000000001", "name": "Tin Cup", "full_description": "A cup.", "pricing": "$4.50", "images": ["cup.jpg"],
    "product_category": "Home › Cups", "category": "garden", "query": " Tin Cups ", "page": 1,
    "small_description": ["light", "strong"], "customization_options": "",
}  # fmt: skip


def parse(**changes: Any) -> Product:
    return parse_product(0, {**ROW, **changes}, {})


@pytest.mark.parametrize(
    ("pricing", "prices", "tag"),
    [
        ("$19.50", (19.5,), "$19.5"),
        ("$1,234.56", (1234.56,), "$1234.56"),
        ("$30.00 to $12.00", (30.0, 12.0), "$30.0 to $12.0"),  # not sorted
        ("$1 $2 $3", (1.0, 2.0), "$1.0 to $2.0"),  # no more than two
        (None, (100.0,), "$100.0"),
        ("", (100.0,), "$100.0"),
    ],
)
def test_pricing(pricing: str | None, prices: tuple[float, ...], tag: str) -> None:
    product = parse(pricing=pricing)
    assert (product.pricing, product.price_tag) == (prices, tag)


def test_options_are_lowered_slashes_parted_null_groups_skipped_and_empty_ones_kept() -> None:
    product = parse(
        customization_options={"Size ": [{"value": " S/M "}, {"value": "L", "image": "l.jpg"}], "X": None, "Y": []}
    )
    assert product.options == {"size ": ("s | m", "l"), "y": ()}
    assert product.option_images == {"l": "l.jpg"}


def test_what_is_missing_has_the_originals_defaults() -> None:
    product = parse(small_description="one bullet")
    assert product.bullets == ("one bullet",)
    assert product.query == "tin cups"
    assert product.attributes == ("DUMMY_ATTR",)
    assert product.instruction is None


def test_bad_ids_and_repeats_are_skipped_after_the_cut() -> None:
    ids = ["B000000001", "nan", "B0000000001", "B000000001", "B000000002", "B000000003"]
    rows = [{**ROW, "asin": asin} for asin in ids]
    assert [product.asin for product in parse_products(rows, {})] == ["B000000001", "B000000002", "B000000003"]
    assert [product.asin for product in parse_products(rows, {}, num_products=5)] == ["B000000001", "B000000002"]


def test_the_searched_text_is_title_description_first_bullet_and_options() -> None:
    product = parse(customization_options={"Size": [{"value": "S"}, {"value": "M"}], "Color": [{"value": "Red"}]})
    assert document_text(product) == "tin cup a cup. light size: s, m, and color: red"


def test_a_product_survives_its_stored_form() -> None:
    product = parse(name='Crème "★" \ud83d', customization_options={"A": [{"value": "b", "image": "c"}]})
    assert Product.from_json(product.to_json()) == product


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": None}, "name"),
        ({"full_description": 3}, "full_description"),
        ({"small_description": {"a": 1}}, "small_description"),
        ({"pricing": "twelve"}, "pricing"),
        ({"pricing": "$1.2.3"}, "pricing"),
        ({"pricing": 12}, "pricing"),
        ({"customization_options": ["x"]}, "customization_options"),
        ({"customization_options": {"Size": [{"label": "S"}]}}, "customization_options.Size"),
        ({"customization_options": {"Size": [{"value": 4}]}}, "customization_options.Size"),
        ({"query": []}, "query"),
    ],
)
def test_a_malformed_row_is_named_by_number_and_field(changes: dict[str, Any], field: str) -> None:
    rows = [ROW, {**ROW, "asin": "B000000002", **changes}]
    with pytest.raises(InvalidData, match=rf'product row 1 \(asin B000000002\): the field "{field}"'):
        list(parse_products(rows, {}))


def test_rows_that_are_no_objects_or_lack_fields_are_named() -> None:
    with pytest.raises(InvalidData, match="product row 0: expected an object"):
        list(parse_products(["x"], {}))
    with pytest.raises(InvalidData, match=r'row 0.*"asin".*lacks the field'):
        list(parse_products([{"name": "x"}], {}))


@pytest.mark.parametrize(
    "known",
    [{"attributes": "red"}, {"attributes": [], "instruction": "x"}, {"instruction": 5}, ["a"],
     {"attributes": [], "instruction": "x", "instruction_attributes": []}],
)  # fmt: skip
def test_malformed_attributes_name_the_product(known: object) -> None:
    with pytest.raises(InvalidData, match="attributes of B000000001"):
        parse_product(0, ROW, {"B000000001": known})


def test_rows_are_streamed_from_arrays_and_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.envs.web.webshop.products._READ_CHARS", 16)  # rows span many reads
    rows = [{"asin": f"B{number}", "text": 'é"],[' * number} for number in range(20)]
    array, lines = tmp_path / "rows.json", tmp_path / "rows.jsonl"
    array.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    lines.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert list(read_rows(array)) == rows
    assert list(read_rows(lines)) == rows
    array.write_text(json.dumps(rows)[:-30], encoding="utf-8")
    with pytest.raises(InvalidData, match="row 19 is cut off"):
        list(read_rows(array))
    array.write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(InvalidData, match="expected a JSON array"):
        list(read_rows(array))
