"""The box around the error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.decision.box import APART, peak_box, peak_points


@given(st.integers(0, 127), st.integers(0, 127), st.integers(1, 2000), st.integers(1, 2000))
def test_the_box_holds_the_peak_and_lies_within_the_picture(y: int, x: int, width: int, height: int) -> None:
    error_map = np.zeros((128, 128), np.float32)
    error_map[y, x] = 1.0
    left, top, w, h = peak_box(error_map, (width, height))
    assert 0 <= left < left + w <= width
    assert 0 <= top < top + h <= height
    assert left <= (x + 0.5) * width / 128 <= left + w
    assert top <= (y + 0.5) * height / 128 <= top + h


def test_the_box_fits_the_mover_and_leaves_out_a_smaller_one() -> None:
    error_map = np.zeros((128, 128), np.float32)
    error_map[40:60, 20:32] = 1.0
    error_map[100:104, 100:104] = 1.0
    left, top, w, h = peak_box(error_map, (256, 256))
    assert (left, top, left + w, top + h) == pytest.approx((40, 80, 64, 120), abs=10)


@given(st.integers(0, 127), st.integers(0, 127), st.integers(32, 2000), st.integers(32, 2000))
def test_peaks_lie_apart_the_largest_first(y: int, x: int, width: int, height: int) -> None:
    error_map = np.random.default_rng(0).random((128, 128), np.float32)
    error_map[y, x] = 1000.0
    points = peak_points(error_map, (width, height))
    assert len(points) == 3
    # A border mirrors what lies at it, so the maximum of the smoothed map may be a pixel further in.
    assert points[0] == pytest.approx(
        ((x + 0.5) * width / 128, (y + 0.5) * height / 128), abs=4 * max(width, height) / 128
    )
    assert all(0 <= px <= width and 0 <= py <= height for px, py in points)
    reach, grid = APART * min(width, height), (width / 128, height / 128)
    for at, one in enumerate(points):
        for other in points[:at]:
            dx, dy = abs(one[0] - other[0]), abs(one[1] - other[1])
            assert dx >= reach - grid[0] or dy >= reach - grid[1]
