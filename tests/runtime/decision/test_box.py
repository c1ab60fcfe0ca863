"""The box around the error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.decision.box import peak_box


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
