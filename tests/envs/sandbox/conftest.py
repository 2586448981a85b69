"""All tests of this folder run in real sandboxes: `make test-sandbox`.

A backend that this machine can't have is skipped, and a line at the end says so and why; those that
SPARRING_REQUIRED_SANDBOXES names (in CI) fail instead.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.docker import DockerSandbox
from sparring.envs.sandbox.protocol import MIB, Limits, Sandbox, SandboxRefused
from sparring.errors import MissingExtra

BACKENDS: dict[str, Callable[..., Sandbox]] = {"bubblewrap": BubblewrapSandbox, "docker": DockerSandbox}
REQUIRED = "SPARRING_REQUIRED_SANDBOXES"
_NOT_TESTED = "NOT TESTED: no sandbox by "


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("sandbox")


@functools.cache
def missing(backend: str) -> str:
    """Why a backend can't be had here, empty where it can."""
    try:
        BACKENDS[backend]().close()
    except (MissingExtra, SandboxRefused) as error:
        return f"{_NOT_TESTED}{backend}: {error}"
    return ""


def require(backend: str) -> None:
    """Skip or fail the test where a backend can't be had."""
    reason = missing(backend)
    if reason and backend in os.environ.get(REQUIRED, "").split():
        pytest.fail(f"{reason}\n{REQUIRED} says that it has to be tested", pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def bubblewrap() -> None:
    """For tests of bubblewrap's own."""
    require("bubblewrap")


@pytest.fixture(scope="session")
def docker() -> None:
    """For tests of Docker's own."""
    require("docker")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Callable[..., Sandbox]:
    """For tests that every backend passes: what opens a sandbox."""
    require(request.param)
    return BACKENDS[request.param]


@pytest.fixture
def sandbox(backend: Callable[..., Sandbox]) -> Iterator[Sandbox]:
    """A sandbox of every backend."""
    with backend(Limits(memory_bytes=128 * MIB, disk_bytes=8 * MIB), label="test") as made:
        yield made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = {str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())}
    found = {reason[reason.index(_NOT_TESTED) :] for reason in reasons if _NOT_TESTED in reason}
    for reason in sorted(found):
        terminalreporter.write_line(reason.rstrip("')"), yellow=True, bold=True)
