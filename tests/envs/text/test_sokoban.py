from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from sparring.envs.text.sokoban import Sokoban
from sparring.envs.text.sokoban_levels import ACTIONS, Position, Recipe, Room, level, moved, on_targets, picture, solve
from sparring.errors import InvalidConfig
from sparring.testing import check_env

RECIPES = [Recipe(6, 1, 0.15, 3, 30), Recipe(7, 2, 0.15, 4, 60)]


def read(drawing: str) -> tuple[Room, Position]:
    """A room in the letters of `picture`."""
    rows = [line.split() for line in drawing.strip().splitlines()]
    letters = [letter for row in rows for letter in row]
    player = next(at for at, letter in enumerate(letters) if letter in "@+")
    boxes = tuple(at for at, letter in enumerate(letters) if letter in "$*")
    cells = "".join({"@": "-", "$": "-", "+": ".", "*": "."}.get(letter, letter) for letter in letters)
    return Room(len(rows[0]), cells), (player, boxes)


def opened(drawing: str, boxes: int = 1) -> Sokoban:
    """An environment in a room of the test's own."""
    env = Sokoban(boxes=boxes)
    env.reset(seed=0)
    env.room, env.position = read(drawing)
    return env


def mean_return(env: Sokoban, episodes: int, rng: np.random.Generator | None = None) -> tuple[float, float]:
    """Mean return and success rate of the expert, or of random moves drawn from `rng`."""
    total, solved = 0.0, 0
    for episode in range(episodes):
        env.reset(seed=episode, options={"split": "test"})
        over = False
        while not over:
            action = env.expert_action() if rng is None else ACTIONS[rng.integers(4)]
            _, reward, terminated, truncated, info = env.step(action)
            total, over = total + reward, terminated or truncated
        solved += info["success"]
    return total / episodes, solved / episodes


@pytest.mark.parametrize("boxes", [1, 2])
def test_it_keeps_the_contract(boxes: int) -> None:
    check_env(lambda: Sokoban(boxes=boxes))


def test_moves_and_rewards_by_hand() -> None:
    env = opened(
        """
        # # # # # #
        # @ - - - #
        # - $ . - #
        # . $ - - #
        # - - - - #
        # # # # # #
        """,
        boxes=2,
    )
    steps = [
        ("up", -0.1),  # a wall
        ("right", -0.1),
        ("down", -0.1),  # two boxes in a row don't move
        ("left", -0.1),
        ("down", -0.1),
        ("right", 0.9),  # a box onto its target
        ("right", -1.1),  # and off it again
    ]
    for action, expected in steps:
        _, reward, terminated, truncated, info = env.step(action)
        assert (reward, terminated, truncated) == (pytest.approx(expected), False, False)
        assert "no_op" not in info
    text = "# # # # # #\n# - - - - #\n# - - + $ #\n# . $ - - #\n# - - - - #\n# # # # # #"
    assert env.observe()[0] == text
    found, reward, _, _, info = env.step("push")
    assert (found, reward) == (text, pytest.approx(-0.1))
    assert info["no_op"] == "'push' is none of: up, down, left, right"
    assert solve(env.room, env.position) is None  # the box along the right wall can't leave it
    assert env.expert_action() in ACTIONS


def test_the_last_box_ends_the_episode() -> None:
    env = opened("# # # # #\n# @ $ . #\n# # # # #")
    text, reward, terminated, truncated, info = env.step("right")
    assert text == "# # # # #\n# - @ * #\n# # # # #"
    assert reward == pytest.approx(-0.1 + 1 + 10)
    assert (terminated, truncated, info["score"], info["success"]) == (True, False, 1.0, True)


def test_the_turn_limit_truncates_with_the_share_of_boxes_on_targets() -> None:
    env = opened("# # # # # #\n# @ - * - #\n# - $ - . #\n# # # # # #", boxes=2)
    for _ in range(29):
        assert not env.step("up")[3]
    _, _, terminated, truncated, info = env.step("up")
    assert (terminated, truncated, info["score"], info["success"]) == (False, True, 0.5, False)


def shortest(room: Room, position: Position) -> int | None:
    """The length of a shortest solution, by a search without pruning."""
    away, queue = {position: 0}, deque([position])
    while queue:
        here = queue.popleft()
        if on_targets(room, here) == len(here[1]):
            return away[here]
        for action in ACTIONS:
            there = moved(room, here, room.way(action))
            if there not in away:
                away[there] = away[here] + 1
                queue.append(there)
    return None


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_level_is_solved_by_its_shortest_solution(recipe: Recipe) -> None:
    for number in range(15):
        room, position = level(f"train/{number}", recipe)
        assert len(position[1]) == len(room.targets) == recipe.boxes
        assert on_targets(room, position) == 0
        solution = solve(room, position)
        assert solution is not None
        assert recipe.least_moves <= len(solution) <= recipe.most_moves
        assert len(solution) == shortest(room, position)
        for action in solution:
            position = moved(room, position, room.way(action))
        assert on_targets(room, position) == recipe.boxes


def test_random_positions_are_judged_as_by_a_search_without_pruning() -> None:
    rng = np.random.default_rng(0)
    verdicts = []
    for number in range(40):
        room, _ = level(f"dev/{number}", RECIPES[0])
        inside = [at for at, cell in enumerate(room.cells) if cell == "-"]
        player, box = rng.choice(inside, 2, replace=False).tolist()
        solution, expected = solve(room, (player, (box,))), shortest(room, (player, (box,)))
        assert (None if solution is None else len(solution)) == expected
        verdicts.append(expected is None)
    assert 5 < sum(verdicts) < 35  # both happened


def test_levels_stay_what_they_are() -> None:
    assert picture(*level("train/0", RECIPES[0])) == GOLDEN


def test_no_level_is_in_two_splits() -> None:
    env = Sokoban(train_tasks=500)
    levels = [{picture(*level(task, env._recipe)) for task in env.task_ids(split)} for split in env.splits]
    assert not (levels[0] & levels[1] or levels[0] & levels[2] or levels[1] & levels[2])
    assert len(levels[0]) > 450


def test_the_expert_solves_all_and_random_moves_few() -> None:
    env = Sokoban()
    expert, random = mean_return(env, 100), mean_return(env, 100, np.random.default_rng(0))
    assert expert[1] == 1.0
    assert expert[0] > 10
    assert random[1] < 0.3


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="got 3, 1 and"):
        Sokoban(size=3)
    with pytest.raises(InvalidConfig, match="got 3, 40 and 30"):
        Sokoban(most_moves=40)
    with pytest.raises(InvalidConfig, match="none fits"):
        Sokoban(size=5, turn_limit=90, least_moves=80).reset(seed=0)


GOLDEN = """\
# # # # # #
# # - - # #
# - $ - - #
# - - . - #
# @ - - - #
# # # # # #"""
