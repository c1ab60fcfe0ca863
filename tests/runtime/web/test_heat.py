"""The overlay: clear where the camera's picture is as drawn, loud where it is not, on the threshold's own scale."""

from __future__ import annotations

import cv2
import numpy as np

from callm_edge.stage1.scores import PEAK
from callm_edge.web.heat import FROM, FULL, heat_png

THRESHOLD_DB = 20.0
UNIT = PEAK**2 / 100  # the error of 20 dB


def drawn(error_map: np.ndarray, tile: bool = True) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(heat_png(error_map, THRESHOLD_DB, tile), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape == (128, 128, 4)
    return image


def test_no_error_is_clear_and_much_is_opaque() -> None:
    error_map = np.zeros((128, 128), np.float32)
    error_map[40:80, 60:100] = FULL * UNIT
    alpha = drawn(error_map)[:, :, 3]
    assert alpha[10, 10] == 0
    assert alpha[60, 80] >= 254


def test_opacity_grows_with_the_error_and_not_with_the_frames_own_range() -> None:
    levels = [
        int(drawn(np.full((128, 128), part * UNIT, np.float32))[64, 64, 3]) for part in (FROM, 0.4, 0.7, 1.0, FULL)
    ]
    assert levels == sorted(set(levels))
    assert levels[0] == 0, "a calm frame stays calm"
    assert levels[-1] >= 254


def test_a_frames_mean_hides_errors_that_a_tile_shows() -> None:
    error_map = np.full((128, 128), UNIT, np.float32)
    assert drawn(error_map, tile=False)[64, 64, 3] < drawn(error_map)[64, 64, 3]
