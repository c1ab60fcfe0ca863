"""Launches psnr_threshold.cu: scores a batch of windows and flags them, in one launch."""

from __future__ import annotations

from typing import Literal

import numpy as np

from callm_kernels.launch import CudaStream, Launch, address
from callm_kernels.module import Module
from callm_kernels.reference.psnr_threshold import TILE

BLOCK = 128  # threads; as in psnr_threshold.cu
CELL = 8  # pixels, side of the cells that tiles are summed from
WARP_TILE = (CELL, 128)  # rows, columns that a warp takes at a time
MAX_CELLS = 12 * 1024  # 48 KiB of float32, what a block may have as shared memory without asking
MAX_BATCH = 65535  # blocks in y


class PsnrThreshold:
    """Squared error of the scored frame of B windows -> mse, psnr_db, patch_mse, flags, error_map.

    Same numbers as callm_kernels.reference.psnr_threshold, in float32, and the same bits for the same input whatever
    the batch, the GPU's size or the order in which blocks run. An error that is not finite is flagged.
    """

    def __init__(
        self,
        device: int = 0,
        *,
        height: int = 256,
        width: int = 256,
        frame_dtype: Literal["uint8", "float16"] = "uint8",
    ) -> None:
        """Load (and where needed build) the code for the given CUDA device.

        height, width: pixels of a frame; even, 32 at least, and at most 12,288 cells of 8 x 8 pixels.
        frame_dtype: "uint8" frames are normalised as x / 127.5 - 1; "float16" frames lie in [-1, 1] already.

        Raises KernelError where there is no driver, no GPU, or no code for it; ValueError for a shape out of range.
        """
        check_shape(height, width)
        self.height, self.width, self.frame_dtype = height, width, frame_dtype
        self._module = Module("psnr_threshold", device)

    @staticmethod
    def workspace_bytes(batch: int, height: int = 256, width: int = 256) -> int:
        """Bytes of device memory that `launch` needs as workspace for batches up to `batch`.

        Fill it with zeros once, before the first launch; each launch leaves it ready for the next. Launches that may
        overlap (different streams) each need their own.
        """
        return batch * _region_bytes(height, width)

    def launch(
        self,
        stream: CudaStream,
        *,
        batch: int,
        frames: int,
        frame_stride: int,
        reconstructions: int,
        reconstruction_stride: int,
        thresholds_psnr_db: int,
        workspace: int,
        mse: int,
        psnr_db: int,
        patch_mse: int,
        flags: int,
        error_map: int = 0,
    ) -> None:
        """Enqueue on `stream`. All addresses are on the device; nothing is allocated and nothing waited for.

        batch: B, 1 to 65535.
        frames: address of the first scored frame, (H, W) of frame_dtype, rows dense. For windows (B, 16, H, W) that is
            the address of the windows plus 8 * H * W elements.
        frame_stride: elements from one scored frame to the next, 16 * H * W for dense windows.
        reconstructions, reconstruction_stride: likewise, float16, in [-1, 1]. H * W where an engine gives frame 9 only.
        thresholds_psnr_db: (B,) float32, per camera: flag where psnr_db is not at least this.
        workspace: see `workspace_bytes`. 16-byte aligned.
        mse, psnr_db, patch_mse: (B,) float32 out. flags: (B,) uint8 out, 1 or 0.
        error_map: (B, H/2, W/2) float32 out, squared error averaged over 2 x 2 pixels, or 0 for none.

        Frames and reconstructions are loaded 16 bytes at a time where addresses, strides and the width allow it
        (multiples of 16 bytes; 16 pixels); any others work too, element by element.
        """
        self._module.run(
            stream,
            plan(
                height=self.height,
                width=self.width,
                frame_dtype=self.frame_dtype,
                batch=batch,
                frames=frames,
                frame_stride=frame_stride,
                reconstructions=reconstructions,
                reconstruction_stride=reconstruction_stride,
                thresholds_psnr_db=thresholds_psnr_db,
                workspace=workspace,
                mse=mse,
                psnr_db=psnr_db,
                patch_mse=patch_mse,
                flags=flags,
                error_map=error_map,
            ),
        )


def plan(
    *,
    height: int,
    width: int,
    frame_dtype: str,
    batch: int,
    frames: int,
    frame_stride: int,
    reconstructions: int,
    reconstruction_stride: int,
    thresholds_psnr_db: int,
    workspace: int,
    mse: int,
    psnr_db: int,
    patch_mse: int,
    flags: int,
    error_map: int = 0,
    max_blocks: int = 1 << 16,
) -> Launch:
    """What PsnrThreshold.launch enqueues. max_blocks: blocks for one frame at most; the result is the same."""
    check_shape(height, width)
    if not 1 <= batch <= MAX_BATCH:
        raise ValueError(f"a batch of {batch} windows; 1 to {MAX_BATCH} can be scored in one launch")
    itemsize = np.dtype(frame_dtype).itemsize
    warp_tiles = -(-height // WARP_TILE[0]) * -(-width // WARP_TILE[1])
    vectors = width % 16 == 0 and not any(
        value % 16 for value in (frames, frame_stride * itemsize, reconstructions, reconstruction_stride * 2, error_map)
    )
    return Launch(
        entry=f"psnr_threshold_{'u8' if frame_dtype == 'uint8' else 'f16'}_{'x16' if vectors else 'x1'}",
        grid=(min(-(-warp_tiles // (BLOCK // 32)), max_blocks), batch),
        block=BLOCK,
        shared_bytes=4 * _cells(height, width),
        arguments=(
            address(frames, "frames", itemsize),
            np.int64(frame_stride),
            address(reconstructions, "reconstructions", 2),
            np.int64(reconstruction_stride),
            address(thresholds_psnr_db, "thresholds_psnr_db", 4),
            np.int32(height),
            np.int32(width),
            address(workspace, "workspace", 16),
            np.int64(_region_bytes(height, width)),
            address(mse, "mse", 4),
            address(psnr_db, "psnr_db", 4),
            address(patch_mse, "patch_mse", 4),
            address(flags, "flags"),
            address(error_map, "error_map", 4, optional=True),
        ),
    )


def check_shape(height: int, width: int) -> None:
    """Raises ValueError for frames that the kernel does not score."""
    if height % 2 or width % 2 or min(height, width) < TILE:
        raise ValueError(f"a frame of {height} x {width} pixels; both must be even and {TILE} at least")
    if _cells(height, width) > MAX_CELLS:
        raise ValueError(f"a frame of {height} x {width} pixels has more than {MAX_CELLS} cells of {CELL} x {CELL}")


def _cells(height: int, width: int) -> int:
    """Cells of 8 x 8 pixels, those cut off by the right and lower edge included."""
    return -(-height // CELL) * -(-width // CELL)


def _region_bytes(height: int, width: int) -> int:
    """Workspace of one window: its ticket in the first 16 bytes, then its cells.

    One region per window, so that a workspace filled with zeros once serves batches of any size after each other.
    """
    return 16 + -(-4 * _cells(height, width) // 16) * 16
