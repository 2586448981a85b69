"""The global generators come back exactly as they were, and an environment's own go on where they stopped."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest

from sparring.envs.text.global_generators import OwnGenerators


def _draw() -> tuple[float, float]:
    return random.random(), float(np.random.normal())  # noqa: NPY002 - the global generator is what is tested


def _draw_from(own: OwnGenerators) -> tuple[float, float]:
    with own.lent():
        return _draw()


@pytest.fixture(autouse=True)
def global_generators_kept() -> object:
    python, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    yield
    random.setstate(python)
    np.random.set_state(numpy_state)  # noqa: NPY002


@pytest.mark.parametrize("normals", [0, 1, 2])
def test_the_outer_generators_go_on_as_if_nothing_had_been(normals: int) -> None:
    # NumPy draws normal numbers in pairs and keeps the second one: with one drawn, one is kept.
    def run(interrupted: bool) -> list[tuple[float, float]]:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        np.random.normal(size=normals)  # noqa: NPY002
        seen = []
        for _ in range(3):
            if interrupted:
                _draw_from(OwnGenerators(5))
            seen.append(_draw())
        return seen

    assert run(interrupted=True) == run(interrupted=False)


def test_two_take_turns_and_do_not_disturb_each_other() -> None:
    one, other, alone = OwnGenerators(1), OwnGenerators(2), OwnGenerators(1)
    taking_turns = []
    for _ in range(4):
        taking_turns.append(_draw_from(one))
        _draw_from(other)
        _draw()
    assert taking_turns == [_draw_from(alone) for _ in range(4)]
    assert taking_turns[0] != _draw_from(OwnGenerators(2))


def test_an_exception_leaves_the_outer_generators_as_they_were() -> None:
    before = random.getstate()
    with pytest.raises(ZeroDivisionError), OwnGenerators(0).lent():
        random.random()
        raise ZeroDivisionError
    assert random.getstate() == before


def test_a_copy_goes_on_by_itself() -> None:
    own = OwnGenerators(3)
    _draw_from(own)
    twin = copy.deepcopy(own)
    assert [_draw_from(own) for _ in range(3)] == [_draw_from(twin) for _ in range(3)]


def test_seeding_anew_repeats() -> None:
    own = OwnGenerators(3)
    first = _draw_from(own)
    own.seed(3)
    assert _draw_from(own) == first
