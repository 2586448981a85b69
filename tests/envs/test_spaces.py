"""A text space for all of Unicode."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_action_space
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.spaces import UnicodeText


@given(st.text())
def test_any_string_is_contained(text: str) -> None:
    assert text in UnicodeText()


def test_length_is_counted_in_code_points() -> None:
    space = UnicodeText(max_length=2)
    assert "漢字" in space and "🦆🦆" in space and "" in space
    assert "abc" not in space
    assert not any(value in space for value in (b"a", 1, None, ["a"]))


def test_samples_are_contained_and_follow_the_seed() -> None:
    one, other = UnicodeText(seed=3), UnicodeText(seed=3)
    samples = [one.sample() for _ in range(200)]
    assert samples == [other.sample() for _ in range(200)]
    assert all(1 <= len(sample) <= 32 and sample in one for sample in samples)
    assert any(not sample.isascii() for sample in samples)
    assert {len(UnicodeText(1, seed=0).sample()) for _ in range(20)} == {1}


def test_sampling_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].tobytes()  # type: ignore[index,union-attr]  # noqa: NPY002
    UnicodeText().sample()
    assert np.random.get_state()[1].tobytes() == before  # type: ignore[index,union-attr]  # noqa: NPY002


def test_equality_is_by_length() -> None:
    assert UnicodeText(5, seed=1) == UnicodeText(5, seed=2)
    assert UnicodeText(5) != UnicodeText(6) and UnicodeText(5) != "UnicodeText"
    assert repr(UnicodeText(5)) == "UnicodeText(max_length=5)"
    assert not UnicodeText().is_np_flattenable
    check_action_space(UnicodeText())


def test_an_empty_space_is_refused() -> None:
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        UnicodeText(0)
