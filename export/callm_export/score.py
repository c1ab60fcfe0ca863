"""The score of stage 1 in torch: what the export puts into the graph, and what training validates with."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from callm_edge.stage1.scores import PEAK, TILE, TILE_STEP


class FrameScore(NamedTuple):
    """mse, psnr_db, patch_mse: (B,); error_map: (B, H/2, W/2). As in callm_edge.stage1.scores.Scores."""

    mse: Tensor
    psnr_db: Tensor
    patch_mse: Tensor
    error_map: Tensor


def score_frame(reconstruction: Tensor, frame: Tensor) -> FrameScore:
    """Score reconstructed frames (B, H, W) against the frames themselves, both float32 in [-1, 1].

    The means over tiles are taken from the 2 x 2 means, which gives the same numbers with a quarter of the additions.
    """
    error_map = torch.nn.functional.avg_pool2d(((reconstruction - frame) ** 2)[:, None], 2)
    tiles = torch.nn.functional.avg_pool2d(error_map, TILE // 2, TILE_STEP // 2)
    mse = error_map.mean(dim=(1, 2, 3))
    psnr = 10.0 / torch.log(torch.tensor(10.0)) * torch.log(PEAK**2 / mse.clamp(min=1e-10))
    return FrameScore(mse, psnr, tiles.amax(dim=(1, 2, 3)), error_map[:, 0])
