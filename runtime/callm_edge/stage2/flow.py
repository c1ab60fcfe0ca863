"""What moves between two frames: optical flow in the four ways, of which stage 2 is told."""

from __future__ import annotations

import cv2
import numpy as np

STEP_S, LONGEST_S = 0.08, 0.25  # between the two frames of a flow: as wished, and what is too long
SIZE = (160, 90)  # the flow's, which is smooth
_FRAME = (320, 180)  # the frames' for their flow, whatever theirs; DIS crashes on very flat pictures
_STILL = 0.004  # widths of a frame a second that noise alone moves; somebody far off walks at 0.01


def flow_between(image: np.ndarray, other: np.ndarray, seconds: float) -> np.ndarray:
    """Flow by DIS from one picture to another, (H, W, 3) BGR or (H, W) gray, uint8, `seconds` later (or, < 0, before).

    Returns (90, 160, 4) float32 to the right, down, left and up, in widths of a frame a second, less what noise may be.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    moved = dis.calc(_small(image), _small(other), None)  # type: ignore[call-overload]
    moved = cv2.resize(moved, SIZE, interpolation=cv2.INTER_AREA) / (seconds * _FRAME[0])
    speed = np.linalg.norm(moved, axis=2, keepdims=True)
    moved *= np.maximum(0, 1 - _STILL / np.maximum(speed, _STILL))
    return np.concatenate([np.maximum(moved, 0), np.maximum(-moved, 0)], axis=2)


def resized(channels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, C) -> (height, width, C) of `size` (width, height): means where it shrinks, linear where it grows."""
    shrinks = channels.shape[1] >= size[0] and channels.shape[0] >= size[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    # OpenCV takes four channels at once.
    parts = [cv2.resize(channels[..., at : at + 4], size, interpolation=how) for at in range(0, channels.shape[2], 4)]
    return np.dstack(parts)


def _small(image: np.ndarray) -> np.ndarray:
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.resize(gray, _FRAME, interpolation=cv2.INTER_AREA)
