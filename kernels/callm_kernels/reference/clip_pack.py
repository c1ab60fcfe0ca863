"""Reference of clip_pack.cu: a box of a frame -> a normalised picture for the vision encoder."""

from __future__ import annotations

import numpy as np

from callm_kernels.pictures import Format
from callm_kernels.reference.pictures import resize, to_rgb


def clip_pack(
    picture: np.ndarray,
    format: Format,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    box: tuple[int, int, int, int] | None = None,
    chroma: np.ndarray | None = None,
) -> np.ndarray:
    """(3, size, size) float64 RGB: (x / 255 - mean) / std of the box, resized bilinearly without rounding in between.

    picture, chroma: as for reference.pictures.to_rgb. box: (left, top, width, height) in pixels; None for all of it.
    """
    left, top, width, height = box or (0, 0, picture.shape[1], picture.shape[0])
    boxed = to_rgb(picture, format, chroma)[top : top + height, left : left + width]
    return ((resize(boxed, size) / 255 - np.array(mean)) / np.array(std)).transpose(2, 0, 1)
