"""How a clip moves: optical flow of the frames that stage 2 sees, in the cells of the encoder's map.

The channels are those of Efros, Berg, Mori and Malik, "Recognizing Action at a Distance" (ICCV 2003), where people are
small too: flow to the right, down, left and up, each for itself, so that opposite ways do not cancel out. Of a frame
alone nobody can tell who walks against the flow, and hardly who runs.

The frames that come right after the seen ones are needed. Where there are none (pictures from elsewhere, footage of few
frames a second) nothing moves.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from callm_edge.events.clip import ClipFrame
from callm_edge.stage2.pictures import Point, crop_square

GRID = 7  # cells of a side: those of the encoder's map
CHANNELS = 8  # of a cell: its mean and its largest flow in the four directions
STEP_S, LONGEST_S = 0.08, 0.25  # between the two frames of a flow: as wished, and what is too long
_SIZE = (320, 180)  # the frames' for their flow, whatever theirs; DIS crashes on very flat pictures
_KEPT = (160, 90)  # the flow's, which is smooth
_STILL = 0.004  # widths of a frame a second that noise alone moves; somebody far off walks at 0.01
_FINE = 7  # a cell's side in pixels of which the largest is taken
_GAIN = 3.0  # of the root: what walks gets near 1


def follower(times: Sequence[float], at: int) -> int | None:
    """Of the frames near frame `at` the one nearest to 80 ms away, a later one if there is any; None if there is none.

    times: seconds of all frames, rising.
    """
    for sign in (1, -1):
        found = [other for other, time in enumerate(times) if 0 < sign * (time - times[at]) < LONGEST_S]
        if found:
            return min(found, key=lambda other: abs(abs(times[other] - times[at]) - STEP_S))
    return None


class Motion:
    """Flow of some frames of a clip.

    frames: all that there are, in order of time. seen: indices of those whose flow is wanted. images: their pictures,
    (H, W, 3) BGR or (H, W) gray, uint8. Raises UserError where a picture of another frame is damaged.
    """

    def __init__(self, frames: Sequence[ClipFrame], seen: Sequence[int], images: Sequence[np.ndarray]) -> None:
        times = [frame.time for frame in frames]
        self._sizes = [(image.shape[1], image.shape[0]) for image in images]
        self._flows: list[np.ndarray] = []  # (h, w, 4) to the right, down, left and up
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        for at, image in zip(seen, images, strict=True):
            other = follower(times, at)
            if other is None:
                self._flows.append(np.zeros((*_KEPT[::-1], 4), np.float32))
                continue
            moved = dis.calc(_small(image), _small(frames[other].image()), None)  # type: ignore[call-overload]
            seconds = times[other] - times[at]
            moved = cv2.resize(moved, _KEPT, interpolation=cv2.INTER_AREA) / (seconds * _SIZE[0])
            speed = np.linalg.norm(moved, axis=2, keepdims=True)
            moved *= np.maximum(0, 1 - _STILL / np.maximum(speed, _STILL))
            self._flows.append(np.concatenate([np.maximum(moved, 0), np.maximum(-moved, 0)], axis=2))

    def frame(self, number: int) -> np.ndarray:
        """Cells of a whole frame, by its number among the seen ones.

        Returns (49, 8) float32: root of the mean and of the largest flow to the right, down, left and up, before the
        root in widths of a frame a second, less what noise may be.
        """
        return _cells(self._flows[number])

    def crop(self, number: int, point: Point) -> np.ndarray:
        """The same of the crop around `point` of that frame, in pixels of its picture."""
        flow = self._flows[number]
        width, height = self._sizes[number]
        x, y, side = crop_square((width, height), point)
        across, down = flow.shape[1] / width, flow.shape[0] / height
        left, top = round(x * across), round(y * down)
        right, bottom = round((x + side) * across), round((y + side) * down)
        return _cells(flow[top : max(top + 1, bottom), left : max(left + 1, right)])


def _small(image: np.ndarray) -> np.ndarray:
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.resize(gray, _SIZE, interpolation=cv2.INTER_AREA)


def _cells(flow: np.ndarray) -> np.ndarray:
    """(h, w, 4) -> (49, 8)"""
    fine = GRID * _FINE
    shrinks = min(flow.shape[:2]) >= fine
    flow = cv2.resize(flow, (fine, fine), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    blocks = flow.reshape(GRID, _FINE, GRID, _FINE, 4).transpose(0, 2, 1, 3, 4).reshape(GRID * GRID, _FINE**2, 4)
    found: np.ndarray = _GAIN * np.sqrt(np.concatenate([blocks.mean(1), blocks.max(1)], axis=1))
    return found
