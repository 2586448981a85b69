"""What the tests of programming environments share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from sparring.envs.code import grading


@pytest.fixture(autouse=True)
def no_server_is_left() -> Iterator[None]:
    """Every environment that a test opened was closed, and no fork server outlives the last."""
    before = grading._servers.graders, grading._servers.count
    yield
    gc.collect()
    assert (grading._servers.graders, grading._servers.count) == before
