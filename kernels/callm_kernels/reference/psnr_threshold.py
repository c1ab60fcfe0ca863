"""Reference of the score: squared error of the scored frame, its PSNR, its worst tile, and the flag.

    mse       = mean over the frame of (reconstruction - frame)^2, on data in [-1, 1]
    psnr_db   = 10 log10(2^2 / max(mse, 1e-10)), the data range being 2
    patch_mse = largest mean over 32 x 32 tiles, one every 8 pixels
    error_map = mean over each 2 x 2 pixels
    flag      = psnr_db < threshold_psnr_db

(Ntelopoulos and Nasrollahi, "CALLM", 2024, with the true data range as peak.)
"""

from __future__ import annotations

import math
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

    frame: (H, W) uint8, normalised here as x / 127.5 - 1. reconstruction: (H, W) in [-1, 1]. H and W even, 32 at least.
    """
    squared = (reconstruction.astype(np.float64) - (frame / 127.5 - 1.0)) ** 2
    height, width = squared.shape
    mse = float(squared.mean())
    psnr_db = 10.0 * math.log10(4.0 / max(mse, FLOOR))
    patch_mse = max(
        float(squared[y : y + TILE, x : x + TILE].mean())
        for y in range(0, height - TILE + 1, TILE_STEP)
        for x in range(0, width - TILE + 1, TILE_STEP)
    )
    error_map = squared.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return Reference(mse, psnr_db, patch_mse, error_map, psnr_db < threshold_psnr_db)
