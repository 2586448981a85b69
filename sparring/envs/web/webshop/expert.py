"""The shopper who knows the goal: from any state the next action of a short way to the best reachable reward.

For each goal it looks for a product and options that earn reward 1, the goal's own product first, and for a
search that shows it, words of the instruction first. It walks the whole way once, on a visit of its own, before
it believes in it. Plans are kept with the goal book.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product as combine

from sparring.envs.web.webshop import pages
from sparring.envs.web.webshop.goals import Goal
from sparring.envs.web.webshop.matching import stems_of, words_of
from sparring.envs.web.webshop.pages import HITS_PER_PAGE, Kind
from sparring.envs.web.webshop.products import document_text
from sparring.envs.web.webshop.reward import Option, count_options, purchase_reward, type_score
from sparring.envs.web.webshop.session import Shop, Visit, page_name

_KEPT = 1 << 15
_NEAR_TOP = 5  # a search that puts the product among so many is good enough; else the best of all is taken
_WHOLE_CATALOGUE = 5_000  # up to this many products, all of them are tried where the goal's own won't do
_LONGEST_WAY = 40  # actions; five pages of hits, a product and its options are far fewer
_PAGE_NAMES = {Kind.RESULTS: "search_results", Kind.ITEM: "item_page", Kind.SUB_PAGE: "item_sub_page"}
_BACK = f"click[{pages.BACK_TO_SEARCH}]"
_PREVIOUS = f"click[{pages.PREVIOUS_PAGE}]"
_NEXT = f"click[{pages.NEXT_PAGE}]"
_BUY = f"click[{pages.BUY_NOW}]"


@dataclass(frozen=True, slots=True)
class Purchase:
    """A product by its row, the options to choose (lower-cased name → value), and what buying it so earns."""

    row: int
    options: tuple[tuple[str, str], ...]
    reward: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to buy and the search that shows it; `place` is its place among the hits, from 0."""

    purchase: Purchase
    query: str
    place: int


