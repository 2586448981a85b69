from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.code.actions import LONGEST_PROGRAM, Command, parse

PROGRAM = "def f(x):\n    return x\n"


@pytest.mark.parametrize(
    "text",
    [
        PROGRAM,
        f"write\n{PROGRAM}",
        f"write {PROGRAM}",
        f"```python\n{PROGRAM}```",
        f"Let me try.\n```\nold = 1\n```\nOr better:\n```python\n{PROGRAM}```\nThat is all.",
        f"write\n```py\n{PROGRAM}```",
        f"```python\n{PROGRAM}",  # cut off before the fence closed
        f"write\n{PROGRAM}```\nThis function returns x.",  # begun for the model, without a fence
        f"write\n\n{PROGRAM}```\nFor example:\n```python\nf(1)\n```",
    ],
)
def test_a_program_is_found_in_whatever_is_said_around_it(text: str) -> None:
    assert parse(text, ["f"]) == Command("write", PROGRAM)


def test_the_other_verbs() -> None:
    assert parse(" test\n", ["f"]) == Command("test")
    assert parse("submit", ["f"]) == Command("submit")
    assert parse("f = lambda x: x", ["f"]) == Command("write", "f = lambda x: x\n")


@pytest.mark.parametrize(
    "text",
    ["", "write", "write ", "write\n", "submit now", "Test", "def g(x): return x", "\0", "write \0", "write \ud800",
     "write ```\n```", "x" * (LONGEST_PROGRAM + 1)],
)  # fmt: skip
def test_everything_else_means_nothing_and_says_why(text: str) -> None:
    reason = parse(text, ["f"])
    assert isinstance(reason, str) and 0 < len(reason) < 200


@given(st.text(), st.lists(st.text()))
def test_any_text_is_read(text: str, functions: list[str]) -> None:
    command = parse(text, functions)
    assert isinstance(command, str) or command.verb != "write" or command.program.endswith("\n")
