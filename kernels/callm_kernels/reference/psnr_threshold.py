"""Reference of the score: squared error of the scored frame, its PSNR, its worst tile, and the flag.

    mse       = mean over the frame of (reconstruction - frame)^2, on data in [-1, 1]
    psnr_db   = 10 log10(2^2 / max(mse, 1e-10)), the data range being 2
    patch_mse = largest mean over 32 x 32 tiles, one every 8 pixels
    error_map = mean over each 2 x 2 pixels
    flag      = not (psnr_db >= threshold_psnr_db)

(Ntelopoulos and Nasrollahi, "CALLM", 2024, with the true data range as peak.)

A value that is no number or infinite, in frame or reconstruction, makes everything it enters so: mse and the tiles
that hold it become NaN or infinite, psnr_db NaN or -infinite, and the frame is flagged. A broken engine must not look
normal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TILE, TILE_STEP = 32, 8  # pixels
FLOOR = 1e-10


class Reference(NamedTuple):
    """Of one frame: three numbers, the (H/2, W/2) float64 error map, and the flag."""

    mse: float
    psnr_db: float
    patch_mse: float
    error_map: np.ndarray
    flag: bool


def psnr_threshold(frame: np.ndarray, reconstruction: np.ndarray, threshold_psnr_db: float) -> Reference:
    """Score one frame, in float64.

    frame: (H, W) uint8, normalised here as x / 127.5 - 1, or floating point in [-1, 1]. reconstruction: (H, W) in
    [-1, 1]. H and W even, 32 at least.
    """
    normalised = frame / 127.5 - 1.0 if frame.dtype == np.uint8 else frame.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        squared = (reconstruction.astype(np.float64) - normalised) ** 2
        height, width = squared.shape
        mse = float(squared.mean())
        psnr_db = float(10.0 * np.log10(4.0 / np.maximum(mse, FLOOR)))
        tiles = np.lib.stride_tricks.sliding_window_view(squared, (TILE, TILE))[::TILE_STEP, ::TILE_STEP]
        patch_mse = float(tiles.mean(axis=(2, 3)).max())
        error_map = squared.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return Reference(mse, psnr_db, patch_mse, error_map, not psnr_db >= threshold_psnr_db)
