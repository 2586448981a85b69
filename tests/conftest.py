"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gymnasium.envs.registration import registry

from sparring import registration


@pytest.fixture(autouse=True)
def registry_as_before() -> Iterator[None]:
    """Take back what a test registered, so that tests over all registered environments see the real ones."""
    specs, ours, wrappers = dict(registry), dict(registration._ours), dict(registration._wrappers)
    yield
    for now, before in ((registry, specs), (registration._ours, ours), (registration._wrappers, wrappers)):
        now.clear()
        now.update(before)
