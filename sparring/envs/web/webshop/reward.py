"""The reward of a purchase (docs/webshop.md, section 9).

    reward = r_type * (attributes matched + options matched + price fits) / (attributes + options + 1)

Fuzzy matches are `token_set_ratio > 85` of thefuzz 0.19.0 on `difflib`, which is what the original's
requirements install.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from sparring.envs.web.webshop.goals import Goal
from sparring.envs.web.webshop.products import Product
from sparring.errors import InvalidData

MATCH_ABOVE = 85

# In order of precedence: the first one that occurs in a text stands for it.
COLOURS = (
    "alabaster", "apricot", "aqua", "ash", "asphalt", "azure", "banana", "beige", "black", "blue",
    "blush", "bordeaux", "bronze", "brown", "burgundy", "camel", "camo", "caramel", "champagne",
    "charcoal", "cheetah", "chestnut", "chocolate", "christmas", "coffee", "cognac", "copper", "coral",
    "cranberry", "cream", "crystal", "dark", "denim", "eggplant", "elephant", "espresso", "fuchsia",
    "gold", "granite", "grape", "graphite", "grass", "gray", "green", "grey", "heather", "indigo",
    "ivory", "ivy", "khaki", "lavender", "lemon", "leopard", "light", "lilac", "lime", "magenta",
    "maroon", "mauve", "merlot", "midnight", "mint", "mocha", "multicolor", "mushroom", "mustard",
    "natural", "navy", "nude", "olive", "orange", "peach", "pewter", "pink", "plum", "purple",
    "rainbow", "red", "rose", "royal", "rust", "sand", "sapphire", "seashell", "silver", "skull",
    "slate", "steel", "stone", "stonewash", "sunflower", "tan", "taupe", "teal", "tiger", "turquoise",
    "violet", "walnut", "wheat", "white", "wine", "yellow",
)  # fmt: skip

_COLOUR_TEXT = re.compile("|".join(COLOURS))
_HIGH_LATIN = {code: None for code in range(128, 256)}
_NOT_WORD = re.compile(r"\W")

Option = str | tuple[str, str]


@lru_cache(maxsize=1 << 14)
def normalize_colour(option: Option) -> Option:
    """Replace an option by the colour it holds; of a (name, value) pair only a whole member counts."""
    if isinstance(option, str) and not _COLOUR_TEXT.search(option):
        return option
    return next((colour for colour in COLOURS if colour in option), option)


@lru_cache(maxsize=1 << 14)
def _tokens(text: str) -> frozenset[str]:
    plain = _NOT_WORD.sub(" ", text.translate(_HIGH_LATIN)).lower().strip()
    return frozenset(plain.split())


def _ratio(first: str, second: str) -> int:
    if first == second:
        return 100
    if not first or not second:
        return 0
    return round(100 * SequenceMatcher(None, first, second).ratio())


def _sides(left: frozenset[str], right: frozenset[str]) -> tuple[str, str, str]:
    """Common tokens, and each side as common tokens plus its own, all sorted."""
    common = " ".join(sorted(left & right))
    return (
        common,
        f"{common} {' '.join(sorted(left - right))}".strip(),
        f"{common} {' '.join(sorted(right - left))}".strip(),
    )


def token_set_ratio(first: object, second: object) -> int:
    """thefuzz 0.19.0's `token_set_ratio` on difflib, 0 to 100; anything but a string is compared as `str(…)`."""
    left, right = _tokens(str(first)), _tokens(str(second))
    if not left or not right:
        return 0
    common, first_side, second_side = _sides(left, right)
    return max(_ratio(common, first_side), _ratio(common, second_side), _ratio(first_side, second_side))


@lru_cache(maxsize=1 << 12)
def _letters(text: str) -> Counter[str]:
    return Counter(text)


def _exceeds(first: str, second: str) -> bool:
    """`_ratio(first, second) > 85`, decided without it where lengths or letters alone rule it out."""
    needed = (MATCH_ABOVE + 0.5) / 200 * (len(first) + len(second))  # ratio = 2 * matching letters / all letters
    if min(len(first), len(second)) < needed:
        return False
    other = _letters(second)
    if sum(min(count, other[letter]) for letter, count in _letters(first).items()) < needed:
        return False
    return _ratio(first, second) > MATCH_ABOVE


