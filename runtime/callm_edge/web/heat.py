"""The error map as a picture to lay over the camera's."""

from __future__ import annotations

import numpy as np

from callm_edge.events.annotate import FRAME_STATISTIC
from callm_edge.stage1.scores import PEAK

FROM, FULL = 0.2, 4.0  # error around a pixel, in multiples of the threshold's: where colour begins, where it is full
BLUR = 1.5  # cells


def heat_png(error_map: np.ndarray, threshold_db: float, tile_statistic: bool) -> bytes:
    """PNG (128 x 128, RGBA) of an error map: colour and opacity say how large the error is, beside the threshold's.

    error_map: (128, 128) float32 squared error. The scale is the threshold's and not the frame's own, so that a normal
    frame stays faint instead of showing its largest noise in full colour.
    """
    import cv2

    unit = PEAK**2 * 10 ** (-threshold_db / 10) * (1.0 if tile_statistic else FRAME_STATISTIC)
    near = cv2.GaussianBlur(np.ascontiguousarray(error_map, np.float32), (0, 0), BLUR)
    heat = np.sqrt(np.clip((near / unit - FROM) / (FULL - FROM), 0, 1))
    colours = cv2.applyColorMap((90 + 150 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
    done, encoded = cv2.imencode(".png", np.dstack([colours, (255 * heat).astype(np.uint8)]))
    if not done:
        raise ValueError(f"an error map of shape {error_map.shape} cannot be written as PNG")
    return encoded.tobytes()
