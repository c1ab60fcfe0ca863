"""Pictures of any size and colour become the gray frame of stage 1."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from callm_edge.stage1.ingest import to_gray_256


@pytest.mark.parametrize(
    "shape", [(1, 1), (256, 256), (240, 360), (359, 641), (2, 1000), (360, 640, 3), (17, 33, 3), (64, 64, 1)]
)
def test_every_size_and_colour(shape: tuple[int, ...]) -> None:
    frame = to_gray_256(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    assert frame.shape == (256, 256)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous


def test_colour_is_turned_gray_before_the_resize_as_the_published_code_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (240, 360, 3), np.uint8)
    wanted = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (256, 256))
    np.testing.assert_array_equal(to_gray_256(image), wanted)
