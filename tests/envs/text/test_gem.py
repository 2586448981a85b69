"""The gem adapter, on a stand-in with gem's faults and, where it is installed, on gem itself."""

from __future__ import annotations

import random
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sparring.envs.text.gem import Gem
from sparring.errors import EnvFailed, MissingExtra, UnknownName
from sparring.testing import check_env


class Dice:
    """Guess the next roll of a die, three times. Like gem's games it draws from, and seeds, the global generator."""

    def __init__(self, sides: int | None = 6, **_: Any) -> None:
        if sides is None:
            raise TypeError("unsupported operand")
        self.sides = sides
        self.reset()

    def reset(self, seed: int | None = None) -> tuple[str, dict[str, Any]]:
        if seed is not None:
            random.seed(seed)
        self.rolls, self.bonus = 0, random.randint(1, 1_000_000)
        return f"Guess the next roll, in \\boxed{{}}. The bonus is {self.bonus}.", {}

    def get_task_suffix(self) -> str:
        return "Your guess?"

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if not action.startswith("\\boxed{"):
            return "No guess.", -0.1, True, False, {"suffix": "Your guess?"}
        guess = int(action[7:-1])
        self.rolls += 1
        rolled = random.randint(1, self.sides)
        over = self.rolls == 3
        return f"You rolled {rolled}.", (guess == rolled) / 3, over, over, {"suffix": "Your guess?"}

    def sample_random_action(self) -> str:
        return f"\\boxed{{{random.randint(1, self.sides)}}}"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = ModuleType("gem")
    games = {"game:Dice": Dice, "game:Coin": lambda **options: Dice(2, **options), "game:Broken": lambda: Dice(None)}
    package.envs = SimpleNamespace(registration=SimpleNamespace(ENV_REGISTRY=games))
    package.make = lambda id, **options: games[id](**options)
    monkeypatch.setitem(sys.modules, "gem", package)


def _rolls(env: Gem, seed: int = 0, task: str = "train/1") -> list[str]:
    env.reset(seed=seed, options={"task": task})
    return [env.step("\\boxed{1}")[0] for _ in range(3)]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("boxed", [False, True])
def test_it_keeps_the_whole_contract(boxed: bool) -> None:
    check_env(lambda: Gem("game:Dice", boxed=boxed))


@pytest.mark.usefixtures("stand_in")
def test_a_task_is_the_same_instance_under_every_seed_and_the_seed_decides_the_luck() -> None:
    env = Gem("game:Dice")
    instruction = env.reset(seed=0, options={"task": "train/1"})[1]["instruction"]
    assert env.reset(seed=9, options={"task": "train/1"})[1]["instruction"] == instruction
    assert env.reset(seed=0, options={"task": "train/2"})[1]["instruction"] != instruction
    assert _rolls(env, seed=0) == _rolls(env, seed=0)
    assert len({tuple(_rolls(env, seed)) for seed in range(20)}) > 5


@pytest.mark.usefixtures("stand_in")
def test_two_environments_interleaved_play_as_they_do_alone_and_leave_the_global_generator() -> None:
    alone = _rolls(Gem("game:Dice"))
    before = random.getstate()
    env, neighbour = Gem("game:Dice"), Gem("game:Coin")
    env.reset(seed=0, options={"task": "train/1"})
    seen = []
    for _ in range(3):
        neighbour.reset(seed=0)
        seen.append(env.step("\\boxed{1}")[0])
        neighbour.step("\\boxed{1}")
        env.sample_action()
    assert seen == alone
    assert random.getstate() == before


@pytest.mark.usefixtures("stand_in")
def test_the_suffix_is_shown_also_where_the_game_forgets_it_at_reset() -> None:
    env = Gem("game:Dice")
    assert env.reset(seed=0)[0] == "Your guess?"
    text, _, terminated, truncated, info = env.step("\\boxed{1}")
    assert text.endswith("\nYour guess?") and not terminated and "score" not in info
    env.step("\\boxed{1}")
    text, _, terminated, truncated, info = env.step("\\boxed{1}")
    # The game reports its own limit as both; it is an end that the player was told of.
    assert (terminated, truncated) == (True, False) and "Your guess?" not in text
    assert 0 <= info["score"] <= 1


@pytest.mark.usefixtures("stand_in")
def test_a_game_that_raises_is_a_no_op_and_a_negative_total_scores_zero() -> None:
    env = Gem("game:Dice")
    env.reset(seed=0)
    assert env.step("\\boxed{x}")[4]["no_op"] == "gem raised ValueError"
    assert env.step("no box")[4] == {"score": 0.0, "success": False}


@pytest.mark.usefixtures("stand_in")
def test_boxed_puts_the_action_into_the_box() -> None:
    env = Gem("game:Dice", boxed=True)
    assert "without the box" in env.reset(seed=0)[1]["instruction"]
    assert "rolled" in env.step("3")[0]
    assert env.sample_action() in "123456"


@pytest.mark.usefixtures("stand_in")
def test_what_gem_can_not_make_is_said() -> None:
    with pytest.raises(UnknownName, match='Did you mean "game:Dice"'):
        Gem("game:Dise")
    with pytest.raises(EnvFailed, match='can\'t make "game:Broken" here: TypeError'):
        Gem("game:Broken")


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gem", None)
    with pytest.raises(MissingExtra, match=r"sparring\[gem\]"):
        Gem("game:Dice")


GAMES = ("GuessTheNumber-v0-hard", "Mastermind-v0-random", "Minesweeper-v0-easy", "Game2048-v0-easy")


@pytest.mark.parametrize("game", GAMES)
def test_gem_itself_played_with_its_own_actions_repeats_and_leaves_the_global_generator(game: str) -> None:
    pytest.importorskip("gem")

    def play(env: Gem, between: Any = lambda: None) -> list[Any]:
        seen: list[Any] = [env.reset(seed=4, options={"task": "test/3"})]
        for _ in range(60):
            seen.append(env.step(env.sample_action()))
            between()
            if seen[-1][2]:
                break
        return seen

    before = random.getstate()
    alone = play(Gem(f"game:{game}"))
    neighbour = Gem(f"game:{game}")
    assert play(Gem(f"game:{game}"), between=lambda: neighbour.reset(seed=1)) == alone
    assert random.getstate() == before
    assert len(alone) > 2


@pytest.mark.parametrize("game", ["game:Mastermind-v0-easy", "rg:leg_counting"])
def test_gem_itself_keeps_the_whole_contract(game: str) -> None:
    pytest.importorskip("gem")
    check_env(lambda: Gem(game))
