"""EnvConfig turns text from a command line into an environment."""

from __future__ import annotations

from typing import Any

import pytest

import sparring
from sparring.errors import InvalidConfig, UnknownName
from sparring.settings import EnvConfig
from tests.worlds import Copy


def test_options_become_numbers_and_booleans() -> None:
    sparring.register("tests/Copy-v0", "tests.worlds:Copy", max_turns=5)
    env = EnvConfig("tests/Copy-v0", {"words": "3", "loud": "true"}).make()
    core: Any = env.unwrapped
    assert isinstance(core, Copy)
    assert core.words == 3
    assert core.loud is True


def test_mistakes_are_named() -> None:
    with pytest.raises(InvalidConfig, match="at least 1"):
        EnvConfig(max_turns=0)
    with pytest.raises(UnknownName, match=r"Did you mean .*WebShop-v1"):
        _ = EnvConfig("WebShpo-v1").full_id
    with pytest.raises(UnknownName, match='no wrapper "exprt"'):
        sparring.register("tests/Copy-v0", "tests.worlds:Copy")
        EnvConfig("tests/Copy-v0", wrappers=("exprt",)).make()
