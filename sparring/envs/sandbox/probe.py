"""Whether sandboxes hold on this machine, found out by attacking one."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sparring.envs.sandbox.attacks import ATTACKS, LIMITS, Attack
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.docker import DockerSandbox
from sparring.envs.sandbox.engine import IMAGE
from sparring.envs.sandbox.protocol import FileTree, Sandbox, SandboxRefused
from sparring.errors import MissingExtra

BACKENDS = ("bubblewrap", "docker")
"""In the order in which they are tried."""

_lock = threading.Lock()
_verified: set[str] = set()


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one attack; `breach` is None where the sandbox held."""

    attack: Attack
    breach: str | None


def opener(backend: str, image: str = IMAGE) -> Callable[[], Sandbox]:
    """What opens a sandbox to attack."""
    if backend == "docker":
        return functools.partial(DockerSandbox, LIMITS, label="check", image=image)
    return functools.partial(BubblewrapSandbox, LIMITS, label="check")


def attempt(attack: Attack, make: Callable[[], Sandbox]) -> Finding:
    """Make one attack in a sandbox of its own."""
    with make() as sandbox:
        return Finding(attack, attack.attempt(sandbox))


def check(make: Callable[[], Sandbox]) -> Iterator[Finding]:
    """Make every attack, one after the other, each in a sandbox of its own.

    Args:
        make: opens the sandbox to attack, with the limits of `attacks.LIMITS`.
    """
    for attack in ATTACKS.values():
        yield attempt(attack, make)


def quick_check(make: Callable[[], Sandbox]) -> Iterator[Finding]:
    """Make the quick attacks in one sandbox, which is cleaned after each."""
    with make() as sandbox:
        for attack in ATTACKS.values():
            if attack.quick:
                yield Finding(attack, attack.attempt(sandbox))
                sandbox.restore(FileTree())


def _key(backend: str, image: str) -> str:
    return f"docker {image} {os.environ.get('DOCKER_HOST', '')}" if backend == "docker" else backend


def verify(backend: str, image: str = IMAGE) -> None:
    """Make the quick attacks once in this process, and refuse where one gets through.

    Raises:
        MissingExtra: the backend's package is not installed.
        SandboxRefused: with the attacks that got through and what to do.
    """
    with _lock:
        if _key(backend, image) in _verified:
            return
        breaches = [found for found in quick_check(opener(backend, image)) if found.breach is not None]
        if breaches:
            listed = "\n".join(f"- {found.attack.name} ({found.attack.what}): {found.breach}" for found in breaches)
            raise SandboxRefused(
                f"{backend} does not contain untrusted programs on this machine; these attacks got through:\n{listed}\n"
                "Nothing is run. `sparring sandbox check` makes all attacks; docs/sandbox.md says what each needs."
            )
        _verified.add(_key(backend, image))


def choose(image: str = IMAGE) -> str:
    """The first backend that holds on this machine.

    Raises:
        SandboxRefused: none does; with what each of them lacks.
    """
    for backend in BACKENDS:
        if _key(backend, image) in _verified:
            return backend
    refused = []
    for backend in BACKENDS:
        try:
            verify(backend, image)
        except (MissingExtra, SandboxRefused) as error:
            refused.append(f"{backend}: {error}")
        else:
            return backend
    raise SandboxRefused("no backend contains untrusted programs on this machine.\n" + "\n".join(refused))
