"""How strange is what moves, beside what usually does at the same place of the picture."""

from __future__ import annotations

import cv2
import numpy as np

from callm_edge.stage2.flow import SIZE, resized
from callm_edge.stage2.ways import Ways

STRANGE = 5  # what is told of a place: how strange is what moves to the right, down, left and up, and how fast it is
_FEW = 0.1  # of the usual flow of all places: where less moves in all, every way is strange
_RARE = 0.1  # of what moves at a place: ways that have less are strange
_SMOOTH = 1.0  # places: a few minutes of footage do not show every step
_NOTHING = 1e-9  # widths a second: less than any flow


class Strangeness:
    """ways: usual ones of the camera."""

    def __init__(self, ways: Ways) -> None:
        usual = resized(cv2.GaussianBlur(ways.usual, (0, 0), _SMOOTH), SIZE)
        flow, square = usual[..., :4], usual[..., 4:]
        there = flow.sum(2, keepdims=True)
        there += max(_FEW * float(there.mean()), _NOTHING)
        self._rarity = np.maximum(0, 1 - flow / (_RARE * there))
        # Weighted by itself: most of the time nothing moves. Where nobody went, as fast as elsewhere.
        self._speed = np.maximum((square + _FEW * float(square.mean())) / there, _NOTHING)

    def of(self, flow: np.ndarray) -> np.ndarray:
        """(90, 160, 4) of `flow_between` -> (90, 160, 5) float32.

        What moves in ways that are rare at its place, to the right, down, left and up, and what moves at all, both in
        parts of the speed that is usual there.
        """
        beside = flow / self._speed
        return np.concatenate([beside * self._rarity, beside.sum(2, keepdims=True)], axis=2)
