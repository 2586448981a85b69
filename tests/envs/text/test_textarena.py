"""The textarena adapter, on a stand-in with textarena's faults and, where it is installed, on textarena itself."""

from __future__ import annotations

import random
import sys
from enum import Enum, auto
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sparring.envs.text.textarena import TextArena
from sparring.errors import EnvFailed, InvalidConfig, MissingExtra, UnknownName
from sparring.testing import check_env


class Kind(Enum):
    PROMPT = auto()
    PLAYER_ACTION = auto()
    GAME_MESSAGE = auto()


class OnePlayer:
    def __init__(self) -> None:
        self.error_count, self.rewards, self.game_info = 0, None, {0: {}}


class Higher:
    """Say whether the next number is higher; textarena's way of seeding, telling and rewarding."""

    swapped = False

    def reset(self, num_players: int, seed: int | None = None) -> None:
        if num_players != self.players:
            raise AssertionError(f"The number of players has to be {self.players}, received {num_players}")
        if seed is not None:
            random.seed(seed)
        print("a line that nobody asked for")
        self.state: Any = OnePlayer()
        self.number = random.randint(0, 100)
        self.new = [(-1, "Say [higher] or [lower].", Kind.PROMPT), (-1, f"It is {self.number}.", Kind.GAME_MESSAGE)]

    players = 1

    def get_observation(self) -> tuple[int, list[Any]]:
        new, self.new = self.new, []
        return 0, new

    def step(self, action: str) -> tuple[bool, dict[str, Any]]:
        self.new.append((0, action, Kind.PLAYER_ACTION))
        if action == "[crash]":
            raise KeyError(action)
        if action not in ("[higher]", "[lower]"):
            if self.state.error_count:
                self._end("that is no move", -1.0) if self.swapped else self._end(-1.0, "that is no move")
            else:
                self.state.error_count += 1
                self.new.append((-1, "Say [higher] or [lower]!", Kind.GAME_MESSAGE))
            return self.state.rewards is not None, {}
        self.state.error_count = 0
        last, self.number = self.number, random.randint(0, 100)
        self.new.append((-1, f"It is {self.number}.", Kind.GAME_MESSAGE))
        if (self.number > last) != (action == "[higher]"):
            self._end(0.25, "Wrong.")
        elif self.number > 80:
            self._end(1, "You win.")
        return self.state.rewards is not None, {}

    def _end(self, reward: Any, reason: Any) -> None:
        self.state.rewards, self.state.game_info[0]["reason"] = {0: reward}, reason


class Swapped(Higher):
    swapped = True


class Duel(Higher):
    players = 2


class NoWords:
    def __init__(self) -> None:
        raise LookupError("Resource 'words' not found.")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = ModuleType("textarena")
    games = {"Higher-v0-raw": Higher, "Swapped-v0-raw": Swapped, "Duel-v0-raw": Duel, "NoWords-v0-raw": NoWords}
    known = games | {id.removesuffix("-raw"): game for id, game in games.items()}
    package.envs = SimpleNamespace(registration=SimpleNamespace(ENV_REGISTRY=known))
    package.make = lambda id, **options: known[id](**options)
    package.ObservationType, package.SinglePlayerState = Kind, OnePlayer
    monkeypatch.setitem(sys.modules, "textarena", package)
    # The adapter puts a silent `print` into the game's module, which here is this one.
    monkeypatch.setitem(globals(), "print", print)
    monkeypatch.delitem(globals(), "print")


@pytest.mark.usefixtures("stand_in")
def test_it_keeps_the_whole_contract(capfd: pytest.CaptureFixture[str]) -> None:
    check_env(lambda: TextArena("Higher-v0"))
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("stand_in")
def test_an_observation_holds_only_what_is_new_also_in_a_reused_environment() -> None:
    env = TextArena("Higher-v0")
    lengths = []
    for seed in range(6):
        text, info = env.reset(seed=seed, options={"task": "train/0"})
        assert text == "It is 49." and info["instruction"] == "Say [higher] or [lower]."
        lengths.append(len(env.step("higher")[0]))
    assert max(lengths) <= len("It is 100.\nYou win.")


@pytest.mark.usefixtures("stand_in")
def test_two_environments_interleaved_play_as_they_do_alone_and_leave_the_global_generator() -> None:
    def play(between: Any) -> list[Any]:
        env = TextArena("Higher-v0")
        seen: list[Any] = [env.reset(seed=3)]
        while len(seen) < 20 and not (len(seen) > 1 and seen[-1][2]):
            between()
            seen.append(env.step("[higher]" if "It is 1" in seen[-1][0] else "[lower]"))
        return seen

    before = random.getstate()
    neighbour = TextArena("Higher-v0")
    neighbour.reset(seed=1)
    assert play(lambda: None) == play(lambda: neighbour.step("[higher]"))
    assert random.getstate() == before


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("game", ["Higher-v0", "Swapped-v0"])
def test_an_invalid_move_is_a_no_op_and_the_second_one_ends_the_game(game: str) -> None:
    env = TextArena(game)
    env.reset(seed=0)
    text, reward, terminated, _, info = env.step("up")
    assert (text, reward, terminated) == ("Say [higher] or [lower]!", 0.0, False) and info["no_op"]
    text, reward, terminated, _, info = env.step("up")
    assert (text, reward, terminated) == ("that is no move", -1.0, True)
    assert info == {"score": 0.0, "success": False}


@pytest.mark.usefixtures("stand_in")
def test_a_game_that_raises_is_a_no_op() -> None:
    env = TextArena("Higher-v0")
    env.reset(seed=0)
    assert env.step("crash")[4]["no_op"] == "textarena raised KeyError"


@pytest.mark.usefixtures("stand_in")
def test_what_can_not_be_played_is_said() -> None:
    with pytest.raises(UnknownName, match='Did you mean "Higher-v0"'):
        TextArena("Hihger-v0")
    with pytest.raises(EnvFailed, match='can\'t make "NoWords-v0" here: LookupError'):
        TextArena("NoWords-v0")
    with pytest.raises(InvalidConfig, match='"Duel-v0" is no single-player game'):
        TextArena("Duel-v0").reset(seed=0)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textarena", None)
    with pytest.raises(MissingExtra, match=r"sparring\[textarena\]"):
        TextArena("Higher-v0")


@pytest.mark.parametrize("game", ["GuessTheNumber-v0", "2048-v0-easy", "Minesweeper-v0-small", "Countdown-v0"])
def test_textarena_itself_keeps_the_whole_contract(game: str) -> None:
    pytest.importorskip("textarena")
    check_env(lambda: TextArena(game))


def test_textarena_itself_shows_no_earlier_game() -> None:
    pytest.importorskip("textarena")
    env = TextArena("GuessTheNumber-v0")
    shown = []
    for seed in range(6):
        env.reset(seed=seed, options={"task": "train/5"})
        shown.append([env.step(f"[{number}]")[0] for number in (20, 19, 18)])
    assert all(one == shown[0] for one in shown)
