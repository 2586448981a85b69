"""ScienceWorld; what starts its Java process is marked slow, and is skipped without the package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from sparring.envs.text.scienceworld import ScienceWorld
from sparring.errors import EnvFailed, InvalidConfig, MissingExtra, UnknownName
from sparring.testing import check_env
from sparring.types import ActionSet


class Script:
    """Stands in for the Java process."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.raw_score = 0.0

    def call(self, name: str, *arguments: Any) -> Any:
        self.calls.append((name, *arguments))
        answers = {
            "freeActionLook": "A hall.\n\ta door \n",
            "getTaskDescription": "Boil water.",
            "getGoldActionSequence": ["open door", "go to kitchen"],
            "getCompleted": False,
        }
        return self._answer(arguments[0]) if name == "step" else answers.get(name)

    def score(self) -> float:
        return self.raw_score

    def variations(self) -> dict[str, dict[str, tuple[int, ...]]]:
        return {"boil": {"train": (0, 1), "dev": (2,), "test": (3,)}}

    def _answer(self, action: str) -> str:
        if action == "open door":
            return "Ambiguous request: Please enter the number (or blank to cancel):\n0:\topen it\n1:\topen that\n"
        if action == "go to moon":
            return "No known action matches that input."
        self.raw_score = {"focus on water": 0.5, "focus on door": -1.0}.get(action, 0.0)
        return f"You {action}."


class World(ScienceWorld):
    """ScienceWorld on that script."""

    script: Any = None

    @property
    def simulator(self) -> Any:
        self.script = self.script or Script()
        return self.script


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    constants: Any = ModuleType("scienceworld.constants")
    constants.ID2TASK = {"1-1": "boil"}
    monkeypatch.setitem(sys.modules, "scienceworld", ModuleType("scienceworld"))
    monkeypatch.setitem(sys.modules, "scienceworld.constants", constants)
    monkeypatch.setitem(sys.modules, "py4j", ModuleType("py4j"))
    monkeypatch.setitem(sys.modules, "py4j.java_gateway", ModuleType("py4j.java_gateway"))
    monkeypatch.setattr(ScienceWorld, "_variations", {})
    yield World()


def test_the_reward_is_the_change_of_the_score_and_a_fatal_mistake_takes_it_back(world: World) -> None:
    text, info = world.reset(seed=0, options={"task": "boil/1"})
    assert text == "A hall.\n  a door" and info["instruction"].startswith("Boil water.\nActions: ")
    assert ("load", "boil", 1, "", False) in world.simulator.calls
    assert world.step("focus on water")[1] == 0.5
    _, reward, terminated, _, info = world.step("focus on door")
    assert (reward, terminated, info["score"], info["success"]) == (-0.5, True, 0.0, False)


def test_an_ambiguous_request_admits_its_numbers_and_cancelling(world: World) -> None:
    world.reset(seed=0)
    text, _, _, _, info = world.step("open door")
    assert info["actions"] == ActionSet(("0", "1", "cancel")) and "(or cancel)" in text
    assert world.step("go to kitchen")[4]["no_op"]
    world.step("cancel")
    assert ("step", "") in world.simulator.calls


def test_what_the_parser_does_not_understand_is_a_no_op(world: World) -> None:
    world.reset(seed=0)
    text, reward, terminated, _, info = world.step("go to moon")
    assert (reward, terminated, info["no_op"]) == (0.0, False, "not understood") and text.startswith("No known")


@pytest.mark.parametrize("nonsense", ["", "reset task", "dance", "open \ud800", "open a\nb", "open " + "x" * 300])
def test_what_is_no_action_does_not_reach_the_simulator(world: World, nonsense: str) -> None:
    world.reset(seed=0)
    before = len(world.simulator.calls)
    assert world.step(nonsense)[4]["no_op"]
    assert len(world.simulator.calls) == before


def test_the_gold_path_is_asked_for_once_and_before_the_first_action(world: World) -> None:
    world.reset(seed=0, options={"task": "boil/0"})
    assert world.expert_action() == world.expert_action() == "open door"
    assert world.simulator.calls.count(("load", "boil", 0, "", True)) == 1
    world.step("look around")
    assert world.expert_action() == "open door"  # not said yet
    world.step("open door")
    assert world.expert_action() == "go to kitchen"
    world.reset(seed=0)
    world.step("look around")
    with pytest.raises(EnvFailed, match="from the first turn on"):
        world.expert_action()


@pytest.mark.usefixtures("world")
def test_settings_outside_what_is_allowed_are_named() -> None:
    with pytest.raises(InvalidConfig, match='got "openWindows"'):
        ScienceWorld(simplification="openDoors,openWindows")
    with pytest.raises(UnknownName, match='no kind of task "boyl"'):
        ScienceWorld(kinds=("boyl",))


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scienceworld", None)
    with pytest.raises(MissingExtra, match=r"sparring\[scienceworld\]"):
        ScienceWorld()


def _java_processes() -> int:
    listed = subprocess.run(("ps", "-eo", "args"), capture_output=True, text=True, check=True).stdout
    return sum("py4j.GatewayServer" in line for line in listed.splitlines())


@pytest.mark.slow
def test_the_gold_path_reaches_the_whole_score_and_closing_ends_the_process() -> None:
    pytest.importorskip("scienceworld")
    before = _java_processes()
    env = ScienceWorld(simplification="easy")
    try:
        for task in ("boil/3", "find-plant/200", "power-component/0", "chemistry-mix/30"):
            seen = env.reset(seed=0, options={"task": task})
            assert seen[1]["task"] == task
            rewards = []
            while True:
                _, reward, terminated, _, info = env.step(env.expert_action())
                rewards.append(reward)
                if terminated:
                    break
            assert info["score"] == 1.0 and info["success"] and sum(rewards) == pytest.approx(1.0)
    finally:
        env.close()
    assert _java_processes() == before


@pytest.mark.slow
def test_the_splits_are_the_packages_and_hold_all_variations() -> None:
    pytest.importorskip("scienceworld")
    env = ScienceWorld()
    sizes = {split: len(env.task_ids(split)) for split in env.splits}
    env.close()
    # 7,207 variations; the package gives twice the whole part of a quarter to train, that part to dev, the rest to test
    assert sum(sizes.values()) == 7207 and sizes == {"train": 3592, "dev": 1796, "test": 1819}


@pytest.mark.slow
def test_most_listed_actions_are_understood() -> None:
    pytest.importorskip("scienceworld")
    env = ScienceWorld(kinds=("boil",), actions="list")
    env.reset(seed=0)
    try:
        understood = 0
        for number in range(40):
            choices = env.observe()[1]["actions"].choices
            understood += "no_op" not in env.step(choices[number * 37 % len(choices)])[4]
        # Not all: the simulator lists things in closed containers, which its parser refuses.
        assert understood >= 15
    finally:
        env.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_keeps_the_whole_contract() -> None:
    pytest.importorskip("scienceworld")
    check_env(lambda: ScienceWorld(kinds=("boil",)), max_turns=20)
