"""Where in the picture the error is: a box from the error map."""

from __future__ import annotations

import cv2
import numpy as np

PEAK_SIGMA = 3.0  # map pixels: movers are larger than single bad pixels
PEAKS = 3  # of a map
APART = 0.12  # of a picture's shorter side: peaks are at least that far apart in x or in y
SHARE = 0.35  # of the smoothed peak: what still belongs to the mover


def peak_points(error_map: np.ndarray, size: tuple[int, int], count: int = PEAKS) -> tuple[tuple[float, float], ...]:
    """(h, w) float32 error map -> x, y of its `count` largest places, apart from one another, the largest first.

    In pixels of a picture of `size` (width, height). `peak_box` grows from the first.
    """
    smooth = cv2.GaussianBlur(error_map, (0, 0), PEAK_SIGMA)
    height, width = smooth.shape
    reach = APART * min(size)
    rows, columns = round(reach * height / size[1]), round(reach * width / size[0])
    found = []
    for _ in range(count):
        y, x = (int(at) for at in np.unravel_index(int(smooth.argmax()), smooth.shape))
        found.append(((x + 0.5) * size[0] / width, (y + 0.5) * size[1] / height))
        smooth[max(0, y - rows) : y + rows + 1, max(0, x - columns) : x + columns + 1] = -np.inf
    return tuple(found)


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
