"""Addresses of the shop: `/visit/7` shows a visit, and the links on it act on that visit.

A visit is never changed, and each address names the one that it shows: going back in a browser goes back in the shop,
and what was bought in one tab does not disturb another. Following the same link twice leads to the same visit.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import parse_qs

from sparring.envs.web.browser.origins import Reply, split_target
from sparring.envs.web.webshop.session import Outcome, Shop, Visit
from sparring.envs.web.webshop.site import pages

_KEPT = 20_000
_OFFERED = 5
_LONGEST_SEARCH = 500


class Site:
    """A shop's pages, for any number of visitors.

    Args:
        shop: catalogue and goals. draw: gives the goals that new visitors are offered; with None there are no
            visits but those of `enter`, and no one can choose another goal. origin: where a browser finds it.
    """

    def __init__(self, shop: Shop, draw: Callable[[], int] | None, origin: str = "http://shop.localhost") -> None:
        self.shop = shop
        self.origin = origin
        self._draw = draw
        self._lock = threading.Lock()
        self._visits: OrderedDict[int, Visit] = OrderedDict()
        self._led: OrderedDict[tuple[int, str], tuple[int, Outcome]] = OrderedDict()
        self._next = 1

    def clear(self) -> None:
        """Forget all visits."""
        with self._lock:
            self._visits.clear()
            self._led.clear()
            self._next = 1

    def enter(self, goal: int) -> str:
        """A new visit; returns the path of its first page."""
        with self._lock:
            return f"/visit/{self._keep(self.shop.enter(str(goal), goal))}"

    def _keep(self, visit: Visit) -> int:
        number = self._next
        self._next += 1
        self._visits[number] = visit
        while len(self._visits) > _KEPT:
            self._visits.popitem(last=False)
        return number

    def at(self, url: str) -> tuple[Visit, Outcome] | None:
        """The visit that an address shows, and what the action came to that it stands for; None for other pages."""
        path, query = split_target(url.removeprefix(self.origin))
        found = self._resolve(path, parse_qs(query))
        return None if found is None else (found[1], found[2])

    def reply(self, target: str) -> Reply:
        """The page at a path with its query."""
        path, query = split_target(target)
        if self._draw is not None and path == "/":
            offered = [self._draw() for _ in range(_OFFERED)]
            return _html(pages.welcome([(goal, self.shop.book.goal(goal).instruction_text) for goal in offered]))
        if self._draw is not None and path.startswith("/start/"):
            goal = _number(path[len("/start/") :])
            if goal is not None and goal < len(self.shop.book):
                return self._show(self.enter(goal), {})
        return self._show(path, parse_qs(query))

    def _show(self, path: str, query: dict[str, list[str]]) -> Reply:
        found = self._resolve(path, query)
        if found is None:
            return Reply(b"There is no such page, or the visit is too long ago. Start again at /", "text/plain", 404)
        number, visit, outcome = found
        return _html(pages.render(self.shop, visit, f"/visit/{number}/", outcome.no_op or ""))

    def _resolve(self, path: str, query: dict[str, list[str]]) -> tuple[int, Visit, Outcome] | None:
        with self._lock:
            before, _, rest = path.partition("/visit/")
            name, _, what = rest.partition("/")
            number = _number(name)
            if before or number is None or number not in self._visits:
                return None
            if not what:
                return number, self._visits[number], Outcome(self._visits[number])
            action = self._action(self._visits[number], what, query)
            if action is None:
                return None
            reached, outcome = self._follow(number, action)
            return reached, self._visits[reached], outcome

    def _action(self, visit: Visit, what: str, query: dict[str, list[str]]) -> str | None:
        """The text environment's action behind a link or a form."""
        if what == "search":
            return f"search[{query.get('words', [''])[0][:_LONGEST_SEARCH]}]"
        kind, _, place = what.partition("/")
        number, targets = _number(place), list(self.shop.page(visit).targets)
        return f"click[{targets[number]}]" if kind == "click" and number is not None and number < len(targets) else None

    def _follow(self, number: int, action: str) -> tuple[int, Outcome]:
        led = self._led.get((number, action))
        if led is None or led[0] not in self._visits:
            # Random hits are drawn by the visit's place, so that loading a page again shows the same ones.
            outcome = self.shop.act(self._visits[number], action, lambda: random.Random(f"{number} {action}"))
            reached = number if outcome.no_op is not None else self._keep(outcome.visit)
            led = self._led[number, action] = (reached, outcome)
            while len(self._led) > _KEPT:
                self._led.popitem(last=False)
        return led


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _html(page: str) -> Reply:
    return Reply(page.encode("utf-8", "replace"))
