"""A visit to the shop and the one function that moves it on (docs/webshop.md, sections 2, 3, 5 and 8).

A `Visit` is never changed: acting gives a new one, so that keeping an old one is a snapshot. Both the Gymnasium
environment and the simulator of the original's interface act through `Shop.act`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sparring.envs.web.webshop import pages
from sparring.envs.web.webshop.goals import Goal, GoalBook
from sparring.envs.web.webshop.pages import Kind, Page, Target
from sparring.envs.web.webshop.reward import purchase_reward

BASE_URL = "http://127.0.0.1:3000"
RANDOM_HITS = 50
_PAGE_NAMES = ("search_results", "item_page", "item_sub_page", "done")


@dataclass(frozen=True, slots=True)
class Visit:
    """Where a session stands.

    Attributes:
        session_id: part of every URL. goal: the goal's index in the goal book.
        kind, url: the page shown. The URL is state: the original looks page names and options up in it.
        keywords, number: the current search and its page, None before a search.
        row: of the current product. options: chosen so far, by lower-cased option name.
        seen: ASINs opened since the last start page.
        counters: the original's count of actions by name.
        rows, total: the hits on the current results page and the number of all hits.
        sub_page: title of the current sub page.
        finished, reward, parts: whether a purchase was made, and what the last one earned.
    """

    session_id: str
    goal: int
    kind: Kind
    url: str
    keywords: tuple[str, ...] | None = None
    number: int | None = None
    row: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()
    counters: Mapping[str, int] = field(default_factory=dict)
    rows: tuple[int, ...] = ()
    total: int = 0
    sub_page: str = ""
    finished: bool = False
    reward: float | None = None
    parts: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action led to. `no_op` says why nothing happened; None where something did."""

    visit: Visit
    reward: float = 0.0
    done: bool = False
    no_op: str | None = None


class SearchFailed(Exception):
    """A special search that the original answers with an exception."""


def page_name(url: str) -> str:
    """The original's notion of the current page: the first page name that occurs anywhere in the URL."""
    return next((name for name in _PAGE_NAMES if name in url), "")


