"""What to do next to craft a goal: by the whole recipe book, from whatever is carried."""

from __future__ import annotations

from functools import cache
from math import ceil

from sparring.envs.text.textcraft.recipes import Inventory, Recipe, RecipeBook, listed, recipe_book


@cache
def _cheapest() -> tuple[dict[str, Recipe], dict[str, float]]:
    """For each craftable item the recipe of least cost, and the cost of every item.

    An item that can be got costs 1, a craft 1 and what its ingredients cost. Recipes may be circular, so costs are
    relaxed until none falls any more; the recipes chosen then have no circle, since a cost exceeds those it is made of.
    """
    book = recipe_book()
    costs: dict[str, float] = dict.fromkeys(sorted(book.gettable), 1.0)
    best: dict[str, Recipe] = {}
    falls = True
    while falls:
        falls = False
        for item, recipes in book.recipes.items():
            for recipe in recipes:
                cost = 1 + sum(
                    min((costs.get(name, float("inf")) for name in _names(book, one.name, one.is_tag)), default=0)
                    for one in recipe.ingredients
                )
                if cost < costs.get(item, float("inf")):
                    costs[item], best[item], falls = cost, recipe, True
    return best, costs


def _names(book: RecipeBook, name: str, is_tag: bool) -> tuple[str, ...]:
    return book.kinds[name] if is_tag else (name,)


def solvable(goal: str) -> bool:
    """Whether an item can be made at all."""
    return goal in _cheapest()[0]


def next_command(goal: str, inventory: Inventory) -> str:
    """The first command of a plan for one more of `goal`, which need not be the shortest.

    What is needed is summed up from the goal downwards; what lies deepest and is missing comes first.
    """
    best, _ = _cheapest()
    needed = {goal: inventory.get(goal, 0) + 1}
    using: dict[str, list[tuple[str, int]]] = {}
    order = _from_goal_down(goal, inventory)
    for item in order:
        missing = needed.get(item, 0) - inventory.get(item, 0)
        if item not in best or missing <= 0:
            continue
        using[item] = _ingredients(best[item], inventory)
        crafts = ceil(missing / best[item].count)
        for name, count in using[item]:
            needed[name] = needed.get(name, 0) + count * crafts
    for item in reversed(order):
        missing = needed.get(item, 0) - inventory.get(item, 0)
        if missing > 0:
            if item not in best:
                return f"get {missing} {item}"
            return f"craft {best[item].count} {item} using {listed(using[item])}"
    raise AssertionError("the goal itself is always missing")


def _from_goal_down(goal: str, inventory: Inventory) -> list[str]:
    """The goal and all that its plan is made of, each item before its ingredients."""
    best, _ = _cheapest()
    order: list[str] = []
    seen: set[str] = set()

    def visit(item: str) -> None:
        if item in seen:
            return
        seen.add(item)
        if item in best:
            for name, _ in _ingredients(best[item], inventory):
                visit(name)
        order.append(item)

    visit(goal)
    return order[::-1]


def _ingredients(recipe: Recipe, inventory: Inventory) -> list[tuple[str, int]]:
    """A recipe's ingredients, with an item for each kind: one that is there, else the cheapest."""
    book = recipe_book()
    _, costs = _cheapest()
    return [
        (
            min(
                _names(book, one.name, one.is_tag),
                key=lambda name: (inventory.get(name, 0) < one.count, costs.get(name, float("inf")), name),
            ),
            one.count,
        )
        for one in recipe.ingredients
    ]
