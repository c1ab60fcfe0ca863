"""Launches clip_pack.cu: 8 frames of a clip -> 16 normalised pictures for the vision encoder, in one launch."""

from __future__ import annotations

import numpy as np

from callm_kernels.launch import CudaStream, Launch, address
from callm_kernels.module import Module
from callm_kernels.pictures import Format

BLOCK = 96  # threads; as in clip_pack.cu
MAX_PICTURES = 65535  # blocks in y
MAX_SHARED_BYTES = 48 * 1024  # what a block may have without asking
VECTOR = 8  # float16 pixels that a thread stores at once
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # R, G, B; of [0, 1]

# One picture to be cut from a frame, as clip_pack.cu reads it (struct Picture): 64 bytes, 8-byte aligned.
PICTURE = np.dtype(
    [
        ("picture", np.uint64),  # device address of the frame's first row (NV12: of the luma plane)
        ("chroma", np.uint64),  # NV12: device address of the chroma plane; else 0
        ("pitch", np.int64),  # bytes from one row to the next, of both planes
        ("width", np.int32),  # pixels of the whole frame
        ("height", np.int32),
        ("format", np.int32),  # callm_kernels.pictures.Format
        ("left", np.int32),  # the box to be resized: its first column,
        ("top", np.int32),  # its first row,
        ("box_width", np.int32),  # and its size, in pixels of the frame
        ("box_height", np.int32),
        ("reserved", np.int32, 3),
    ]
)


def describe(
    *,
    picture: int,
    pitch: int,
    width: int,
    height: int,
    format: Format,
    chroma: int = 0,
    box: tuple[int, int, int, int] | None = None,
) -> np.void:
    """One checked record of PICTURE, to be copied into the device's array of them. Fields as there.

    box: (left, top, width, height) in pixels of the frame, within it; None for the full frame. A frame in a ring of
    stage 1 is a GRAY picture of 256 x 256 with pitch 256.

    Raises ValueError for what the kernel would read out of bounds.
    """
    left, top, box_width, box_height = box or (0, 0, width, height)
    if min(left, top) < 0 or min(box_width, box_height) < 1 or left + box_width > width or top + box_height > height:
        raise ValueError(f"box {(left, top, box_width, box_height)} does not lie within {width} x {height} pixels")
    kind = Format(format)
    nv12 = kind in (Format.NV12_LIMITED, Format.NV12_FULL)
    if pitch < (row := (width + width % 2 if nv12 else width) * kind.pixel_bytes):
        raise ValueError(f"a pitch of {pitch} bytes is less than a row, which has {row}")
    (record,) = np.zeros(1, PICTURE)
    record["picture"] = address(picture, "picture")
    record["chroma"] = address(chroma, "chroma", 2, optional=not nv12)
    record["pitch"], record["width"], record["height"], record["format"] = pitch, width, height, int(kind)
    record["left"], record["top"], record["box_width"], record["box_height"] = left, top, box_width, box_height
    return record


class ClipPack:
    """Boxes of frames -> (n, 3, size, size) float16 RGB, resized bilinearly and normalised per channel.

    Same numbers as callm_kernels.reference.clip_pack to float16 rounding: (x / 255 - mean) / std of the resized box.
    A clip with evidence is 32 pictures, 8 full frames and three crops of each around the error map's peaks; the kernel
    does not care which is which, so other numbers work the same way.
    """

    def __init__(
        self,
        device: int = 0,
        *,
        size: int = 224,
        mean: tuple[float, float, float] = CLIP_MEAN,
        std: tuple[float, float, float] = CLIP_STD,
        max_width: int = 1920,
    ) -> None:
        """Load (and where needed build) the code for the given CUDA device.

        size: side of the pictures in pixels, a multiple of 8. mean, std: of R, G, B in [0, 1]; CLIP's by default.
        max_width: widest box in pixels that launches will meet, at most 8,000; sizes the shared memory of a block. A
            picture with a wider box comes out as NaN.

        Raises KernelError where there is no driver, no GPU, or no code for it; ValueError for a size out of range.
        """
        self.size, self.mean, self.std, self.max_width = size, mean, std, max_width
        self._plan(8, 1, 16)  # refuses what no launch could do
        self._module = Module("clip_pack", device)

    def launch(self, stream: CudaStream, *, pictures: int, count: int, output: int) -> None:
        """Enqueue on `stream`; nothing is allocated and nothing waited for.

        pictures: device address of `count` records of PICTURE (see `describe`), read when the kernel runs.
        count: 1 to 65535; 32 for a clip of 8 frames with its crops.
        output: device address of (count, 3, size, size) float16, 16-byte aligned.
        """
        self._module.run(stream, self._plan(pictures, count, output))

    def _plan(self, pictures: int, count: int, output: int) -> Launch:
        return plan(
            size=self.size,
            mean=self.mean,
            std=self.std,
            max_width=self.max_width,
            pictures=pictures,
            count=count,
            output=output,
        )


def plan(
    *,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    max_width: int,
    pictures: int,
    count: int,
    output: int,
    max_blocks: int = 1 << 16,
) -> Launch:
    """The launch that ClipPack.launch enqueues. max_blocks: blocks for one picture at most; the result is the same."""
    # Three bytes a pixel, or one of luma and two for half as many pairs of chroma; both may begin anywhere modulo 16.
    row = -(-(3 * max_width + 64) // 16) * 16
    if size < VECTOR or size % VECTOR:
        raise ValueError(f"pictures of {size} pixels; the side must be a multiple of {VECTOR}")
    if max_width < 1 or 2 * row > MAX_SHARED_BYTES:
        raise ValueError(
            f"boxes up to {max_width} pixels wide; two rows of them must fit into {MAX_SHARED_BYTES} bytes"
        )
    if not 1 <= count <= MAX_PICTURES:
        raise ValueError(f"{count} pictures; 1 to {MAX_PICTURES} fit into one launch")
    if min(std) <= 0:
        raise ValueError(f"standard deviations {std} must be positive")
    return Launch(
        entry="clip_pack",
        grid=(min(size, max_blocks), count),
        block=BLOCK,
        shared_bytes=2 * row,
        arguments=(
            address(pictures, "pictures", 8),
            address(output, "output", 16),
            np.int32(size),
            np.int32(row),
            # One multiplication and one addition per value: (x / 255 - mean) / std = x * scale + offset.
            *(np.float32(1 / (255 * s)) for s in std),
            *(np.float32(-m / s) for m, s in zip(mean, std, strict=True)),
        ),
    )
