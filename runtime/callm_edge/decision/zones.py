"""Parts of the picture that do not count: a road behind the fence, a tree in the wind, the clock in the corner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from callm_edge.stage1.scores import TILE, TILE_STEP, Scores, psnr_db

Point = tuple[float, float]

_CELL = 2  # pixels of the 256 x 256 frame, the side of a cell of the error map
_SUBPIXEL = 8  # bits after the point in OpenCV's drawing coordinates


@dataclass(frozen=True)
class Zones:
    """Polygons to ignore, each of three points or more, x and y in pixels of the source's picture.

    An ignored pixel counts as one that stage 1 reconstructs without error, so a zone can only raise a PSNR: the
    threshold stays good, and no zone can make an alarm. A cell of the error map (1/128 of the picture's sides) that a
    zone's edge touches is ignored as a whole.
    """

    polygons: tuple[tuple[Point, ...], ...]

    def __post_init__(self) -> None:
        if any(len(polygon) < 3 for polygon in self.polygons):
            raise ValueError("a zone needs three corners or more")

    def kept(self, size: tuple[int, int], map_size: int) -> np.ndarray:
        """(map_size, map_size) float32: 1 where the error counts, 0 where it is ignored. size: width, height."""
        kept = np.ones((map_size, map_size), np.float32)
        scale = np.array([map_size / size[0], map_size / size[1]])
        for polygon in self.polygons:
            # OpenCV's integer coordinates are the middles of cells.
            corners = np.clip(np.asarray(polygon) * scale, 0, map_size) - 0.5
            fixed = np.round(corners * (1 << _SUBPIXEL)).astype(np.int32)
            cv2.fillPoly(kept, [fixed], (0.0,), shift=_SUBPIXEL)
        return kept

    def apply(self, scores: Scores, size: tuple[int, int]) -> Scores:
        """`scores` as they are without the error inside the zones, every field of them. size: of the picture."""
        if not self.polygons:
            return scores
        error_map = scores.error_map * self.kept(size, scores.error_map.shape[-1])
        mse = error_map.mean((1, 2), dtype=np.float32)
        return replace(
            scores, error_map=error_map, mse=mse, psnr_db=psnr_db(mse), patch_mse=_largest_tile_mean(error_map)
        )


def box(x: float, y: float, width: float, height: float) -> tuple[Point, ...]:
    """The polygon of a box."""
    return (x, y), (x + width, y), (x + width, y + height), (x, y + height)


def _largest_tile_mean(error_map: np.ndarray) -> np.ndarray:
    """(B, 128, 128) -> (B,) float32: the same tiles as in stage 1's graph, whose pixels the map holds in fours."""
    side, step = TILE // _CELL, TILE_STEP // _CELL
    # Sums in float64: differences of float32 sums would show in the third digit of a dB.
    total = np.pad(error_map, ((0, 0), (1, 0), (1, 0))).cumsum(1, dtype=np.float64).cumsum(2)
    sums = total[:, side:, side:] - total[:, :-side, side:] - total[:, side:, :-side] + total[:, :-side, :-side]
    largest: Sequence[float] = (sums[:, ::step, ::step].max((1, 2)) / side**2).clip(min=0)
    return np.asarray(largest, np.float32)
