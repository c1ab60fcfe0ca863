"""Which crops show what is abnormal."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.stage2.pictures import crop
from callm_export.vlm.crops import crops_that_show, guided_points, points_seen, shows

from .conftest import SIZE, record_of


@given(st.floats(0, 639), st.floats(0, 359), st.integers(0, 600), st.integers(0, 320), st.integers(4, 39))
def test_it_agrees_with_the_pixels_of_the_crop(px: float, py: float, x: int, y: int, side: int) -> None:
    image = np.zeros((360, 640), np.uint8)
    image[y : y + side, x : x + side] = 1
    share = crop(image, (px, py)).sum() / side**2
    found = shows((px, py), (("cyclist", x, y, side, side),), (640, 360))
    if abs(share - 0.5) > 0.2:  # the crop's borders lie on whole pixels
        assert found == (share > 0.5)


def test_a_box_larger_than_the_crop() -> None:
    assert shows((320, 180), (("vehicle", 0, 0, 640, 360),), (640, 360))
    assert not shows((320, 180), (("vehicle", 0, 0, 240, 100),), (640, 360))


def test_a_frame_without_a_peak_takes_the_nearest() -> None:
    first, second, _ = points_seen(record_of("a", None))
    assert first[:3] == [(50.0, 40.0), (50.0, 40.0), (16.0, 18.0)]
    assert second[:3] == [(50.0, 40.0)] * 3
    blind = record_of("a", None).model_copy(update={"peaks": ((),) * 8})
    assert points_seen(blind) == [[(SIZE[0] / 2, SIZE[1] / 2)] * 8] * 3


def test_guided_where_missed() -> None:
    record = record_of("a", "cyclist")
    points = guided_points(record)
    assert [point is not None for point in points] == [True, True, *[False] * 6]
    assert points == guided_points(record)
    missed, shown = [False, False], [True] * 6
    assert crops_that_show(record).tolist() == [missed + shown, [False] * 8, missed + shown]


def test_nothing_to_guide_to() -> None:
    assert guided_points(record_of("a", None)) == [None] * 8
    unmarked = record_of("a", "cyclist").model_copy(update={"boxes": ()})
    assert guided_points(unmarked) == [None] * 8
    assert not crops_that_show(unmarked).any()
