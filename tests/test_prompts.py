"""From turns to messages: the memory styles, and that a full history only ever grows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.agents.prompts import build, extends, history_length
from sparring.errors import InvalidConfig
from sparring.types import Action, Message, Observation, Turn


def turns(count: int) -> list[Turn]:
    return [Turn(Observation(f"page {number}"), Action(f"do {number}", (number,)), 0.0) for number in range(count)]


def written(memory: str, count: int = 3, **settings: str) -> list[tuple[str, str]]:
    messages = build(turns(count), Observation("now"), memory=memory, instruction="Shop.", **settings)
    return [(message.role, message.content) for message in messages]


def test_full_history_holds_everything() -> None:
    assert written("full_history", 2) == [
        ("user", "Shop.\npage 0"),
        ("assistant", "do 0"),
        ("user", "page 1"),
        ("assistant", "do 1"),
        ("user", "now"),
    ]


def test_a_window_holds_the_last_turns_under_the_instruction() -> None:
    assert written("window(1)") == [("user", "Shop.\npage 2"), ("assistant", "do 2"), ("user", "now")]
    assert written("window(99)") == written("full_history")


def test_the_last_observation_stands_alone() -> None:
    assert written("last_observation") == [("user", "Shop.\nnow")]


def test_a_system_message_comes_first() -> None:
    assert written("last_observation", system="Be brief.") == [("system", "Be brief."), ("user", "Shop.\nnow")]


def test_an_instruction_that_is_seen_already_is_not_repeated() -> None:
    messages = build([], Observation("Shop. There are shoes."), instruction="Shop.")
    assert messages == (Message("user", "Shop. There are shoes."),)


def test_actions_come_along_as_they_were_sampled() -> None:
    history = turns(2)
    messages = build(history, Observation("now"))
    assert [message.action for message in messages if message.role == "assistant"] == [one.action for one in history]
    assert all(message.action is None for message in messages if message.role != "assistant")


@given(st.lists(st.tuples(st.text(), st.text()), max_size=6), st.text(), st.one_of(st.none(), st.text()))
def test_a_full_history_extends_itself(pages: list[tuple[str, str]], instruction: str, system: str | None) -> None:
    history = [Turn(Observation(page), Action(action), 0.0) for page, action in pages]
    prompts = [
        build(history[:at], turn.observation, instruction=instruction, system=system) for at, turn in enumerate(history)
    ]
    for at, (earlier, later) in enumerate(pairwise(prompts)):
        said = Message("assistant", history[at].action.text, history[at].action)
        assert later[: len(earlier) + 1] == (*earlier, said)


def test_which_styles_extend() -> None:
    assert [extends(memory) for memory in ("full_history", "window(3)", "last_observation")] == [True, False, False]
    assert [history_length(memory) for memory in ("full_history", "window(3)", "last_observation")] == [None, 3, 0]


@pytest.mark.parametrize("memory", ["", "window", "window(0)", "window(-1)", "window(two)", "full_history ", "all"])
def test_other_styles_are_refused(memory: str) -> None:
    with pytest.raises(InvalidConfig, match="Expected one of: full_history, window"):
        history_length(memory)
