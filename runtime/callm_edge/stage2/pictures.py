"""Pictures of a clip for stage 2: 8 uniform frames, and of each the crops around the peaks of its error map."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from callm_edge.stage2.prompts import FRAMES

SIDE = 224  # pixels of a picture
CROPS = 3  # of a frame, unless a branch was taught others
CROP = 0.4  # side of a crop as a part of the frame's shorter side

Point = tuple[float, float]


def shown(frames: int) -> list[int]:
    """Indices of the 8 frames of a clip that are seen: `prompts.frame_indices`, some of them again in a short clip."""
    return [i * frames // FRAMES for i in range(FRAMES)]


def clip_pictures(
    images: Sequence[np.ndarray], peaks: Sequence[Sequence[Point]], crops: int = CROPS, side: int = SIDE
) -> np.ndarray:
    """Pictures of a clip's uniform frames.

    images: (H, W, 3) BGR or (H, W) gray, uint8, of `shown`. peaks: x, y of each image's error peaks, in its pixels,
    the largest first; see `crop_points`. crops: of each image.
    Returns (N (1 + crops), side, side, 3) RGB uint8: all frames, squeezed to a square as published, then the crops
    around the largest peak of all frames, around the second, and so on.
    """
    frames = [_rgb(image) for image in images]
    points = crop_points(peaks, [(frame.shape[1], frame.shape[0]) for frame in frames], crops)
    cut = [crop(frame, point) for rank in points for frame, point in zip(frames, rank, strict=True)]
    return np.stack([_square(picture, side) for picture in (*frames, *cut)])


def with_crops(pictures: np.ndarray, crops: int) -> np.ndarray:
    """Pictures as of `clip_pictures`, of 8 frames, with another number of crops: fewer, or the same ones again."""
    frames, cut = pictures[:FRAMES], pictures[FRAMES:]
    chosen = [rank * FRAMES + at for rank in range(crops) for at in range(FRAMES)]
    return np.concatenate([frames, cut[[at % len(cut) for at in chosen]]]) if crops else frames


def crop(image: np.ndarray, point: Point) -> np.ndarray:
    """The square of 0.4 of the shorter side around `point`, moved to lie inside of the image: a view."""
    x, y, side = crop_square((image.shape[1], image.shape[0]), point)
    return image[y : y + side, x : x + side]


def crop_square(size: tuple[int, int], point: Point) -> tuple[int, int, int]:
    """Left, top and side of that square in a picture of `size` (width, height)."""
    side = max(1, round(CROP * min(size)))
    x, y = (int(np.clip(round(at - side / 2), 0, edge - side)) for at, edge in zip(point, size, strict=True))
    return x, y, side


def crop_points(
    peaks: Sequence[Sequence[Point]], sizes: Sequence[tuple[int, int]], crops: int = CROPS
) -> list[list[Point]]:
    """The middle of each crop, by rank and frame.

    peaks: as for `clip_pictures`. Where a frame has none, the nearest frame's count that has some, or its middle where
    none has; where there are fewer than `crops`, they come again. sizes: (width, height) of each frame.
    """
    known = [at for at, points in enumerate(peaks) if points]
    filled: list[Sequence[Point]] = []
    for at, (width, height) in enumerate(sizes):
        nearest = min(known, key=lambda other: abs(other - at), default=None)
        filled.append(peaks[nearest] if nearest is not None else [(width / 2, height / 2)])
    return [[points[rank % len(points)] for points in filled] for rank in range(crops)]


def _rgb(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)


def _square(image: np.ndarray, side: int) -> np.ndarray:
    shrinks = image.shape[0] > side and image.shape[1] > side
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