class Shop:
    """A catalogue with goals, open for any number of visits at once.

    Args:
        book: the goals, and through them the catalogue and prices. show_attrs: see `pages.Pages`.
    """

    def __init__(self, book: GoalBook, show_attrs: bool = False) -> None:
        self.book = book
        self.catalogue = book.catalogue
        self.pages = pages.Pages(book.catalogue, show_attrs)

    def goal(self, visit: Visit) -> Goal:
        """The visit's goal."""
        return self.book.goal(visit.goal)

    def enter(self, session_id: str, goal: int) -> Visit:
        """A new visit, on the start page."""
        return Visit(session_id, goal, Kind.INDEX, f"{BASE_URL}/{session_id}")

    def page(self, visit: Visit) -> Page:
        """The page that a visit shows."""
        if visit.kind is Kind.RESULTS:
            return self.pages.results(visit.rows, visit.number or 0, visit.total)
        if visit.kind is Kind.INDEX:
            return self.pages.index()
        assert visit.row is not None
        if visit.kind is Kind.ITEM:
            return self.pages.item(visit.row)
        if visit.kind is Kind.SUB_PAGE:
            return self.pages.sub_page(visit.row, visit.sub_page)
        return pages.receipt(self.catalogue.product(visit.row).asin, visit.options, visit.reward or 0.0)

    def observe(self, visit: Visit, page: Page, rich: bool = False) -> str:
        """The observation of a visit, in mode `text` or `text_rich`."""
        head = pages.heading(visit.kind, self.goal(visit).instruction_text)
        return pages.as_rich_text(head, page, visit.url, visit.seen) if rich else pages.as_text(head, page)

    def act(self, visit: Visit, action: str, generator: Callable[[], random.Random]) -> Outcome:
        """Take an action.

        Args:
            visit: where the session stands. action: `search[…]` or `click[…]`; anything else is a no-op.
            generator: gives the generator of `search[<r>]`; called only there.
        """
        name, argument = pages.parse_action(action)
        try:
            if argument is not None and name == "search":
                return Outcome(self._results(visit, tuple(argument.split(" ")), 1, generator))
            if argument is not None and name == "click":
                target = self.page(visit).targets.get(argument)
                if target is None or argument == "search":
                    return Outcome(visit, no_op=f'nothing called "{argument:.80}" can be clicked on this page')
                return self._click(visit, argument, target, generator)
        except SearchFailed as error:
            return Outcome(visit, no_op=str(error))
        return Outcome(visit, no_op=f'"{action:.80}" is no action: write search[words] or click[name]')

    def _click(self, visit: Visit, name: str, target: Target, generator: Callable[[], random.Random]) -> Outcome:
        if name == pages.BUY_NOW:
            return self._buy(visit)
        if name == pages.BACK_TO_SEARCH:
            return Outcome(self.start_page(visit))
        if name in (pages.NEXT_PAGE, pages.PREVIOUS_PAGE):
            shown = page_name(visit.url)
            if shown == "search_results" or (shown == "item_page" and name == pages.PREVIOUS_PAGE):
                step = 0 if shown == "item_page" else 1 if name == pages.NEXT_PAGE else -1
                return Outcome(self._results(visit, visit.keywords or (), (visit.number or 0) + step, generator))
            if shown == "item_sub_page" and name == pages.PREVIOUS_PAGE:
                return Outcome(self._item(visit, visit.row, visit.options, visit.seen, visit.counters))
        if name in pages.SUB_PAGES:
            return Outcome(self._sub_page(visit, pages.SUB_PAGES[name]))
        if target.row is not None:
            asin = self.catalogue.product(target.row).asin
            if asin != name.upper():
                return Outcome(visit, no_op=f'the product "{asin}" can\'t be opened: its ASIN is not upper-case')
            seen, counters = visit.seen | {asin}, _count(visit.counters, "asin")
            return Outcome(self._item(visit, target.row, visit.options, seen, counters))
        if target.option is not None:
            options, counters = {**visit.options, target.option: name}, _count(visit.counters, "options")
            return Outcome(self._item(visit, visit.row, options, visit.seen, counters))
        return Outcome(self._item(visit, visit.row, visit.options, visit.seen, visit.counters))

    def start_page(self, visit: Visit) -> Visit:
        """The visit back on the start page: everything forgotten but the goal and what a purchase earned."""
        return Visit(
            visit.session_id, visit.goal, Kind.INDEX, f"{BASE_URL}/{visit.session_id}",
            finished=visit.finished, reward=visit.reward, parts=visit.parts,
        )  # fmt: skip

    def _results(
        self, visit: Visit, keywords: tuple[str, ...], number: int, generator: Callable[[], random.Random]
    ) -> Visit:
        hits = self._find(keywords, generator)
        start, end = (number - 1) * pages.HITS_PER_PAGE, number * pages.HITS_PER_PAGE
        return Visit(
            visit.session_id, visit.goal, Kind.RESULTS,
            f"{BASE_URL}/search_results/{visit.session_id}/{'+'.join(keywords)}/{number}",
            keywords, number, None, {}, visit.seen, _count(visit.counters, "search"),
            tuple(int(row) for row in hits[start:end]), len(hits), "", visit.finished, visit.reward, visit.parts,
        )  # fmt: skip

    def _find(
        self, keywords: tuple[str, ...], generator: Callable[[], random.Random]
    ) -> Sequence[int] | npt.NDArray[np.int64]:
        """Rows of the hits. The first keyword may ask for random products, a category or a query."""
        kind = keywords[0] if keywords else ""
        if kind == "<r>":
            if len(self.catalogue) < RANDOM_HITS:
                raise SearchFailed(f"search[<r>] needs {RANDOM_HITS} products; the catalogue has {len(self.catalogue)}")
            return generator().sample(range(len(self.catalogue)), RANDOM_HITS)
        if kind == "<a>":
            raise SearchFailed("search[<a> …] has no attribute table here; the original raises TypeError")
        if kind == "<c>":
            if len(keywords) < 2:
                raise SearchFailed("search[<c> …] needs a category; the original raises IndexError")
            return self.catalogue.rows_labelled("category", keywords[1].strip())
        if kind == "<q>":
            return self.catalogue.rows_labelled("query", " ".join(keywords[1:]).strip())
        return self.catalogue.search(" ".join(keywords))

    def _item(
        self,
        visit: Visit,
        row: int | None,
        options: Mapping[str, str],
        seen: frozenset[str],
        counters: Mapping[str, int],
    ) -> Visit:
        place = self._place(visit, row)
        chosen = json.dumps(options) if options else "{}"
        return Visit(
            visit.session_id, visit.goal, Kind.ITEM, f"{BASE_URL}/item_page/{place}/{chosen}",
            visit.keywords, visit.number, row, options, seen, counters,
            finished=visit.finished, reward=visit.reward, parts=visit.parts,
        )  # fmt: skip

    def _sub_page(self, visit: Visit, title: str) -> Visit:
        place = self._place(visit, visit.row)
        return Visit(
            visit.session_id, visit.goal, Kind.SUB_PAGE,
            f"{BASE_URL}/item_sub_page/{place}/{title}/{dict(visit.options)!r}",
            visit.keywords, visit.number, visit.row, visit.options, visit.seen, _count(visit.counters, title),
            sub_page=title, finished=visit.finished, reward=visit.reward, parts=visit.parts,
        )  # fmt: skip

    def _place(self, visit: Visit, row: int | None) -> str:
        assert row is not None
        keywords = "+".join(visit.keywords or ())
        return f"{visit.session_id}/{self.catalogue.product(row).asin}/{keywords}/{visit.number}"

    def _buy(self, visit: Visit) -> Outcome:
        assert visit.row is not None
        product, goal = self.catalogue.product(visit.row), self.goal(visit)
        nouns = self.catalogue.product(goal.row).nouns
        reward, parts = purchase_reward(product, goal, nouns, float(self.book.prices[visit.row]), visit.options)
        bought = Visit(
            visit.session_id, visit.goal, Kind.DONE,
            f"{BASE_URL}/done/{visit.session_id}/{product.asin}/{dict(visit.options)!r}",
            visit.keywords, visit.number, visit.row, visit.options, visit.seen, _count(visit.counters, "purchase"),
            finished=True, reward=reward, parts=parts,
        )  # fmt: skip
        return Outcome(bought, reward, True)


def _count(counters: Mapping[str, int], name: str) -> Mapping[str, int]:
    return {**counters, name: counters.get(name, 0) + 1}
