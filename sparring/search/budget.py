"""When a search has done enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparring.errors import InvalidConfig
from sparring.search.tree import Tree

IDLE = 100
"""Simulations in a row that use none of a budget, after which a tree is done that has no other limit."""


@dataclass(frozen=True, slots=True)
class Budget:
    """When a tree is done: as soon as one of these is used up. A simulation under way is finished.

    A budget of nothing but steps or tokens may never be used up: known endings cost no steps to visit again, and some
    policies report no tokens. Then a tree is done when `IDLE` simulations in a row used none of it.

    Attributes:
        simulations, env_steps, tokens: of each tree, in all its searches. seconds: of one call, for all its trees.
    """

    simulations: int | None = 50
    env_steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = [self.simulations, self.env_steps, self.tokens, self.seconds]
        if all(one is None for one in given):
            raise InvalidConfig("a search needs a budget: simulations, env_steps, tokens or seconds")
        if any(one is not None and not 0 < one < math.inf for one in given):
            raise InvalidConfig(f"a budget must be a finite number above 0, got {self}")

    def used_up(self, tree: Tree, seconds: float) -> str | None:
        """What is used up, None while the tree may go on."""
        spent = tree.spent
        for name, used, limit in (
            ("simulations", spent.simulations + tree.running, self.simulations),
            ("env_steps", spent.env_steps, self.env_steps),
            ("tokens", spent.tokens, self.tokens),
            ("seconds", seconds, self.seconds),
        ):
            if limit is not None and used >= limit:
                return name
        return None


class Idleness:
    """Notices that the simulations of a tree use none of its budget any more."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._last_use: dict[int, tuple[int, int]] = {}

    def of(self, tree: Tree) -> str | None:
        """Why the tree is done for want of use; None while it is not, or is certain to end otherwise."""
        budget, spent = self._budget, tree.spent
        if budget.simulations is not None or budget.seconds is not None:
            return None
        used = (spent.env_steps if budget.env_steps is not None else 0) + (
            spent.tokens if budget.tokens is not None else 0
        )
        before, since = self._last_use.get(id(tree), (-1, 0))
        if used != before:
            self._last_use[id(tree)] = used, spent.simulations
            return None
        return f"{IDLE} simulations in a row used none of the budget" if spent.simulations - since >= IDLE else None
