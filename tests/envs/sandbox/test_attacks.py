"""Every attack, against every backend: a second backend is one line in BACKENDS."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sparring.envs.sandbox.attacks import ATTACKS, LIMITS
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.protocol import Sandbox

BACKENDS: dict[str, Callable[[], Sandbox]] = {
    "bubblewrap": lambda: BubblewrapSandbox(LIMITS, label="attack"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_sandbox_holds(backend: str, attack: str) -> None:
    with BACKENDS[backend]() as sandbox:
        assert ATTACKS[attack].attempt(sandbox) is None


def test_an_attack_that_works_is_seen() -> None:
    """The same programs, run where nothing contains them, report what they got: their silence above means something."""
    import subprocess

    from sparring.envs.sandbox.attacks import _PRELUDE, _got
    from sparring.envs.sandbox.protocol import Result

    program = _PRELUDE + "attempt('a file', content, '/etc/passwd')\nprint('DONE')"
    done = subprocess.run(["python3", "-I", "-c", program], capture_output=True, check=True)
    assert "a file" in str(_got(Result(done.stdout, b"", 0)))
    assert "could not be made" in str(_got(Result(b"", b"killed", -9)))
