"""The Jericho adapter, on a game of our own (`games/lamp.inf`) where Jericho is installed, and on a stand-in."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sparring.envs.text.jericho import Jericho
from sparring.errors import InvalidConfig, MissingExtra, UnknownName
from sparring.testing import check_env

LAMP = Path(__file__).parent / "games" / "lamp.z3"
WALKTHROUGH = ("take lamp", "down", "light lamp")


def lamp(**options: Any) -> Jericho:
    pytest.importorskip("jericho")
    return Jericho(LAMP, walkthrough=WALKTHROUGH, max_score=10, **options)


@pytest.mark.parametrize("actions", ["text", "words"])
def test_it_keeps_the_whole_contract(actions: Any) -> None:
    pytest.importorskip("jericho")
    check_env(lambda: lamp(actions=actions), max_turns=30)


def test_the_walkthrough_wins_and_the_score_is_the_games() -> None:
    env = lamp()
    text, info = env.reset(seed=0)
    assert text == "You are in a hall. A lamp lies here. Stairs lead down." and info["task"] == "lamp"
    rewards = []
    for command in WALKTHROUGH:
        assert env.expert_action() == command
        text, reward, terminated, _, info = env.step(command)
        rewards.append(reward)
    # 5 points of 10 for the lamp, 5 for its light; the status line is left out
    assert rewards == [0.5, 0.0, 0.5] and terminated and text.startswith("The lamp shines")
    assert (info["score"], info["success"]) == (1.0, True)
    assert env.step("look")[4]["no_op"] == "the game is over"


def test_a_lost_game_keeps_its_points() -> None:
    env = lamp()
    env.reset(seed=0)
    env.step("take lamp")
    env.step("down")
    while True:
        *_, terminated, _, info = env.step("wait")
        if terminated:
            break
    assert (info["score"], info["success"]) == (0.5, False)


def test_the_seed_decides_the_luck_also_the_seed_0_and_a_snapshot_keeps_it() -> None:
    env = lamp()

    def wait(seed: int) -> list[str]:
        env.reset(seed=seed)
        return [env.step("wait")[0] for _ in range(3)]

    assert wait(0) == wait(0) and len({tuple(wait(seed)) for seed in range(5)}) > 1
    env.reset(seed=0)
    saved = env.snapshot()
    first = env.step("wait")
    env.step("down")
    env.restore(saved)
    assert env.step("wait") == first


@pytest.mark.parametrize(
    "command", ["save", "Look. SAVE", "look then restore", "script on", "quit", "#rec", "restart", "look\nsave", ""]
)
def test_commands_to_the_interpreter_do_not_reach_it(command: str, tmp_path: Path, monkeypatch: Any) -> None:
    env = lamp()
    monkeypatch.chdir(tmp_path)
    env.reset(seed=0)
    assert env.step(command)[4]["no_op"]
    assert list(tmp_path.iterdir()) == []


def test_a_rom_that_is_none_and_a_game_without_walkthrough_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("jericho")
    for rom in ("", tmp_path, tmp_path / "none.z5", Path(__file__)):
        with pytest.raises(InvalidConfig, match="is no story file"):
            Jericho(rom)
    env = Jericho(LAMP.parent)
    env.reset(seed=0)
    with pytest.raises(UnknownName, match="expert"):
        env.expert_action()
    with pytest.raises(InvalidConfig, match="needs a game that Jericho knows"):
        Jericho(LAMP, actions="list").reset(seed=0)


class Known:
    """What of jericho.FrotzEnv is asked in a game that Jericho knows."""

    is_fully_supported = True

    def __init__(self, rom: str, seed: int) -> None:
        self.at = 0

    def seed(self, seed: int | None) -> None:
        self.walkthrough_luck = seed is None

    def get_walkthrough(self) -> list[str]:
        return ["north", "east"]

    def get_valid_actions(self, use_parallel: bool) -> list[str]:
        return ["north", "east"] if self.at == 0 else ["east"]

    def reset(self) -> tuple[str, dict[str, Any]]:
        self.at = 0
        return "A maze.", {}

    def step(self, action: str) -> tuple[str, int, bool, dict[str, Any]]:
        self.at += 1
        return "A maze.", 0, False, {}

    def get_score(self) -> int:
        return 20 * self.at

    def get_max_score(self) -> int:
        return 40

    def victory(self) -> bool:
        return self.at == 2

    def game_over(self) -> bool:
        return False

    def _emulator_halted(self) -> bool:
        return False


def test_in_a_game_that_jericho_knows_actions_can_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = ModuleType("jericho")
    package.FrotzEnv = Known
    monkeypatch.setitem(sys.modules, "jericho", package)
    env = Jericho(LAMP, actions="list", walkthrough_luck=True)
    assert env.reset(seed=0)[1]["actions"].choices == ("east", "north")
    assert env._machine.walkthrough_luck
    assert env.step("south")[4]["no_op"] == "'south' is not admissible"
    assert env.step(env.expert_action())[1] == 0.5
    *_, terminated, _, info = env.step(env.expert_action())
    assert terminated and (info["score"], info["success"]) == (1.0, True)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jericho", None)
    with pytest.raises(MissingExtra, match=r"sparring\[jericho\]"):
        Jericho(LAMP)
