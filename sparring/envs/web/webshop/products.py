"""Raw catalogue rows → products, as the original parses them (docs/webshop.md, section 6)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from re import compile as compile_pattern
from typing import Any, TextIO

from sparring.errors import InvalidData

_NOT_PRICE = compile_pattern(r"[^\d.]")
_READ_CHARS = 1 << 20


@dataclass(frozen=True, slots=True)
class Product:
    """One product as the shop shows and scores it.

    Attributes:
        asin: the product's id, at most 10 characters.
        name: the title. description, bullets: the texts behind `Description` and `Features`.
        category, query, product_category: the three labels that the reward compares.
        options: option name → its values, in page order.
        pricing: one price, or the two ends of a range in US dollars (not sorted); price_tag: the text shown.
        attributes: what the reward matches the goal's attributes against.
        nouns: lower-cased nouns of the title, in order, repeats kept.
        main_image: address of the picture, "" where there is none. option_images: those of option values.
        instruction, instruction_attributes: what a synthetic goal of this product asks for; None without one.
    """

    asin: str
    name: str
    description: str
    bullets: tuple[str, ...]
    category: str
    query: str
    product_category: str
    options: Mapping[str, tuple[str, ...]]
    pricing: tuple[float, ...]
    price_tag: str
    attributes: tuple[str, ...]
    nouns: tuple[str, ...]
    main_image: str
    option_images: Mapping[str, str]
    instruction: str | None
    instruction_attributes: tuple[str, ...]

    def to_json(self) -> bytes:
        """The product as one compact JSON array, fields in order."""
        values = [getattr(self, field.name) for field in fields(self)]
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")

    @staticmethod
    def from_json(data: bytes) -> Product:
        """The inverse of `to_json`."""
        (asin, name, description, bullets, category, query, product_category, options, pricing, price_tag,
         attributes, nouns, main_image, option_images, instruction, instruction_attributes) = json.loads(
            data.decode("utf-8", "surrogatepass")
        )  # fmt: skip
        return Product(
            asin, name, description, tuple(bullets), category, query, product_category,
            {key: tuple(values) for key, values in options.items()}, tuple(pricing), price_tag,
            tuple(attributes), tuple(nouns), main_image, option_images, instruction, tuple(instruction_attributes),
        )  # fmt: skip


class Row:
    """Checked access to the fields of one raw row; every complaint names the row and the field."""

    def __init__(self, number: int, data: object) -> None:
        self.number = number
        if not isinstance(data, Mapping):
            raise InvalidData(f"product row {number}: expected an object with fields, got {data!r:.80}")
        self.data = data

    def fail(self, field: str, value: object, expected: str) -> InvalidData:
        """The error for a `field` holding `value`."""
        asin = self.data.get("asin")
        where = f"product row {self.number}" + (f" (asin {asin})" if isinstance(asin, str) else "")
        return InvalidData(f'{where}: the field "{field}" is {value!r:.80}; expected {expected}')

    def text(self, field: str) -> str:
        """A field that must be a string."""
        if field not in self.data:
            raise self.fail(field, None, "a string, but the row lacks the field")
        value = self.data[field]
        if not isinstance(value, str):
            raise self.fail(field, value, "a string")
        return value

    def bullets(self) -> tuple[str, ...]:
        """`small_description`, which is a list of strings or one string."""
        value = self.data.get("small_description")
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        raise self.fail("small_description", value, "a string or a list of strings")

    def pricing(self) -> tuple[tuple[float, ...], str]:
        """The prices and the price tag; nothing given counts as 100 dollars."""
        value = self.data.get("pricing")
        if not value:
            return (100.0,), "$100.0"
        if not isinstance(value, str):
            raise self.fail("pricing", value, "a string such as $19.99 or $10.00 to $20.00, or null")
        try:
            prices = [float(Decimal(_NOT_PRICE.sub("", piece))) for piece in value.split("$")[1:]]
        except InvalidOperation:
            prices = []
        if not prices:
            raise self.fail("pricing", value, "a string such as $19.99 or $10.00 to $20.00, or null")
        if len(prices) == 1:
            return (prices[0],), f"${prices[0]}"
        return (prices[0], prices[1]), f"${prices[0]} to ${prices[1]}"

    def options(self) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
        """Option groups (null ones skipped) and the images of their values."""
        value = self.data.get("customization_options")
        options: dict[str, tuple[str, ...]] = {}
        images: dict[str, str] = {}
        if not value:
            return options, images
        if not isinstance(value, Mapping):
            raise self.fail("customization_options", value, 'an object {name: [{"value": …}, …] or null}, or ""')
        for name, contents in value.items():
            if contents is None:
                continue
            values = []
            try:
                for content in contents:
                    shown = content["value"].strip().replace("/", " | ").lower()
                    image = content.get("image")
                    values.append(shown)
                    images.pop(shown, None)
                    if image is not None:
                        images[shown] = image
            except (TypeError, KeyError, AttributeError):
                raise self.fail(f"customization_options.{name}", contents, 'a list of {"value": string, …}') from None
            options[name.lower()] = tuple(values)
        return options, images


def _attribute_list(asin: str, field: str, value: object) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise InvalidData(f'attributes of {asin}: the field "{field}" is {value!r:.80}; expected a list of strings')


def parse_product(number: int, data: object, attributes: Mapping[str, Any]) -> Product:
    """Parse one raw row. Its `nouns` are left empty: they come from a tagger, in batches.

    Args:
        number: the row's number in its file, from 0, for error messages.
        data: the row. attributes: asin → {attributes, instruction?, instruction_attributes?}.
    Raises:
        InvalidData: a field is missing or of the wrong type; the message names the row and the field.
    """
    row = Row(number, data)
    asin = row.text("asin")
    known = attributes.get(asin, {})
    if not isinstance(known, Mapping):
        raise InvalidData(f"attributes of {asin}: expected an object, got {known!r:.80}")
    instruction = known.get("instruction")
    wanted: tuple[str, ...] = ()
    if instruction is not None:
        if not isinstance(instruction, str):
            raise InvalidData(f'attributes of {asin}: "instruction" is {instruction!r:.80}; expected a string')
        wanted = _attribute_list(asin, "instruction_attributes", known.get("instruction_attributes"))
        if not wanted:
            raise InvalidData(
                f'attributes of {asin}: "instruction_attributes" is empty beside an instruction; '
                "name at least one attribute or drop the instruction"
            )
    pricing, price_tag = row.pricing()
    options, option_images = row.options()
    images = row.data.get("images")
    return Product(
        asin=asin,
        name=row.text("name"),
        description=row.text("full_description"),
        bullets=row.bullets(),
        category=row.text("category"),
        query=row.text("query").lower().strip(),
        product_category=row.text("product_category"),
        options=options,
        pricing=pricing,
        price_tag=price_tag,
        attributes=_attribute_list(asin, "attributes", known.get("attributes", ("DUMMY_ATTR",))),
        nouns=(),
        main_image=images[0] if isinstance(images, list) and images and isinstance(images[0], str) else "",
        option_images=option_images,
        instruction=instruction,
        instruction_attributes=wanted,
    )


def parse_products(
    rows: Iterable[object], attributes: Mapping[str, Any], num_products: int | None = None
) -> Iterator[Product]:
    """Parse rows in file order, skipping what the original skips: `nan`, long ids, and repeats of an id.

    Args:
        rows: raw rows. attributes: asin → attributes and instruction.
        num_products: look at this many raw rows only; None for all.
    """
    seen: set[str] = set()
    for number, data in enumerate(rows):
        if num_products is not None and number >= num_products:
            return
        asin = Row(number, data).text("asin")
        if asin == "nan" or len(asin) > 10 or asin in seen:
            continue
        seen.add(asin)
        yield parse_product(number, data, attributes)


def document_text(product: Product) -> str:
    """The text that search looks at: title, description, first bullet, options; lower case."""
    options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in product.options.items())
    first = product.bullets[0] if product.bullets else ""
    return f"{product.name} {product.description} {first} {options}".lower()


def read_rows(path: Path) -> Iterator[object]:
    """Stream the elements of a JSON array, or the lines of a `.jsonl` file, without loading the file.

    Raises:
        InvalidData: the file is not JSON of that shape; the message names the row.
    """
    with path.open(encoding="utf-8") as file:
        if path.suffix == ".jsonl":
            for number, line in enumerate(file):
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise InvalidData(f"{path}: row {number} is not JSON ({error})") from None
            return
        yield from _read_array(path, file)


def _read_array(path: Path, file: TextIO) -> Iterator[object]:
    decoder = json.JSONDecoder()
    buffer = file.read(_READ_CHARS).lstrip()
    if not buffer.startswith("["):
        raise InvalidData(f"{path}: expected a JSON array of product rows, it begins with {buffer[:20]!r}")
    position, number, ended = 1, 0, False
    while True:
        while position < len(buffer) and buffer[position] in " \t\r\n,":
            position += 1
        if position < len(buffer) and buffer[position] == "]":
            return
        try:
            value, position = decoder.raw_decode(buffer, position)
        except json.JSONDecodeError as error:
            if ended:
                raise InvalidData(f"{path}: row {number} is cut off or not JSON ({error})") from None
            # Doubling what is read keeps a row that spans many reads from being decoded again and again.
            more = file.read(max(_READ_CHARS, len(buffer) - position))
            ended = not more
            buffer, position = buffer[position:] + more, 0
            continue
        yield value
        number += 1
