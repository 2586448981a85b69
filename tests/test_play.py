"""Playing in the terminal, with scripted keystrokes."""

from __future__ import annotations

from collections.abc import Callable

from sparring.play import describe_actions, play, resolve
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


def test_actions_are_listed() -> None:
    actions = ActionSet(("back",), (Form("search[", "]"),))
    assert describe_actions(actions).splitlines() == ["  search[…]", "    1  back"]
    assert (resolve("1", actions), resolve("2", actions), resolve("1", None)) == ("back", "2", "1")
    assert "anything" in describe_actions(None)
