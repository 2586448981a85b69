"""Pages as the agent sees them: text nodes in document order, and what can be clicked (docs/webshop.md, 2 and 4).

The original renders HTML and parses it again; here a page is the list of text nodes that would come out. What
depends on the product or the hits alone is made once and kept; only the instruction, the clicked marks and the
receipt are per visit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import lru_cache

from sparring.envs.web.webshop.catalogue import Catalogue
from sparring.types import ActionSet, Form

SEPARATOR = " [SEP] "
BUY_NOW, BACK_TO_SEARCH, NEXT_PAGE, PREVIOUS_PAGE = "buy now", "back to search", "next >", "< prev"
SUB_PAGES = {"description": "Description", "features": "Features", "reviews": "Reviews", "attributes": "Attributes"}
HITS_PER_PAGE = 10

_PAGES_KEPT = 2048
_HTML_SPACES = " \n\t\f\r"
_NO_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"})


class Kind(StrEnum):
    """The five page templates."""

    INDEX = "index"
    RESULTS = "results"
    ITEM = "item"
    SUB_PAGE = "sub_page"
    DONE = "done"


class Style(IntEnum):
    """What kind of element a text node stands in."""

    PLAIN = 0
    BUTTON = 1
    OPTION = 2
    LINK = 3


@dataclass(frozen=True, slots=True)
class Target:
    """What a click hits: a product link, an option value under its option's name, or a button (neither)."""

    row: int | None = None
    option: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The part of a page that is the same for every visitor.

    Attributes:
        nodes: the visible text nodes after the instruction. styles: the `Style` of each, one byte a node.
        text: the nodes' `text` mode form.
        targets: clickable name → what it is, in the original's order.
        actions: what is admissible, as complete actions; names that no action can spell are left out.
        has_search_bar: whether the page shows one.
    """

    nodes: tuple[str, ...]
    styles: bytes
    text: str
    targets: Mapping[str, Target]
    actions: ActionSet
    has_search_bar: bool = False


def visible(text: str) -> str | None:
    """A text node as BeautifulSoup keeps it: None where it vanishes, one blank for blanks without a newline."""
    if text[:1] > " " or text.strip(_HTML_SPACES):  # the first test is the second one's shortcut
        return text
    return None if not text or "\n" in text else " "


def parse_action(action: str) -> tuple[str, str | None]:
    r"""Split an action into name and argument as the regular expression `(.+)\[(.+)\]` does at the start.

    The argument is lower-cased, the name is not. Without a match the whole string is the name. Written without
    the expression, whose running time is quadratic in the number of brackets.
    """
    line, _, _ = action.partition("\n")
    close = line.rfind("]")
    opening = line.rfind("[", 1, max(close - 1, 0))
    if opening < 1:
        return action, None
    return line[:opening], line[opening + 1 : close].lower()


def _click(name: str) -> str | None:
    """The action that clicks this name, None if there is none."""
    action = f"click[{name}]"
    plain = name and "[" not in name and "\n" not in name
    return action if name != "search" and (plain or parse_action(action) == ("click", name)) else None


SEARCH_FORM = Form("search[", "]")


def _page(nodes: Iterable[tuple[Style, str]], targets: Mapping[str, Target], search_bar: bool = False) -> Page:
    shown = []
    styles = bytearray()
    for style, text in nodes:
        node = visible(text)
        if node is not None:
            shown.append(node)
            styles.append(style)
    choices = tuple([action for name in targets if (action := _click(name)) is not None])
    joined = SEPARATOR.join([node.strip() for node in shown])
    actions = ActionSet(choices, (SEARCH_FORM,) if search_bar else ())
    return Page(tuple(shown), bytes(styles), joined, targets, actions, search_bar)


def _buttons(*labels: str) -> tuple[list[tuple[Style, str]], dict[str, Target]]:
    return [(Style.BUTTON, label) for label in labels], {label.lower(): Target() for label in labels}


_INDEX_PAGE = _page(*_buttons("Search"), search_bar=True)
_NOTHING: Mapping[str, Target] = {}


class Pages:
    """Makes the pages of one catalogue and keeps the latest.

    Args:
        catalogue: the products. show_attrs: whether item pages have the `Attributes` button.
    """

    def __init__(self, catalogue: Catalogue, show_attrs: bool = False) -> None:
        self._catalogue = catalogue
        self._show_attrs = show_attrs
        self.results = lru_cache(_PAGES_KEPT)(self._results)
        self.item = lru_cache(_PAGES_KEPT)(self._item)
        self.sub_page = lru_cache(_PAGES_KEPT)(self._sub_page)

    def index(self) -> Page:
        """The start page."""
        return _INDEX_PAGE

    def _results(self, rows: tuple[int, ...], number: int, total: int) -> Page:
        """Page `number` of the results, showing the products in `rows`, of `total` hits."""
        back, targets = _buttons("Back to Search")
        turn, more = _buttons("< Prev", "Next >") if number > 1 else _buttons("Next >")
        nodes = [*back, (Style.PLAIN, f"Page {number} (Total results: {total})"), *turn]
        targets |= more
        for row in rows:
            product = self._catalogue.product(row)
            nodes += [(Style.LINK, product.asin), (Style.PLAIN, product.name), (Style.PLAIN, product.price_tag)]
            targets[product.asin.lower()] = Target(row=row)
        return _page(nodes, targets)

    def _item(self, row: int) -> Page:
        """A product's page."""
        product = self._catalogue.product(row)
        nodes, targets = _buttons("Back to Search", "< Prev")
        for name, values in product.options.items():
            nodes.append((Style.PLAIN, name))
            nodes += [(Style.OPTION, value) for value in values]
        nodes += [
            (Style.PLAIN, product.name), (Style.PLAIN, f"Price: {product.price_tag}"), (Style.PLAIN, "Rating: N.A."),
        ]  # fmt: skip
        labels = ["Description", "Features", "Reviews", *(["Attributes"] if self._show_attrs else []), "Buy Now"]
        more, actions = _buttons(*labels)
        targets |= actions
        for name, values in product.options.items():
            targets |= {value: Target(option=name.lower()) for value in values}
        return _page([*nodes, *more], targets)

    def _sub_page(self, row: int, title: str) -> Page:
        """`Description`, `Features`, `Reviews` or `Attributes` of a product."""
        product = self._catalogue.product(row)
        nodes, targets = _buttons("Back to Search", "< Prev")
        texts: Sequence[str] = ()
        if title == "Description":
            texts = (product.description,)
        elif title == "Features":
            texts = [f" {bullet}" for bullet in product.bullets]
        elif title == "Attributes":
            listed = [f" {attribute}" for attribute in product.attributes]
            texts = [*listed, product.category, product.query, product.product_category]
        return _page([*nodes, *((Style.PLAIN, text) for text in texts)], targets)


