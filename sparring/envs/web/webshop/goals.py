"""Goals: what the shopper is asked to buy (docs/webshop.md, section 7).

The original draws prices and price bounds from Python's global generator, seeds it with 233, shuffles the goals,
and goes on drawing from it. A `GoalBook` does the same with a private `random.Random`. The order of goals does
not depend on the seed, so a compiled catalogue stores it, and goals are made when asked for.
"""

from __future__ import annotations

import bisect
import json
import math
import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sparring.envs.web.webshop.catalogue import Catalogue
from sparring.errors import InvalidConfig

DEFAULT_SEED = 0
SHUFFLE_SEED = 233
NO_BOUND = 1000000
_PRICE_GRID = tuple(10.0 * step for step in range(1, 100))
_GOALS_KEPT = 4096

GoalKind = Literal["synthetic", "human"]
GoalFilter = Callable[[int, Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing to buy.

    Attributes:
        row, asin: the product the goal was made from. category, query, name, product_category: its labels.
        instruction_text: what the shopper is told.
        attributes: what the reward looks for in the purchased product.
        price_upper: the price in US dollars that the purchase may cost, bound included.
        options: wanted options, as (name, value) pairs in synthetic goals and plain values in human ones.
        weight: relative chance of being drawn. human: whether a person wrote the instruction.
    """

    row: int
    asin: str
    category: str
    query: str
    name: str
    product_category: str
    instruction_text: str
    attributes: tuple[str, ...]
    price_upper: float
    options: tuple[tuple[str, str], ...] | tuple[str, ...]
    weight: float
    human: bool

    def as_original(self) -> dict[str, Any]:
        """The goal as the original's dictionary."""
        return {
            "asin": self.asin,
            "category": self.category,
            "query": self.query,
            "name": self.name,
            "product_category": self.product_category,
            "instruction_text": self.instruction_text,
            "attributes": list(self.attributes),
            "price_upper": self.price_upper,
            "goal_options": list(self.options) if self.human else dict(self.options),  # type: ignore[arg-type]
            "weight": self.weight,
        }


def combinations(options: Mapping[str, tuple[str, ...]]) -> int:
    """Number of ways to choose one value for every option."""
    return math.prod(len(values) for values in options.values())


def draw_price_bound(price: float, generator: random.Random) -> float:
    """A bound above the price, from the first four steps of the grid above it; `NO_BOUND` with fewer than two."""
    first = bisect.bisect_right(_PRICE_GRID, price)
    candidates = _PRICE_GRID[first : first + 4]
    return max(generator.sample(candidates, 2)) if len(candidates) >= 2 else NO_BOUND


def weighted_index(sums: npt.NDArray[np.float64], generator: random.Random) -> int:
    """Draw a goal as the original does: `sums` is 0, w0, w0+w1, …; its off-by-one (goal 0 never comes) included."""
    point = generator.uniform(0, float(sums[-1]))
    return min(int(np.searchsorted(sums, point, side="right")), len(sums) - 2)


class GoalBook:
    """All goals of one kind on a catalogue, made when asked for.

    Args:
        catalogue: where the products are. kind: "synthetic" or "human".
        seed: of the original's draws of prices and price bounds.
        keep: `filter_goals(i, goal)` of the original; limit: its `limit_goals`, -1 for none.
    Raises:
        InvalidConfig: an unknown kind, or no goals.
    """

    def __init__(
        self, catalogue: Catalogue, kind: GoalKind, seed: int = 0, keep: GoalFilter | None = None, limit: int = -1
    ) -> None:
        if kind not in ("synthetic", "human"):
            raise InvalidConfig(f'goals must be "synthetic" or "human", got {kind!r}')
        self.catalogue = catalogue
        self.kind = kind
        self.seed = seed
        generator = random.Random(seed)
        self.prices = draw_prices(catalogue.pricing, generator)
        self.source_rows: npt.NDArray[np.int32] = catalogue.array(f"{kind}_rows")
        if seed == DEFAULT_SEED:
            self._bounds = catalogue.array(f"{kind}_bounds")
        else:
            self._bounds = draw_price_bounds(self.prices[self.source_rows], generator)
        self.sources: npt.NDArray[np.int32] = catalogue.array(f"{kind}_sources")
        self.weight_sums: npt.NDArray[np.float64] = catalogue.array(f"{kind}_weight_sums")
        if kind == "synthetic":
            self._choices = catalogue.array("synthetic_choices")
            self._source_weights = catalogue.array("synthetic_weights")
        generator.setstate(_stored_state(catalogue, kind))
        self.goal = lru_cache(_GOALS_KEPT)(self._make)
        if keep is not None:
            self._select([i for i in range(len(self)) if keep(i, self.goal(i).as_original())])
        if limit != -1 and limit < len(self):
            self._select(self._draw_distinct(limit, generator))
        if not len(self):
            raise InvalidConfig(f"the catalogue {catalogue.path} has no {kind} goals (after filter and limit)")
        self._state = generator.getstate()
        self.shared: dict[Hashable, object] = {}  # what environments on these goals share

    def _select(self, indexes: list[int]) -> None:
        weights = self.weights(np.array(indexes, np.int32))
        self.sources = self.sources[indexes]
        if self.kind == "synthetic":
            self._choices = self._choices[indexes]
        self.weight_sums = np.concatenate([[0.0], np.cumsum(weights)])
        self.goal = lru_cache(_GOALS_KEPT)(self._make)

    def _draw_distinct(self, limit: int, generator: random.Random) -> list[int]:
        drawn: dict[int, None] = {}
        while len(drawn) < limit:
            drawn.setdefault(weighted_index(self.weight_sums, generator))
        return list(drawn)

    def __len__(self) -> int:
        return len(self.sources)

    def generator(self) -> random.Random:
        """A generator in the state in which the original's is once its goals are ready."""
        generator = random.Random()
        generator.setstate(self._state)
        return generator

    def _make(self, index: int) -> Goal:
        source = int(self.sources[index])
        product = self.catalogue.product(int(self.source_rows[source]))
        bound = float(self._bounds[source])
        if bound == NO_BOUND:
            bound = NO_BOUND  # the original's integer, which its goals show
        ending = "" if bound == NO_BOUND else f", and price lower than {bound:.2f} dollars"
        attributes: Sequence[str]
        options: Any
        if self.kind == "human":
            instruction, attributes, options = self.catalogue.human_entry(source)
            text = instruction.strip(".") + ending
            weight: float = 1
        else:
            options = _combination(product.options, int(self._choices[index]))
            listed = ", and ".join(f"{name}: {value}" for name, value in options)
            text = f"{product.instruction}{' with ' + listed if listed else ''}{ending}"
            attributes = product.instruction_attributes
            weight = float(self._source_weights[source])
        return Goal(
            int(self.source_rows[source]), product.asin, product.category, product.query, product.name,
            product.product_category, text, tuple(attributes), bound, tuple(options), weight, self.kind == "human",
        )  # fmt: skip

    def weights(self, goals: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """[len(goals)] the weight of each goal."""
        if self.kind == "human":
            return np.ones(len(goals))
        return self._source_weights[self.sources[goals]]

    @cached_property
    def goal_rows(self) -> npt.NDArray[np.int32]:
        """[goals] the row of each goal's product."""
        return self.source_rows[self.sources]


def _combination(options: Mapping[str, tuple[str, ...]], number: int) -> tuple[tuple[str, str], ...]:
    """The `number`-th element of the product of option values, names in alphabetical order, the last one fastest."""
    chosen = []
    for name in sorted(options, reverse=True):
        number, place = divmod(number, len(options[name]))
        chosen.append((name, options[name][place]))
    return tuple(reversed(chosen))


def draw_prices(pricing: npt.NDArray[np.float64], generator: random.Random) -> npt.NDArray[np.float64]:
    """[products] one price each: the given one, or a draw between the two ends, in product order."""
    prices = pricing[:, 0].copy()
    ranges = np.flatnonzero(~np.isnan(pricing[:, 1]))
    prices[ranges] = [generator.uniform(low, high) for low, high in pricing[ranges].tolist()]
    return prices


def draw_price_bounds(prices: npt.NDArray[np.float64], generator: random.Random) -> npt.NDArray[np.float64]:
    """[sources] the price bound of each goal source, in order, from its product's price."""
    return np.array([draw_price_bound(price, generator) for price in prices.tolist()], np.float64)


def _stored_state(catalogue: Catalogue, kind: str) -> tuple[Any, ...]:
    """State of the original's generator once it has shuffled the goals."""
    version, words, gauss = json.loads((catalogue.path / f"{kind}_generator.json").read_text(encoding="utf-8"))
    return version, tuple(words), gauss


def goal_book(catalogue: Catalogue, kind: GoalKind, seed: int = 0) -> GoalBook:
    """The goals of a kind and seed, shared by all environments on the same catalogue."""
    key = ("goals", kind, seed)
    if key not in catalogue.shared:
        catalogue.shared[key] = GoalBook(catalogue, kind, seed)
    book: GoalBook = catalogue.shared[key]
    return book
