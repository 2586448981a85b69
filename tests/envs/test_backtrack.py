"""Going back: against an environment that is played anew, whichever way states come back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparring
from sparring.envs import backtrack
from sparring.envs.backtrack import GO_BACK, Backtrack
from sparring.envs.base import restore, snapshot
from sparring.errors import EnvNotSearchable, ReplayDiverged
from sparring.registration import make
from tests.search.worlds import CHOICES, DriftingTreeWorld, ReplayedTreeWorld, TreeWorld

MOVES = st.lists(st.sampled_from([*CHOICES, GO_BACK, GO_BACK]), max_size=14)


def started(world: Callable[[], TreeWorld] = TreeWorld) -> Backtrack:
    env = Backtrack(world())
    env.reset(seed=0)
    return env


@pytest.mark.parametrize("world", [TreeWorld, ReplayedTreeWorld])
@settings(deadline=None)
@given(moves=MOVES)
def test_every_place_is_that_of_the_steps_that_were_not_undone(world, moves):
    env, taken = started(world), []
    for move in moves:
        if move == GO_BACK and not taken:
            continue
        text, reward, terminated, truncated, info = env.step(move)
        if move != GO_BACK:
            taken.append(move)
        else:
            taken.pop()
        anew = TreeWorld()
        anew.reset(seed=0)
        results = [anew.step(action) for action in taken]
        assert text == anew.observe()[0]
        assert (GO_BACK in info["actions"].choices) == (bool(taken) and not terminated)
        assert info["actions"].choices[: len(CHOICES)] == CHOICES and not truncated
        if move != GO_BACK:
            assert results and (reward, terminated) == results[-1][1:3]
        if terminated:
            assert info["score"] == results[-1][4]["score"]
            break


def test_the_end_of_an_episode_is_not_undone():
    env = started(lambda: TreeWorld(1))
    _, _, terminated, _, info = env.step("left")
    assert terminated and info["actions"].choices == CHOICES
    with pytest.raises(KeyError, match="go back"):  # the world itself is asked, which knows no such way
        env.step(GO_BACK)


def test_there_is_nothing_to_undo_at_the_beginning():
    env = started()
    text, *_ = env.step(GO_BACK)
    assert text == f"at {GO_BACK}"


class Endless(TreeWorld):
    """Without an end, and so without a table of all of them."""

    def __init__(self) -> None:
        super().__init__(1)
        self.depth = 1000


class Wages(Endless):
    """Each step earns or costs what its action says."""

    def step(self, action):
        text, _, terminated, truncated, info = super().step(action)
        return text, {"left": 1.0, "middle": 0.0, "right": -1.0}[action], terminated, truncated, info


@given(moves=MOVES)
def test_earnings_are_taken_back_and_costs_are_not(moves):
    env, earned, taken = started(Wages), 0.0, []
    costs = 0
    for move in moves:
        if move == GO_BACK and not taken:
            continue
        earned += env.step(move)[1]
        if move != GO_BACK:
            taken.append(move)
        else:
            costs += taken.pop() == "right"
    assert earned == taken.count("left") - taken.count("right") - costs


def test_steps_that_are_undone_stay_counted():
    sparring.register("tests/Tree-v1", "tests.envs.test_backtrack:Endless", max_turns=5)
    env = make("tests/Tree-v1", wrappers=["backtrack"])
    env.reset(seed=0)
    ends = [env.step(move)[3] for move in ("left", "left", GO_BACK, "right", "left")]
    assert ends == [False] * 4 + [True]
    env.reset(seed=0)
    for moves in (("left", GO_BACK) * 2 + ("left",), ("left", "left", "left", GO_BACK, GO_BACK)):
        *_, (text, _, terminated, truncated, info) = [env.step(move) for move in moves]
        assert (text, terminated, truncated) == ("at left", False, True)
        assert GO_BACK not in info["actions"].choices
        env.reset(seed=0)


def test_going_back_comes_to_an_end(monkeypatch):
    monkeypatch.setattr(backtrack, "MOST", 3)
    env = started()
    for _ in range(3):
        env.step("left")
        assert env.step(GO_BACK)[0] == "at the root"
    _, _, _, _, info = env.step("left")
    assert GO_BACK not in info["actions"].choices and env.step(GO_BACK)[0] == f"at left/{GO_BACK}"
    env.reset(seed=0)
    assert GO_BACK in env.step("left")[4]["actions"].choices


@given(before=MOVES, between=MOVES, after=MOVES)
def test_a_snapshot_holds_what_can_be_undone(before, between, after):
    env = started(Endless)
    for move in before:
        env.step(move)
    saved = snapshot(env)
    first = [env.step(move) for move in after]
    for move in between:
        env.step(move)
    restore(env, saved)
    assert [env.step(move) for move in after] == first


def test_the_agent_is_told_that_it_can_go_back():
    env = Backtrack(TreeWorld())
    _, info = env.reset(seed=0)
    assert info["instruction"] == "You can also say: go back (it undoes your last step)"
    _, _, _, _, info = env.step("left")
    assert "instruction" not in info
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=5)
    env = make("tests/Copy-v1", wrappers=["backtrack"])
    _, info = env.reset(seed=0)
    assert info["instruction"].startswith("Say the word.\nYou can also say: go back") and "task" in info
    env.step("red")
    _, _, _, _, info = env.step(GO_BACK)
    assert not {"instruction", "task"} & set(info)


def test_a_world_without_a_list_of_actions_understands_it_too():
    class Silent(TreeWorld):
        def observe(self):
            text, info = super().observe()
            return text, {"task": info["task"]}

    env = started(Silent)
    _, _, _, _, info = env.step("left")
    assert "actions" not in info and env.step(GO_BACK)[0] == "at the root"


def test_a_replay_needs_a_seed():
    env = Backtrack(ReplayedTreeWorld())
    env.reset()
    assert GO_BACK not in env.step("left")[4]["actions"].choices


def test_a_replay_that_shows_something_else_is_no_way_back():
    env = started(DriftingTreeWorld)
    env.step("left")
    env.step("left")
    with pytest.raises(ReplayDiverged, match="diverged at step 1"):
        env.step(GO_BACK)


def test_a_world_that_can_not_be_brought_back_is_refused():
    class Dice(ReplayedTreeWorld):
        deterministic = False

    with pytest.raises(EnvNotSearchable, match="leave the wrapper out"):
        Backtrack(Dice())
