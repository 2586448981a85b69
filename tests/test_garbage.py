"""Collection thresholds are raised inside a block alone."""

import gc

import pytest

from sparring.garbage import rare_collection


def test_thresholds_are_raised_in_the_block_and_come_back_after_an_error():
    before = gc.get_threshold()
    with pytest.raises(KeyError), rare_collection():
        assert all(now >= old for now, old in zip(gc.get_threshold(), before, strict=True))
        assert gc.get_threshold()[0] > before[0]
        raise KeyError
    assert gc.get_threshold() == before


def test_a_switched_off_collector_stays_off():
    before = gc.get_threshold()
    try:
        gc.set_threshold(0)
        with rare_collection():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