class Expert:
    """Plans for the goals of one shop.

    Args:
        shop: whose goals, prices and pages the plans are for.
    Attributes:
        plan: goal → the plan for it. purchase: (goal, row) → the best purchase of that product for that goal.
            Both are made when first asked for and kept.
    """

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.plan = lru_cache(_KEPT)(self._make_plan)
        self.purchase = lru_cache(_KEPT)(self._best_purchase)

    def next_action(self, visit: Visit) -> str:
        """The next action from where a visit stands."""
        return self._next(visit, self.plan(visit.goal))

    def _next(self, visit: Visit, plan: Plan) -> str:
        if visit.kind is Kind.INDEX or visit.kind is Kind.DONE:
            return f"search[{plan.query}]"
        if visit.kind is Kind.RESULTS:
            return self._on_results(visit, plan)
        assert visit.row is not None
        wanted = plan.purchase
        if visit.row != wanted.row:
            own = self.purchase((visit.goal, visit.row))
            if own.reward < wanted.reward:
                return self._leave(visit, plan)
            wanted = own
        if visit.kind is Kind.SUB_PAGE:
            return _PREVIOUS if _url_is_plain(visit) else _BACK
        if self._reward(visit.goal, visit.row, visit.options) >= wanted.reward:
            return _BUY
        for name, value in wanted.options:
            if visit.options.get(name) != value:
                return f"click[{value}]"
        return _BUY

    def _leave(self, visit: Visit, plan: Plan) -> str:
        """Away from a product that won't do: to the hits it was among, if the right one is there too."""
        if not _url_is_plain(visit):
            return _BACK
        if visit.kind is Kind.SUB_PAGE:
            return _PREVIOUS
        place = self._place(plan.purchase.row, visit)
        return _PREVIOUS if place is not None and _page_of(place) == visit.number else _BACK

    def _on_results(self, visit: Visit, plan: Plan) -> str:
        if plan.purchase.row in visit.rows:
            return self._open(plan.purchase.row)
        for row in visit.rows:
            if self.purchase((visit.goal, row)).reward >= plan.purchase.reward and self._can_open(row):
                return self._open(row)
        place, number = self._place(plan.purchase.row, visit), visit.number or 0
        planned = visit.keywords == tuple(plan.query.split(" "))
        if place is None or not _url_is_plain(visit) or (abs(_page_of(place) - number) > 2 and not planned):
            return _BACK
        return _NEXT if _page_of(place) > number else _PREVIOUS

    def _open(self, row: int) -> str:
        return f"click[{self.shop.catalogue.product(row).asin.lower()}]"

    def _can_open(self, row: int) -> bool:
        asin = self.shop.catalogue.product(row).asin
        return asin == asin.lower().upper() and pages.parse_action(self._open(row)) == ("click", asin.lower())

    def _place(self, row: int, visit: Visit) -> int | None:
        """Where a product stands among the hits of the visit's search, None if it does not."""
        keywords = visit.keywords or ("",)
        return None if keywords[0].startswith("<") else self._place_in(" ".join(keywords), row)

    def _place_in(self, query: str, row: int) -> int | None:
        hits = self.shop.catalogue.search(query)
        return hits.index(row) if row in hits else None

    def _reward(self, goal: int, row: int, options: Mapping[str, str]) -> float:
        wanted, catalogue = self.shop.book.goal(goal), self.shop.catalogue
        nouns = catalogue.product(wanted.row).nouns
        return purchase_reward(catalogue.product(row), wanted, nouns, float(self.shop.book.prices[row]), options)[0]

    def _best_purchase(self, key: tuple[int, int]) -> Purchase:
        """The options of a product that earn most for a goal, with the fewest clicks."""
        goal, row = key
        wants: Sequence[Option] = self.shop.book.goal(goal).options
        groups = []
        for name, values in self.shop.catalogue.product(row).options.items():
            useful: dict[frozenset[int], str | None] = {frozenset(): None}
            for value in values:
                met = frozenset(at for at, one in enumerate(wants) if count_options((value,), (one,)))
                if met not in useful and self._can_choose(row, name.lower(), value):
                    useful[met] = value
            groups.append([(name.lower(), value, met) for met, value in useful.items()])
        best = max(
            combine(*groups),
            key=lambda chosen: (
                len(frozenset().union(*(met for _, _, met in chosen))),
                -sum(value is not None for _, value, _ in chosen),
            ),
        )
        options = {name: value for name, value, _ in best if value is not None}
        return Purchase(row, tuple(options.items()), self._reward(goal, row, options))

    def _can_choose(self, row: int, name: str, value: str) -> bool:
        action = pages.parse_action(f"click[{value}]")
        if action != ("click", value) or value in (pages.BUY_NOW, pages.BACK_TO_SEARCH, pages.PREVIOUS_PAGE, "search"):
            return False
        target = self.shop.pages.item(row).targets.get(value)
        return value not in pages.SUB_PAGES and target is not None and target.option == name

    def _make_plan(self, goal: int) -> Plan:
        """The best plan that holds what it promises, tried product by product."""
        wanted = self.shop.book.goal(goal)
        told = tuple(self._told_queries(wanted))
        best: Plan | None = None
        for purchase in self._purchases(goal, wanted, told):
            if best is not None and purchase.reward <= best.purchase.reward:
                break
            plan = self._reach(goal, purchase, told)
            if plan is not None and (best is None or plan.purchase.reward > best.purchase.reward):
                best = plan
                if best.purchase.reward >= 1:
                    break
        # With nothing to be had, look for the goal's own product all the same.
        return best or Plan(Purchase(wanted.row, (), 0.0), told[0] if told else wanted.query, 0)

    def _purchases(self, goal: int, wanted: Goal, told: Sequence[str]) -> Iterator[Purchase]:
        """The goal's own product if it earns all; then whatever earns most, best first."""
        own = self.purchase((goal, wanted.row))
        if own.reward >= 1:
            yield own
        catalogue = self.shop.catalogue
        if len(catalogue) <= _WHOLE_CATALOGUE:
            rows = set(range(len(catalogue)))
        else:
            queries = (*told, *self._product_queries(wanted.row))
            rows = {row for query in queries for row in catalogue.search(query)}
        yield from self._best_first(goal, wanted, rows)

    def _best_first(self, goal: int, wanted: Goal, rows: Iterable[int]) -> Iterator[Purchase]:
        """The best purchase of each product, in order of reward; dear to compute, so only as far as asked for.

        No product earns more than its r_type, which is cheap: products are looked at by falling r_type, and a
        purchase is passed on once nothing that comes later can beat it.
        """
        catalogue = self.shop.catalogue
        nouns = catalogue.product(wanted.row).nouns
        levels: dict[float, list[int]] = {}
        for row in rows:
            if self._can_open(row):
                levels.setdefault(type_score(catalogue.product(row), wanted, nouns)["r_type"], []).append(row)
        bounds = sorted(levels, reverse=True)
        waiting: list[Purchase] = []
        for bound, following in zip(bounds, (*bounds[1:], 0.0), strict=True):
            waiting += [self.purchase((goal, row)) for row in levels[bound]]
            waiting.sort(key=lambda one: (-one.reward, len(one.options), one.row))
            ready = sum(one.reward >= following for one in waiting)
            yield from waiting[:ready]
            waiting = waiting[ready:]

    def _reach(self, goal: int, purchase: Purchase, told: Sequence[str]) -> Plan | None:
        """A search that shows the product early, checked by going the whole way."""
        best: Plan | None = None
        for tier in (told, self._product_queries(purchase.row)):
            for query in tier:
                place = self._place_in(query, purchase.row)
                if place is not None and (best is None or place < best.place):
                    best = Plan(purchase, query, place)
                    if place < _NEAR_TOP:
                        break
            if best is not None and best.place < HITS_PER_PAGE:
                break
        return best if best is not None and self._earns(goal, best) >= purchase.reward else None

    def _earns(self, goal: int, plan: Plan) -> float:
        visit = self.shop.enter("expert", goal)
        for _ in range(_LONGEST_WAY):
            outcome = self.shop.act(visit, self._next(visit, plan), random.Random)
            if outcome.done:
                return outcome.reward
            visit = outcome.visit
        return 0.0

    def _told_queries(self, goal: Goal) -> Iterator[str]:
        """Words of the instruction that its product shares, fewest first."""
        product = self.shop.catalogue.product(goal.row)
        told = words_of(goal.instruction_text)
        core = stems_of(" ".join((product.name, product.query, *goal.attributes)))
        everything = stems_of(document_text(product))
        yield from filter(None, (_only(told, core), _only(told, everything), " ".join(told)))

    def _product_queries(self, row: int) -> Iterator[str]:
        """Words of a product, whether the instruction has them or not."""
        product = self.shop.catalogue.product(row)
        texts = (product.name, f"{product.name} {product.query}", document_text(product), product.query)
        yield from filter(None, (" ".join(words_of(text)) for text in texts))


def next_action(shop: Shop, visit: Visit) -> str:
    """The next action of a short way from where `visit` stands to the best reward that can be reached.

    Args:
        shop: the shop; plans are kept with its goal book. visit: any state of it, after a purchase too.
    """
    return expert_of(shop).next_action(visit)


def expert_of(shop: Shop) -> Expert:
    """The expert of a shop, shared by all environments on the same goals."""
    expert = shop.book.shared.get("expert")
    if expert is None:
        expert = shop.book.shared["expert"] = Expert(shop)
    assert isinstance(expert, Expert)
    return expert


def _only(words: tuple[str, ...], stems: frozenset[str]) -> str:
    return " ".join(word for word in words if stems_of(word) & stems)


def _page_of(place: int) -> int:
    return place // HITS_PER_PAGE + 1


def _url_is_plain(visit: Visit) -> bool:
    """Whether `< prev` and `next >` do what they say: keywords in the URL can pose as another page's name."""
    return page_name(visit.url) == _PAGE_NAMES[visit.kind]
