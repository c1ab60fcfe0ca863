"""Where in the picture the error is: a box from the error map."""

from __future__ import annotations

import cv2
import numpy as np

PEAK_SIGMA = 3.0  # map pixels: movers are larger than single bad pixels
SHARE = 0.35  # of the smoothed peak: what still belongs to the mover


def peak_point(error_map: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """(h, w) float32 error map -> x, y in a picture of `size` (width, height): the point that `peak_box` grows from."""
    smooth = cv2.GaussianBlur(error_map, (0, 0), PEAK_SIGMA)
    y, x = np.unravel_index(int(smooth.argmax()), smooth.shape)
    return (float(x) + 0.5) * size[0] / smooth.shape[1], (float(y) + 0.5) * size[1] / smooth.shape[0]


def peak_box(error_map: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(h, w) float32 error map -> (x, y, width, height) in pixels of a picture of `size` (width, height).

    The connected area around the smoothed maximum in which the smoothed error stays above 35 % of it.
    """
    smooth = cv2.GaussianBlur(error_map, (0, 0), PEAK_SIGMA)
    y, x = np.unravel_index(int(smooth.argmax()), smooth.shape)
    _, labels = cv2.connectedComponents((smooth >= SHARE * smooth[y, x]).astype(np.uint8))
    rows, columns = np.nonzero(labels == labels[y, x])
    sx, sy = size[0] / error_map.shape[1], size[1] / error_map.shape[0]
    left, top = int(columns.min() * sx), int(rows.min() * sy)
    right, bottom = int(np.ceil((columns.max() + 1) * sx)), int(np.ceil((rows.max() + 1) * sy))
    return left, top, min(right, size[0]) - left, min(bottom, size[1]) - top