@lru_cache(maxsize=1 << 16)
def matches(first: Option, second: Option) -> bool:
    """`token_set_ratio(first, second) > 85`, mostly without the cost of a full comparison."""
    left, right = _tokens(str(first)), _tokens(str(second))
    if not left or not right:
        return False
    common, first_side, second_side = _sides(left, right)
    if not common:
        return _exceeds(first_side, second_side)
    if common in (first_side, second_side):
        return True
    return _exceeds(common, first_side) or _exceeds(common, second_side) or _exceeds(first_side, second_side)


@lru_cache(maxsize=1 << 12)
def _category_parts(product_category: str) -> frozenset[str]:
    return frozenset(part.strip() for part in product_category.split("›"))


def type_score(product: Product, goal: Goal, goal_nouns: Sequence[str]) -> dict[str, Any]:
    """r_type with its parts: do the two products belong to one kind, judged by query, category and title nouns."""
    query_match = product.query == goal.query
    category_match = len(_category_parts(product.product_category) & _category_parts(goal.product_category)) >= 2
    if goal_nouns:
        title_score = len(set(product.nouns).intersection(goal_nouns)) / len(goal_nouns)
    else:
        title_score = 0.2
    r_type = 1.0
    if not (query_match or category_match or title_score > 0.2):
        r_type = 0.5
    if title_score < 0.1:
        r_type = 0.1
    if title_score == 0.0:
        r_type = 0.0
    return {
        "r_type": r_type, "query_match": query_match, "category_match": category_match, "title_score": title_score,
    }  # fmt: skip


def count_attributes(product: Product, wanted: Iterable[str]) -> int:
    """How many wanted attributes the product has, in its attribute list or literally in one of its texts."""
    texts: tuple[str, ...] | None = None
    count = 0
    for attribute in wanted:
        if any(matches(own, attribute) for own in product.attributes):
            count += 1
            continue
        if texts is None:
            texts = (product.name.lower(), " ".join(product.bullets).lower(), product.description.lower())
        count += any(attribute in text for text in texts)
    return count


def count_options(purchased: Iterable[str], wanted: Iterable[Option]) -> int:
    """How many wanted options one of the purchased values matches."""
    values = [normalize_colour(value) for value in purchased]
    return sum(any(matches(value, one) for value in values) for one in map(normalize_colour, wanted))


def purchase_reward(
    product: Product, goal: Goal, goal_nouns: Sequence[str], price: float, options: Mapping[str, str]
) -> tuple[float, dict[str, Any]]:
    """The reward in [0, 1] and its parts, under the original's names.

    Args:
        product: what was bought. goal: what was asked for; goal_nouns: nouns of its product's title.
        price: what it cost, in US dollars. options: the chosen options.
    Raises:
        InvalidData: the goal has no attributes or no positive price bound (the original fails there too).
    """
    if not goal.attributes:
        raise InvalidData(f"the goal for {goal.asin} wants no attributes; at least one is needed to score it")
    if goal.price_upper <= 0:
        raise InvalidData(f"the goal for {goal.asin} has the price bound {goal.price_upper}; it must be positive")
    parts = type_score(product, goal, goal_nouns)
    attributes, wanted_options = len(goal.attributes), len(goal.options)
    r_price = price <= goal.price_upper
    n_attributes = count_attributes(product, goal.attributes)
    n_options = count_options(options.values(), goal.options)
    total = attributes + wanted_options + 1
    info: dict[str, Any] = {
        "r_type": parts["r_type"],
        "r_att": n_attributes / attributes,
        "w_att": attributes / total,
        "query_match": parts["query_match"],
        "category_match": parts["category_match"],
        "title_score": parts["title_score"],
    }
    if wanted_options:
        info |= {"r_option": n_options / wanted_options, "w_option": wanted_options / total}
    info |= {"r_price": r_price, "w_price": 1 / total}
    return (n_attributes + n_options + r_price) / total * parts["r_type"], info
