"""Playing in the terminal, with scripted keystrokes."""

from __future__ import annotations

from collections.abc import Callable

from sparring.play import describe_actions, play, printable, resolve
from sparring.types import ActionSet, Form
from tests.worlds import WORDS, Copy


def keys(*lines: str) -> Callable[[str], str]:
    left = list(lines)

    def ask(_: str) -> str:
        if not left:
            raise EOFError
        return left.pop(0)

    return ask


def secret_of(seed: int) -> list[str]:
    env = Copy()
    env.reset(seed=seed)
    return list(env.secret)


def test_numbers_and_words_both_act() -> None:
    first, second = secret_of(3)
    shown: list[str] = []
    total = play(Copy(), seed=3, ask=keys(str(WORDS.index(first) + 1), second), show=shown.append)
    assert total == 1.0
    assert "success!" in shown[-1]


def test_leaving_early_and_asking_again() -> None:
    shown: list[str] = []
    assert play(Copy(), ask=keys("", ":actions", ":help", "nonsense"), show=shown.append) == 0
    assert any("nothing happened" in line for line in shown)
    assert "You left" in shown[-1]


def test_what_an_environment_shows_cannot_command_the_terminal() -> None:
    hostile = "a\x1b]0;title\x07b\x9b2J\rc\x7f\u202ed\ud800e\tf\ng é 日本 \xa0👩‍🔬"
    expected = "a\\x1b]0;title\\x07b\\x9b2J\\rc\\x7f\\u202ed\\ud800e\tf\ng é 日本 \xa0👩‍🔬"
    assert printable(hostile) == expected

    class Hostile(Copy):
        def reset(self, **given: object) -> tuple[str, dict[str, object]]:  # type: ignore[override]
            text, info = super().reset(**given)  # type: ignore[arg-type]
            return text + hostile, {**info, "actions": ActionSet((hostile,), (Form(hostile, "]"),))}

    shown: list[str] = []
    play(Hostile(), ask=keys(), show=shown.append)
    assert not set("".join(shown)) & set("\x1b\x07\x9b\r\x7f\u202e\ud800")
    assert resolve("1", ActionSet((hostile,))) == hostile


def test_actions_are_listed() -> None:
    actions = ActionSet(("back",), (Form("search[", "]"),))
    assert describe_actions(actions).splitlines() == ["  search[…]", "    1  back"]
    assert (resolve("1", actions), resolve("2", actions), resolve("1", None)) == ("back", "2", "1")
    assert "anything" in describe_actions(None)


def test_the_task_is_told_where_the_observation_does_not_tell_it() -> None:
    class Told(Copy):
        where = ""

        def reset(self, **given: object) -> tuple[str, dict[str, object]]:  # type: ignore[override]
            text, info = super().reset(**given)  # type: ignore[arg-type]
            return self.where + text, {**info, "instruction": "Tick the lamp."}

    class Twice(Told):
        where = "Instruction: Tick the lamp. "

    for env in (Told(), Twice()):
        shown: list[str] = []
        play(env, ask=keys(), show=shown.append)
        assert "".join(shown).count("Tick the lamp.") == 1


def test_actions_that_are_numbers_mean_themselves() -> None:
    guesses = ActionSet(("0", "50", "99"))
    assert [resolve(typed, guesses) for typed in ("0", "1", "50")] == ["0", "1", "50"]
    assert describe_actions(guesses) == "  0 50 99"
    assert resolve("²", ActionSet(("left", "right"))) == "²"  # a digit to Unicode, but no number

    class Guess(Copy):
        def reset(self, **given: object) -> tuple[str, dict[str, object]]:  # type: ignore[override]
            text, info = super().reset(**given)  # type: ignore[arg-type]
            return text, {**info, "actions": guesses}

    shown: list[str] = []
    play(Guess(), ask=keys(), show=shown.append)
    assert "the number of one" not in shown[0]
