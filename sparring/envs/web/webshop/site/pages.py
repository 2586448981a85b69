"""A visit as HTML. Everything that comes from the catalogue is text to the templates, which escape it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sparring.envs.web.webshop import pages
from sparring.envs.web.webshop.pages import Kind
from sparring.envs.web.webshop.session import Shop, Visit
from sparring.errors import need

# The page's own buttons, as they are written on it; those of the results and of an item in this order.
LABELS = {
    pages.BACK_TO_SEARCH: "Back to Search",
    pages.PREVIOUS_PAGE: "< Prev",
    pages.NEXT_PAGE: "Next >",
    **pages.SUB_PAGES,
    pages.BUY_NOW: "Buy Now",
}


@dataclass(frozen=True, slots=True)
class Control:
    """Something to click: the name that the text environment's `click[name]` takes, and where it leads."""

    name: str
    label: str
    address: str
    chosen: bool = False


@cache
def _templates() -> Any:
    jinja: Any = need("jinja2", "web")
    loader = jinja.PackageLoader("sparring.envs.web.webshop.site")
    return jinja.Environment(loader=loader, autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True)


def controls(shop: Shop, visit: Visit) -> list[Control]:
    """All that can be clicked on a visit's page, in the order in which the page shows it."""
    page = shop.page(visit)
    places = {name: place for place, name in enumerate(page.targets) if name != "search"}

    def control(name: str, label: str, chosen: bool = False) -> Control:
        return Control(name, label, f"click/{places[name]}", chosen)

    found = [control(name, label) for name, label in LABELS.items() if name in places and name != pages.BUY_NOW]
    if visit.kind is Kind.RESULTS:
        products = [shop.catalogue.product(row) for row in visit.rows]
        found += [control(one.asin.lower(), _written(one.name, one.asin), one.asin in visit.seen) for one in products]
    if visit.kind is Kind.ITEM and visit.row is not None:
        for name, values in shop.catalogue.product(visit.row).options.items():
            chosen = visit.options.get(name.lower())
            found += [control(value, _written(value), value == chosen) for value in values if value in places]
    buy = [control(pages.BUY_NOW, LABELS[pages.BUY_NOW])] if pages.BUY_NOW in places else []
    return [*found, *buy]


def render(shop: Shop, visit: Visit, base: str, notice: str = "") -> str:
    """The page of a visit.

    Args:
        base: the address under which its links lie. notice: what is to be said above it.
    """
    links = {one.name: one for one in controls(shop, visit)}
    product = shop.catalogue.product(visit.row) if visit.row is not None else None
    values: dict[str, Any] = {
        "base": base,
        "instruction": shop.goal(visit).instruction_text,
        "notice": notice,
        "buttons": [links[name] for name in LABELS if name in links],
        "visit": visit,
        "product": product,
    }
    if visit.kind is Kind.RESULTS:
        rows = [shop.catalogue.product(row) for row in visit.rows]
        values["products"] = [(one, links[one.asin.lower()]) for one in rows]
        values["words"] = " ".join(visit.keywords or ())
    elif visit.kind is Kind.ITEM and product is not None:
        values["options"] = [
            (name, list(_chosen(links, options, visit.options.get(name.lower()))))
            for name, options in product.options.items()
        ]
    elif visit.kind is Kind.SUB_PAGE:
        # The text nodes after the two buttons are what the sub page is about.
        values["texts"] = [node.strip() for node in shop.page(visit).nodes[2:]]
    html: str = _templates().get_template(f"{visit.kind.value}.html").render(values)
    return html


def _written(name: str, otherwise: str = "(no name)") -> str:
    """A link's text: real catalogues hold products and options without a name, which would be nothing to click."""
    return name if name.strip() else otherwise


def _chosen(links: dict[str, Control], values: Sequence[str], chosen: str | None) -> Iterator[Control]:
    for value in values:
        if value in links:
            yield Control(value, links[value].label, links[value].address, value == chosen)


def welcome(tasks: Sequence[tuple[int, str]]) -> str:
    """The page that offers tasks, as pairs of a goal's index and its instruction."""
    html: str = _templates().get_template("welcome.html").render(tasks=tasks)
    return html
