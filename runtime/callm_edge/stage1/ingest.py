"""A decoded picture -> the gray 256 x 256 frame that stage 1 sees."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = 256  # pixels

# A camera's frames are small: splitting one over threads gains nothing and takes the cores that stage 1 needs.
cv2.setNumThreads(1)


def to_gray_256(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR or (H, W) gray, uint8 -> (256, 256) uint8, as published: OpenCV gray, bilinear resize."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.shape[2] == 3 else image[..., 0]
    return np.ascontiguousarray(cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR))
