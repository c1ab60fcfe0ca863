"""The numbers that stage 1 gives for windows, the same from every backend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PEAK = 2.0  # data range of a frame in [-1, 1]
TILE, TILE_STEP = 32, 8  # pixels of the 256 x 256 frame: side of a tile and the step between two
MAP_SIZE = 128  # side of the error map: each value is the mean of 2 x 2 pixels


@dataclass(frozen=True)
class Scores:
    """Squared error of frame 9 of B windows, on data in [-1, 1].

    mse: (B,) float32, mean over the frame.
    psnr_db: (B,) float32, 10 log10(4 / mse): the paper's PSNR with the true data range 2 as peak.
    patch_mse: (B,) float32, largest mean over 32 x 32 tiles at a step of 8 pixels.
    error_map: (B, 128, 128) float32, squared error averaged over 2 x 2 pixels.
    """

    mse: np.ndarray
    psnr_db: np.ndarray
    patch_mse: np.ndarray
    error_map: np.ndarray

    @property
    def patch_psnr_db(self) -> np.ndarray:
        """(B,) float32: PSNR of the worst tile, 10 log10(4 / patch_mse)."""
        return psnr_db(self.patch_mse)


def psnr_db(mse: np.ndarray) -> np.ndarray:
    """PSNR in dB of a mean squared error on [-1, 1] data; an error of 0 counts as 1e-10 (106 dB)."""
    return (10.0 * np.log10(PEAK**2 / np.maximum(mse, 1e-10))).astype(np.float32)
