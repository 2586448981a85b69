"""Every attack, against every backend."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

import pytest

from sparring.envs.sandbox.attacks import ATTACKS, LIMITS, grading
from sparring.envs.sandbox.attacks.attack import PRELUDE, breach_in
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.protocol import Result, Sandbox


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_sandbox_holds(backend: Callable[..., Sandbox], attack: str) -> None:
    with backend(LIMITS, label="attack") as sandbox:
        assert ATTACKS[attack].attempt(sandbox) is None


def test_an_attack_that_works_is_seen() -> None:
    """The same programs, run where nothing contains them, report what they got: their silence above means something."""
    program = PRELUDE + "attempt('a file', content, '/etc/passwd')\nprint('DONE')"
    done = subprocess.run(["python3", "-I", "-c", program], capture_output=True, check=True)
    assert "a file" in str(breach_in(Result(done.stdout, b"", 0)))
    assert "could not be made" in str(breach_in(Result(b"", b"killed", -9)))


@pytest.mark.parametrize(
    ("attack", "got"),
    [
        ("reading the hidden tests", "the tests in /tmp/stolen"),
        ("patching the grader", "PATCHED"),
        ("forging the grader's output", "PASSED"),
    ],
)
@pytest.mark.usefixtures("bubblewrap")
def test_a_careless_grader_is_cheated(attack: str, got: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an end of the agent's processes, or with a Python that looks around, each of these attacks works."""

    def careless(sandbox: Sandbox, tests: str, command: Sequence[str] = ("python3", "hidden.py")) -> Result:
        sandbox.write("hidden.py", tests.encode())
        return sandbox.run([part for part in command if part != "-I"], 20.0)

    monkeypatch.setattr(grading, "_grade", careless)
    with BubblewrapSandbox(LIMITS, label="attack") as sandbox:
        assert got in str(ATTACKS[attack].attempt(sandbox))
