from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.gui.geometry import (
    Box,
    from_pixel,
    from_thousandths,
    smart_resize,
    to_pixel,
    to_thousandths,
)
from sparring.errors import InvalidConfig, InvalidData

sides = st.integers(1, 4000)


@given(st.data(), sides, sides)
@settings(deadline=None)
def test_a_pixel_is_found_again(data: st.DataObject, width: int, height: int) -> None:
    pixel = (data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1)))
    assert to_pixel(from_pixel(pixel, (width, height)), (width, height)) == pixel


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(deadline=None)
def test_thousandths_are_found_again(x: int, y: int) -> None:
    assert to_thousandths(from_thousandths((x, y))) == (x, y)


@given(st.data(), st.integers(30, 1000), st.integers(30, 1000))
@settings(deadline=None)
def test_thousandths_are_within_half_a_thousandth(data: st.DataObject, width: int, height: int) -> None:
    point = from_pixel((data.draw(st.integers(0, width - 1)), 0), (width, height))
    assert abs(from_thousandths(to_thousandths(point))[0] - point[0]) <= 0.0005 + 1e-12


@given(st.integers(0, 999), sides)
@settings(deadline=None)
def test_a_thousandth_lies_in_the_pixel_that_whole_numbers_give(at: int, width: int) -> None:
    assert to_pixel(from_thousandths((at, 0)), (width, 1))[0] == at * width // 1000


def test_edges() -> None:
    assert to_pixel((0.29, 0.0), (100, 1)) == (29, 0)  # 0.29 * 100 is 28.999999999999996
    assert to_pixel((1.0, 1.0), (640, 480)) == (639, 479)
    assert to_pixel((0.0, 0.0), (640, 480)) == (0, 0)
    assert from_pixel((0, 0), (10, 20)) == (0.05, 0.025)
    for pixel in ((-1, 0), (10, 0), (0, 20)):
        with pytest.raises(InvalidData):
            from_pixel(pixel, (10, 20))
    for point in ((-1, 0), (0, 1001)):
        with pytest.raises(InvalidData):
            from_thousandths(point)


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(deadline=None)
def test_smart_resize_is_that_of_the_models(width: int, height: int) -> None:
    theirs = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl").smart_resize
    if max(width, height) / min(width, height) > 200:
        with pytest.raises(InvalidConfig):
            smart_resize((width, height))
        return
    rows, columns = theirs(height, width)
    assert smart_resize((width, height)) == (columns, rows)


@given(st.data(), st.integers(56, 2000), st.integers(56, 2000))
@settings(deadline=None)
def test_a_place_is_the_same_on_the_resized_picture(data: st.DataObject, width: int, height: int) -> None:
    pixel = (data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1)))
    resized = smart_resize((width, height))
    there = to_pixel(from_pixel(pixel, (width, height)), resized)
    back = to_pixel(from_pixel(there, resized), (width, height))
    for one, other, side, new in zip(pixel, back, (width, height), resized, strict=True):
        assert abs(one - other) <= side / new + 1


def test_boxes() -> None:
    box = Box.from_pixels(10, 20, 30, 60, (100, 100))
    assert box.centre == pytest.approx((0.2, 0.4))
    assert box.contains((0.1, 0.2)) and not box.contains((0.3, 0.2))
    corner = Box.from_pixels(90, 90, 100, 100, (100, 100))
    assert corner.contains((1.0, 1.0)) and not Box(0.2, 0.2, 0.99, 0.99).contains((1.0, 1.0))
    assert box.iou(Box.from_pixels(20, 20, 40, 60, (100, 100))) == pytest.approx(1 / 3)
    for sides in ((0.5, 0, 0.5, 1), (0, 1, 1, 0), (float("nan"), 0, 1, 1)):
        with pytest.raises(InvalidData):
            Box(*sides)
