"""What stage 2 sees of a clip: 8 uniform frames, and beside each the crop around the peak of its error map.

The same on the device, in tuning and in evaluation, so that the branch is asked what it was taught.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from callm_edge.stage2.prompts import FRAMES

SIDE = 224  # pixels of a picture
CROP = 0.4  # side of a crop as a part of the frame's shorter side

Point = tuple[float, float]


def shown(frames: int) -> list[int]:
    """Indices of the 8 frames of a clip that are seen: `prompts.frame_indices`, some of them again in a short clip."""
    return [i * frames // FRAMES for i in range(FRAMES)]


def clip_pictures(images: Sequence[np.ndarray], peaks: Sequence[Point | None], side: int = SIDE) -> np.ndarray:
    """Pictures of a clip's uniform frames.

    images: (H, W, 3) BGR or (H, W) gray, uint8, of `shown`. peaks: x, y of each error peak, in pixels of its
    image; None takes the nearest frame's that has one, or the middle where none has.
    Returns (2 N, side, side, 3) RGB uint8: all frames, squeezed to a square as published, then all crops.
    """
    frames = [_rgb(image) for image in images]
    crops = [crop(frame, point) for frame, point in zip(frames, _filled(peaks, frames), strict=True)]
    return np.stack([_square(picture, side) for picture in (*frames, *crops)])


def crop(image: np.ndarray, point: Point) -> np.ndarray:
    """The square of 0.4 of the shorter side around `point`, moved to lie inside of the image: a view."""
    height, width = image.shape[:2]
    side = max(1, round(CROP * min(height, width)))
    x = int(np.clip(round(point[0] - side / 2), 0, width - side))
    y = int(np.clip(round(point[1] - side / 2), 0, height - side))
    return image[y : y + side, x : x + side]


def _filled(peaks: Sequence[Point | None], images: Sequence[np.ndarray]) -> list[Point]:
    known = [at for at, point in enumerate(peaks) if point is not None]
    found: list[Point] = []
    for at, point in enumerate(peaks):
        if point is None and known:
            point = peaks[min(known, key=lambda other: abs(other - at))]
        found.append(point or (images[at].shape[1] / 2, images[at].shape[0] / 2))
    return found


def _rgb(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)


def _square(image: np.ndarray, side: int) -> np.ndarray:
    shrinks = image.shape[0] > side and image.shape[1] > side
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
