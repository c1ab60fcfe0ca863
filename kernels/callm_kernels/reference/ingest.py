"""Reference of ingest.cu: a picture -> the gray frame of stage 1, written twice into a mirrored ring."""

from __future__ import annotations

import numpy as np

from callm_kernels.pictures import Format
from callm_kernels.reference.pictures import resize, to_gray

WINDOW = 16  # frames


def ingest(picture: np.ndarray, format: Format, ring: np.ndarray, slot: int) -> None:
    """Write the frame to slots `slot` and `slot + 16`; nothing where slot is negative.

    picture: (H, W) uint8, of NV12 the luma plane; (H, W, 3) for BGR. ring: (32, S, S) uint8, changed in place.
    """
    if slot < 0:
        return
    frame = np.rint(resize(to_gray(picture, format), ring.shape[1])).astype(np.uint8)
    ring[slot] = ring[slot + WINDOW] = frame
