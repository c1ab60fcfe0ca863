"""Launches ingest.cu: pictures of many cameras -> gray frames in their mirrored rings, in one launch."""

from __future__ import annotations

import numpy as np

from callm_kernels.launch import CudaStream, Launch, address
from callm_kernels.module import Module
from callm_kernels.pictures import Format

BLOCK = 128  # threads; as in ingest.cu
WINDOW = 16  # frames; a ring has twice as many slots
MAX_CAMERAS = 65535  # blocks in y
MAX_SHARED_BYTES = 48 * 1024  # what a block may have without asking
MAX_ROW_BYTES = MAX_SHARED_BYTES // 2 - 32

# One camera as ingest.cu reads it (struct Camera): 40 bytes, 8-byte aligned.
CAMERA = np.dtype(
    [
        (
            "picture",
            np.uint64,
        ),  # device address of the picture's first row (NV12: of the luma plane; chroma is not read)
        ("ring", np.uint64),  # device address of the camera's ring, (32, size, size) uint8; 4-byte aligned
        ("pitch", np.int64),  # bytes from one row of the picture to the next
        ("width", np.int32),  # pixels
        ("height", np.int32),
        ("format", np.int32),  # callm_kernels.pictures.Format
        ("slot", np.int32),  # 0..15: the frame goes to this slot and to slot + 16; negative: nothing new, skip
    ]
)


def describe(*, picture: int, ring: int, pitch: int, width: int, height: int, format: Format, slot: int) -> np.void:
    """One checked record of CAMERA, to be copied into the device's array of them. Fields as there.

    Raises ValueError for what the kernel would read or write out of bounds.
    """
    row = width * Format(format).pixel_bytes
    if width < 1 or height < 1:
        raise ValueError(f"a picture of {width} x {height} pixels")
    if row > MAX_ROW_BYTES:
        raise ValueError(f"a row of {row} bytes; {MAX_ROW_BYTES} at most")
    if pitch < row:
        raise ValueError(f"a pitch of {pitch} bytes is less than a row, which has {row}")
    if slot >= WINDOW:
        raise ValueError(f"slot {slot}; a frame goes to one of 0..{WINDOW - 1} and is mirrored by the kernel")
    (record,) = np.zeros(1, CAMERA)
    record["picture"], record["ring"] = address(picture, "picture"), address(ring, "ring", 4)
    record["pitch"], record["width"], record["height"] = pitch, width, height
    record["format"], record["slot"] = int(format), slot
    return record


class Ingest:
    """Pictures (NV12, BGR or gray, any size and pitch) -> 256 x 256 gray, written at slots i and i + 16 of 32.

    Same pixels as callm_kernels.reference.ingest within 1 gray level, which is OpenCV's gray and bilinear resize. The
    gray of NV12 is its luma, brought to full range: chroma is never read.
    """

    def __init__(self, device: int = 0, *, size: int = 256, max_row_bytes: int = 1920 * 3) -> None:
        """Load (and where needed build) the code for the given CUDA device.

        size: side of the frames in pixels, a multiple of 4.
        max_row_bytes: bytes of the widest picture row that launches will meet (width, or 3 * width for BGR); sizes the
            shared memory of a block. A camera whose rows are wider is skipped by the kernel, its slots unchanged.

        Raises KernelError where there is no driver, no GPU, or no code for it; ValueError for a size out of range.
        """
        self.size, self.max_row_bytes = size, max_row_bytes
        plan(size=size, max_row_bytes=max_row_bytes, cameras=8, count=1)  # refuses what no launch could do
        self._module = Module("ingest", device)

    def launch(self, stream: CudaStream, *, cameras: int, count: int) -> None:
        """Enqueue on `stream`; nothing is allocated and nothing waited for.

        cameras: device address of `count` records of CAMERA (see `describe`), read when the kernel runs. In a CUDA
            graph let a copy from pinned memory precede it, and only change that pinned array between replays.
        count: cameras, 1 to 65535. Those with a negative slot are skipped, so that one graph serves any subset.
        """
        self._module.run(stream, plan(size=self.size, max_row_bytes=self.max_row_bytes, cameras=cameras, count=count))


def plan(*, size: int, max_row_bytes: int, cameras: int, count: int, max_blocks: int = 1 << 16) -> Launch:
    """The launch that Ingest.launch enqueues. max_blocks: blocks for one camera at most; the result is the same."""
    if size < 4 or size % 4:
        raise ValueError(f"frames of {size} pixels; the side must be a multiple of 4")
    if not 1 <= max_row_bytes <= MAX_ROW_BYTES:
        raise ValueError(f"rows of up to {max_row_bytes} bytes; {MAX_ROW_BYTES} at most")
    if not 1 <= count <= MAX_CAMERAS:
        raise ValueError(f"{count} cameras; 1 to {MAX_CAMERAS} fit into one launch")
    row = _row_shared_bytes(max_row_bytes)
    return Launch(
        entry="ingest",
        grid=(min(size, max_blocks), count),
        block=BLOCK,
        shared_bytes=2 * row,
        arguments=(address(cameras, "cameras", 8), np.int32(size), np.int32(row)),
    )


def _row_shared_bytes(row_bytes: int) -> int:
    """A staged row keeps its address modulo 16, so it may need up to 15 bytes before it."""
    return -(-(row_bytes + 15) // 16) * 16
