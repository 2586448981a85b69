"""Whether sandboxes hold on this machine, found out by attacking one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sparring.envs.sandbox.attacks import ATTACKS, LIMITS, Attack
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.protocol import FileTree, Sandbox, SandboxRefused

_lock = threading.Lock()
_verified: set[str] = set()


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one attack; `breach` is None where the sandbox held."""

    attack: Attack
    breach: str | None


def attempt(attack: Attack, make: Callable[[], Sandbox]) -> Finding:
    """Make one attack in a sandbox of its own."""
    with make() as sandbox:
        return Finding(attack, attack.attempt(sandbox))


def check(make: Callable[[], Sandbox] | None = None) -> Iterator[Finding]:
    """Make every attack, one after the other, each in a sandbox of its own.

    Args:
        make: opens the sandbox to attack, with the limits of `attacks.LIMITS`; bubblewrap by default.
    """
    for attack in ATTACKS.values():
        yield attempt(attack, make or _bubblewrap)


def quick_check(make: Callable[[], Sandbox]) -> Iterator[Finding]:
    """Make the quick attacks in one sandbox, which is cleaned after each."""
    with make() as sandbox:
        for attack in ATTACKS.values():
            if attack.quick:
                yield Finding(attack, attack.attempt(sandbox))
                sandbox.restore(FileTree())


def _bubblewrap() -> Sandbox:
    return BubblewrapSandbox(LIMITS, label="check")


def verify(name: str = "bubblewrap", make: Callable[[], Sandbox] | None = None) -> None:
    """Make the quick attacks once in this process, and refuse where one gets through.

    Raises:
        SandboxRefused: with the attacks that got through and what to do.
    """
    with _lock:
        if name in _verified:
            return
        breaches = [found for found in quick_check(make or _bubblewrap) if found.breach is not None]
        if breaches:
            listed = "\n".join(f"- {found.attack.name} ({found.attack.what}): {found.breach}" for found in breaches)
            raise SandboxRefused(
                f"{name} does not contain untrusted programs on this machine; these attacks got through:\n{listed}\n"
                "Nothing is run. `sparring sandbox check` makes all attacks; docs/sandbox.md says what each needs."
            )
        _verified.add(name)
