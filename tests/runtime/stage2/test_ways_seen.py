"""What normal footage shows of a camera's usual ways."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from callm_edge.stage2.ways import PLACES
from callm_edge.stage2.ways_seen import FEWEST, WaysSeen

RIGHT, DOWN, LEFT, UP, SQUARE = range(5)
GROUND = cv2.GaussianBlur(np.random.default_rng(0).integers(60, 200, (180, 320), dtype=np.uint8), (0, 0), 2)
BLOCK = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (48, 32), dtype=np.uint8), (0, 0), 1.5)


def picture(time: float) -> np.ndarray:
    """Somebody walks to the right in the upper half and comes again, another to the left in the lower."""
    image = GROUND.copy()
    there = round(time * 40) % 280
    image[20:68, there : there + 32] = BLOCK
    image[110:158, 280 - there : 312 - there] = BLOCK
    return image


def seen(seconds: float, fps: float = 25.0) -> WaysSeen:
    found = WaysSeen()
    for number in range(round(seconds * fps)):
        found.push(number / fps, picture(number / fps))
    return found


@pytest.mark.parametrize("fps", [10.0, 25.0, 29.97])
def test_each_place_has_its_ways(fps: float) -> None:
    found = seen(45, fps)
    assert found.flows == pytest.approx(45 / 0.4, rel=0.05)
    ways = found.ways()
    assert ways is not None
    usual = ways.usual
    assert (usual.shape, usual.dtype) == ((*PLACES[::-1], 5), np.float32)
    above, below = usual[3:10, 8:40].mean((0, 1)), usual[17:23, 8:40].mean((0, 1))
    assert above[RIGHT] > 10 * above[LEFT]
    assert below[LEFT] > 10 * below[RIGHT]
    # 40 of 320 pixels a second are 0.125 widths a second.
    assert 0.05 < above[SQUARE] / above[:4].sum() < 0.13, "what is near somebody moves along, and more slowly"


def test_too_little_shows_nothing() -> None:
    found = seen(0.4 * FEWEST - 2)
    assert 0 < found.flows < FEWEST
    assert found.ways() is None


def test_frames_far_apart_show_nothing() -> None:
    assert seen(60, fps=3).flows == 0


def test_clips_may_follow_each_other() -> None:
    """Each begins at its own zero; between two of them there is no flow."""
    found = WaysSeen()
    for _ in range(30):
        for number in range(50):
            found.push(number / 25, picture(number / 25))
    assert found.flows == 30 * 5
