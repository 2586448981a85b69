"""What an agent is told of a run of the visible tests."""

from __future__ import annotations

from typing import Literal

from sparring.envs.sandbox.forkserver import Grade

Feedback = Literal["full", "count", "none"]

_MESSAGE = 400  # characters of one test's message: its end, where a traceback says what happened
_MESSAGES = 3
_OUTPUT = 400


def describe(grade: Grade | None, feedback: Feedback, *, has_tests: bool = True) -> str:
    """Say how the visible tests went.

    Args:
        grade: what came of them; None where they were not run.
        feedback: how much to say.
        has_tests: False where there are none, and it was only tried whether the program runs.
    """
    if grade is None or feedback == "none":
        return "The program is written."
    passed, count = sum(one.passed for one in grade.outcomes), len(grade.outcomes)
    if has_tests:
        lines = [f"{passed} of {count} tests pass."]
    else:
        lines = ["The program runs." if grade.passed else "The program fails."]
    if feedback == "full":
        failures = dict.fromkeys(_brief(one.message) for one in grade.outcomes if not one.passed)
        lines += list(failures)[:_MESSAGES]
        printed = grade.output.decode("utf-8", "replace").strip()
        if printed:
            lines.append("It printed: " + (printed if len(printed) <= _OUTPUT else printed[:_OUTPUT] + " …"))
    return "\n".join(lines)


def _brief(message: str) -> str:
    text = message.removeprefix("AssertionError: ").strip() or "failed"
    return text if len(text) <= _MESSAGE else "… " + text[-_MESSAGE:]