def receipt(asin: str, options: Mapping[str, str], reward: float) -> Page:
    """The page after a purchase. It shows nothing of the goal."""
    chosen = json.dumps(dict(options), sort_keys=True).translate(_NO_HTML)
    texts = (
        "Thank you for shopping with us!", "Your code: ", "None", " (Paste it in your MTurk interface.)",
        "Purchased", "asin", asin, "options", chosen, "attrs", "None", "category", "None", "query", "None",
        "product category", "None", "Target", "asin", "options", "attrs", "price upper", "instuction text",
        "category", "product category", "query", "Goal ", "None", "Reward", "Your score (min 0.0, max 1.0)",
        str(reward), "Reward Details ", "None",
    )  # fmt: skip
    return _page(((Style.PLAIN, text) for text in texts), _NOTHING)


def heading(kind: Kind, instruction: str) -> tuple[str, ...]:
    """The text nodes in front of a page's own."""
    if kind is Kind.DONE:
        return ()
    shown = visible(instruction)
    told = () if shown is None else (shown,)
    return ("WebShop", "Instruction: ", *told) if kind is Kind.INDEX else ("Instruction:", *told)


def as_text(head: Sequence[str], page: Page) -> str:
    """Observation mode `text`."""
    return SEPARATOR.join([*(node.strip() for node in head), page.text])


def as_rich_text(head: Sequence[str], page: Page, url: str, seen: frozenset[str]) -> str:
    """Observation mode `text_rich`: buttons, options and links are marked, chosen and seen ones as clicked.

    An option counts as chosen where its text stands in double quotes anywhere in the URL, as in the original.
    """
    clicked: list[str] = []
    lines = list(head)
    for style, node in zip(page.styles, page.nodes, strict=True):
        if style == Style.PLAIN:
            lines.append(node)
        elif style == Style.BUTTON:
            lines.append(f"[button] {node} [button_]")
        elif style == Style.LINK:
            mark = "clicked button" if node in seen else "button"
            lines.append(f"\n[{mark}] {node} [{mark}_]")
        elif f'"{node}"' in url:
            lines.append(f"  [clicked button] {node} [clicked button_]")
            clicked.append(f"You have clicked {node}.")
        else:
            lines.append(f"  [button] {node} [button_]")
    return "".join(f"{line}\n" for line in (*reversed(clicked), *lines))


def with_history(
    observation: str, past: Sequence[str], actions: Sequence[str], num_prev_obs: int, num_prev_actions: int
) -> str:
    """Join the latest past observations and actions in front of the current observation, oldest first.

    Args:
        observation: the current one. past: earlier observations, oldest first. actions: those taken, oldest first.
    """
    parts = [observation]
    for back in range(1, max(num_prev_obs, num_prev_actions) + 1):
        if back <= num_prev_actions and back <= len(actions):
            parts.append(actions[-back])
        if back <= num_prev_obs and back <= len(past):
            parts.append(past[-back])
    return SEPARATOR.join(reversed(parts))
