"""A made-up catalogue of any size, in the original's raw format: our own words, one seed, always the same rows.

Products come in families: a few that people ask for (anchors), and around each of them look-alikes that are
nearly right: too dear, with another feature in place of one that was asked for, without the wanted option, or a
thing of another kind that is advertised as going with the anchor. Their sellers write much, so that a careless search
finds them first. Whoever compares titles, prices and options can tell them apart.

    generate(products=1_000, seed=0, out=Path("catalogue"))
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from sparring.envs.web.webshop import words
from sparring.envs.web.webshop.build import build_from_rows
from sparring.envs.web.webshop.phrasing import ask_as_human, ask_plainly, describe
from sparring.envs.web.webshop.words import Feature, Kind
from sparring.errors import InvalidConfig

GENERATOR_VERSION = 2

_ASIN_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ASIN_SPACE = 36**8
_ASIN_FACTOR = 1_740_113_527_277  # odd and no multiple of 3, hence invertible modulo 36^8: no ASIN comes twice
_COMPANIONS = 0.45  # share of look-alikes that are of another kind and are advertised as going with the anchor
_LOUD, _LOUD_ANCHORS = 0.9, 0.05  # shares whose sellers repeat what the product is, which lifts it in the ranking
_STUFFED = 0.05  # share of look-alikes whose sellers add words that every instruction contains
_WANTED = 0.15  # share of look-alikes that somebody asks for as well
_FAULTS = (
    ("price",), ("price",), ("price", "option"), ("price", "option"), ("price", "feature"), ("option",),
    ("feature",), ("feature", "option"),
)  # fmt: skip
_RECENT = 4_096  # more than any batch of the compiler, so that what belongs to a row is still there when it asks


@dataclass(frozen=True, slots=True)
class Item:
    """One raw row and what the original keeps in other files.

    Attributes:
        row: a row of `items_shuffle.json`. attributes: its entry in `items_ins_v2.json`.
        human: its entries in `items_human_ins.json`. nouns: the nouns of its title.
    """

    row: dict[str, Any]
    attributes: dict[str, Any]
    human: list[dict[str, Any]]
    nouns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Family:
    kind: Kind
    features: tuple[Feature, ...]
    line: str
    brands: tuple[str, ...]
    price: float


@dataclass(frozen=True, slots=True)
class _Draft:
    """What sets one product of a family apart; `features` begin with the two that its title shows."""

    kind: Kind
    features: tuple[Feature, ...]
    options: dict[str, tuple[str, ...]]
    price: float
    wanted: bool
    loud: bool
    stuffed: bool
    material: str
    style: str
    goes_with: tuple[Kind, tuple[Feature, ...]] | None = None


def items(products: int, seed: int) -> Iterator[Item]:
    """Stream the items of a catalogue.

    Args:
        products: how many; a larger catalogue also has more brands. seed: of everything random.
    Raises:
        InvalidConfig: fewer than one product.
    """
    if products < 1:
        raise InvalidConfig(f"products must be at least 1, got {products}")
    order = list(words.KINDS)
    random.Random(f"kinds {seed}").shuffle(order)
    brands = max(60, int(products**0.7))
    number = family = 0
    while number < products:
        generator = random.Random(f"family {seed} {family}")
        spec = _family(generator, _kind(generator, order, family), family, brands)
        drafts = _drafts(generator, spec)
        for draft in drafts[: products - number]:
            yield _item(generator, spec, draft, _asin(number, seed))
            number += 1
        family += 1


def rows(products: int, seed: int) -> Iterator[dict[str, Any]]:
    """Stream the raw rows alone; arguments as for `items`."""
    return (item.row for item in items(products, seed))


def generate(products: int, seed: int, out: Path) -> Path:
    """Make a catalogue and compile it into the folder `out`; memory stays bounded at any number of products.

    Returns:
        `out`.
    """
    attributes: _Recent = _Recent()
    human: _Recent = _Recent()

    def stream() -> Iterable[dict[str, Any]]:
        for item in items(products, seed):
            attributes.keep(item.row["asin"], item.attributes)
            human.keep(item.row["asin"], item.human)
            yield item.row

    return build_from_rows(stream(), attributes, human, title_nouns, out)


class _Recent(dict[str, Any]):
    """What belongs to the rows that were yielded last."""

    def __bool__(self) -> bool:
        """True even before the first row: it is a table that fills up, not an empty one."""
        return True

    def keep(self, asin: str, value: object) -> None:
        self[asin] = value
        if len(self) > _RECENT:
            del self[next(iter(self))]


_NOUNS = frozenset(
    [word for kind in words.KINDS for word in kind.name.split()]
    + [feature.name.split()[-1] for pool in words.FEATURES.values() for feature in pool if feature.noun]
    + [material for materials in words.MATERIALS.values() for material in materials]
)


def title_nouns(title: str) -> tuple[str, ...]:
    """The nouns of a made-up title: the brand, which comes first, and the nouns of the vocabulary."""
    brand, *rest = title.lower().split()
    return (brand, *(word for word in rest if word in _NOUNS))


def _asin(number: int, seed: int) -> str:
    value = (number * _ASIN_FACTOR + random.Random(f"asin {seed}").randrange(_ASIN_SPACE)) % _ASIN_SPACE
    digits = []
    for _ in range(8):
        value, digit = divmod(value, 36)
        digits.append(_ASIN_DIGITS[digit])
    return "B0" + "".join(digits)


def _zipf(generator: random.Random, size: int) -> int:
    """A rank below `size` with a chance of about 1/rank."""
    return int(math.exp(generator.random() * math.log(size + 1))) - 1


# Popular kinds fill large catalogues, as 1 / (rank + 10): the first has about 4 % of all families.
_KIND_WEIGHTS = tuple(accumulate(1 / (rank + 10) for rank in range(len(words.KINDS))))


def _kind(generator: random.Random, order: list[Kind], family: int) -> Kind:
    """Each kind once at first, so that a small catalogue has them all; after that by popularity."""
    if family < len(order):
        return order[family]
    return generator.choices(order, cum_weights=_KIND_WEIGHTS)[0]


def _family(generator: random.Random, kind: Kind, number: int, brands: int) -> _Family:
    pool = [feature for name in kind.pools for feature in words.FEATURES[name]]
    low, high = kind.price
    return _Family(
        kind,
        tuple(generator.sample(pool, 7)),
        words.coined(brands + number),
        tuple(words.coined(_zipf(generator, brands)) for _ in range(4)),
        math.exp(generator.uniform(math.log(low), math.log(high))),
    )


def _drafts(generator: random.Random, family: _Family) -> list[_Draft]:
    drafts = []
    for _ in range(generator.randint(2, 3)):
        anchor = _anchor(generator, family)
        drafts.append(anchor)
        drafts.extend(_look_alikes(generator, family, anchor))
    generator.shuffle(drafts)
    return drafts


def _anchor(generator: random.Random, family: _Family) -> _Draft:
    features = generator.sample(family.features, generator.randint(3, 4))
    return _Draft(
        family.kind,
        tuple(features),
        _options(generator, family.kind),
        family.price * generator.uniform(0.8, 1.2),
        wanted=True,
        loud=generator.random() < _LOUD_ANCHORS,
        stuffed=False,
        material=generator.choice(words.MATERIALS[family.kind.category]),
        style=generator.choice(words.STYLES),
    )


def _options(generator: random.Random, kind: Kind) -> dict[str, tuple[str, ...]]:
    """Zero to two option groups of two to five values, now and then many."""
    groups = generator.sample(kind.groups, generator.choices((0, 1, 2), (1, 5, 6))[0])
    options = {}
    for group in groups:
        name, values = words.GROUPS[group]
        size = min(len(values), generator.choice((2, 3, 3, 4, 5)) if generator.random() < 0.97 else 16)
        options[name] = tuple(generator.sample(values, size))
    return options


def _look_alikes(generator: random.Random, family: _Family, anchor: _Draft) -> Iterator[_Draft]:
    """Products that are like the anchor, each wrong in one or more ways: kind, price, feature, option."""
    materials = words.MATERIALS[family.kind.category]
    for _ in range(generator.randint(2, 4)):
        if generator.random() < _COMPANIONS:
            yield _companion(generator, family, anchor)
            continue
        features, options, price = anchor.features, anchor.options, anchor.price * generator.uniform(0.85, 1.1)
        faults = generator.choice(_FAULTS)
        if "price" in faults:
            # The bound lies 10 to 40 dollars above the anchor's price: from just above it to far above it.
            price = anchor.price + generator.uniform(18, 60)
        if "feature" in faults:
            features = _swap_feature(generator, family, features)
        if "option" in faults:
            options = _other_options(generator, family.kind, options)
        yield _Draft(
            family.kind, features, options, price, wanted=generator.random() < _WANTED, loud=generator.random() < _LOUD,
            stuffed=generator.random() < _STUFFED,
            material=anchor.material if generator.random() < 0.5 else generator.choice(materials),
            style=anchor.style if generator.random() < 0.5 else generator.choice(words.STYLES),
        )  # fmt: skip


def _companion(generator: random.Random, family: _Family, anchor: _Draft) -> _Draft:
    """A thing of another department that is advertised as going with the anchor, in the same colours and sizes."""
    kind = generator.choice([one for one in words.KINDS if one.category != family.kind.category])
    pool = [feature for name in kind.pools for feature in words.FEATURES[name] if not feature.noun]
    return _Draft(
        kind, tuple(generator.sample(pool, 2)), anchor.options, anchor.price * generator.uniform(0.3, 0.9),
        wanted=False, loud=True, stuffed=generator.random() < _STUFFED,
        material=generator.choice(words.MATERIALS[kind.category]), style=generator.choice(words.STYLES),
        goes_with=(family.kind, anchor.features),
    )  # fmt: skip


def _swap_feature(generator: random.Random, family: _Family, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    others = [feature for feature in family.features if feature not in features]
    swapped = list(features)
    for place in generator.sample(range(2), generator.choice((1, 2))):
        swapped[place] = others.pop(generator.randrange(len(others)))
    return tuple(swapped)


def _other_options(
    generator: random.Random, kind: Kind, options: dict[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """The same groups with other values (or without one of the groups)."""
    changed = {}
    keys = {words.GROUPS[group][0]: group for group in kind.groups}
    for name, values in options.items():
        if generator.random() < 0.25:
            continue
        others = [value for value in words.GROUPS[keys[name]][1] if value not in values]
        kept = list(values[: len(values) // 2])
        changed[name] = tuple(kept + generator.sample(others, min(len(others), len(values) - len(kept))))
    return changed


def _pricing(generator: random.Random, price: float) -> str | None:
    """A price as sellers write it: whole, with cents, just below or at a round number, a range, or missing."""
    way = generator.random()
    if way < 0.03:
        return generator.choice((None, ""))
    if way < 0.10:
        return f"${price * generator.uniform(0.7, 0.95):,.2f} to ${price * generator.uniform(1.05, 1.3):,.2f}"
    if way < 0.18:
        return f"${max(10, round(price, -1)):,.2f}"
    if way < 0.6:
        return f"${max(1, math.floor(price)) + generator.choice((0.99, 0.95, 0.5, 0.49)):,.2f}"
    return f"${price:,.2f}"


def _title(generator: random.Random, family: _Family, draft: _Draft, brand: str) -> str:
    first, second = draft.features[:2]
    before = [feature.name for feature in (first, second) if not feature.noun]
    after = [feature.name for feature in (first, second) if feature.noun]
    middle = [draft.style] if generator.random() < 0.3 else []
    return " ".join((brand, *middle, *before, draft.material, draft.kind.name, *after)).title()


def _item(generator: random.Random, family: _Family, draft: _Draft, asin: str) -> Item:
    kind = draft.kind
    brand = generator.choice(family.brands) if kind is family.kind else words.coined(generator.randrange(40))
    title = _title(generator, family, draft, brand)
    description, bullets = describe(
        generator, kind, family.line, draft.features, draft.loud, draft.stuffed, draft.goes_with
    )
    row: dict[str, Any] = {
        "name": title,
        "full_description": description,
        "pricing": _pricing(generator, draft.price),
        "images": [f"images/{asin}.png"],
        "product_category": " › ".join((words.DEPARTMENTS[kind.category], kind.shelf, kind.plural.title())),
        "average_rating": "",
        "small_description": bullets,
        "customization_options": {
            name: [{"value": value, "image": None} for value in values] for name, values in draft.options.items()
        }
        or "",
        "asin": asin,
        "category": kind.category,
        "query": kind.plural,
        "page": generator.randint(1, 40),
    }
    if draft.options and generator.random() < 0.05:
        row["customization_options"]["item shape"] = None
    attributes: dict[str, Any] = {"attributes": [feature.name for feature in draft.features]}
    human: list[dict[str, Any]] = []
    if draft.wanted:
        text, asked = ask_plainly(generator, kind, draft.features)
        attributes |= {"instruction": text, "instruction_attributes": [feature.name for feature in asked]}
        for _ in range(generator.randint(2, 5)):
            text, asked, chosen = ask_as_human(generator, kind, draft.features, draft.options)
            human.append(
                {
                    "asin": asin,
                    "instruction": text,
                    "attributes": attributes["attributes"],
                    "options": [f"{name}: {value}" for name, value in chosen],
                    "instruction_attributes": [feature.name for feature in asked],
                    "instruction_options": [_as_loaded(value) for _, value in chosen],
                    "assignment_id": f"{asin}-{len(human)}",
                    "worker_id": f"writer-{generator.randrange(50)}",
                }
            )
    return Item(row, attributes, human, title_nouns(title))


def _as_loaded(value: str) -> str:
    """An option value as the shop shows it."""
    return value.replace("/", " | ")
