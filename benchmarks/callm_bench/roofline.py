"""Least time that each kernel can take on a board: the bytes it must move over the board's memory bandwidth. Computed.

No kernel is faster than this, and one that only waits for memory comes near it. What a launch costs (some microseconds)
comes on top, and for the smallest kernels that is most of it.
"""

from __future__ import annotations

from dataclasses import dataclass

# GB/s of the memory that CPU and GPU share, by NVIDIA's data sheets.
BANDWIDTH_GBPS = {
    "Orin Nano 8GB": 68.0,
    "Orin Nano 8GB Super": 102.0,
    "AGX Orin 64GB": 205.0,
    "Thor T5000": 273.0,
}

# Tokens, inputs, outputs and group of gptq_gemv: SmolLM2-135M's MLP, and attention and MLP of a 7B LLaMA.
LAYERS = [(1, 576, 1536, 64), (1, 4096, 4096, 128), (1, 4096, 11008, 128), (4, 4096, 11008, 128)]


@dataclass(frozen=True)
class Work:
    """What a launch does. bytes_moved: each byte read or written once; what is read again comes from a cache."""

    name: str
    what: str
    bytes_moved: int

    def microseconds(self, gbps: float) -> float:
        """Time of moving the bytes, in microseconds."""
        return self.bytes_moved / gbps / 1e3


def score(windows: int, size: int = 256, error_map: bool = True) -> Work:
    """psnr_threshold: a uint8 frame and a half reconstruction read, the error map written, cells written and read."""
    pixels = size * size
    cells = 4 * pixels // 64
    moved = windows * (pixels + 2 * pixels + (pixels if error_map else 0) + 2 * cells)
    return Work("psnr_threshold", f"{windows} x {size}x{size}, {'with' if error_map else 'no'} error map", moved)


def ingest(cameras: int, width: int, height: int, pixel_bytes: int, size: int = 256) -> Work:
    """ingest: the two rows around each of `size` rows read (all rows where there are fewer), two frames written."""
    rows = min(2 * size, height)
    moved = cameras * (rows * width * pixel_bytes + 2 * size * size)
    kind = "BGR" if pixel_bytes == 3 else "NV12"
    return Work("ingest", f"{cameras} x {width}x{height} {kind}", moved)


def clip_pack(frames: int, width: int, height: int, crop: int, size: int = 224) -> Work:
    """clip_pack: of BGR frames the rows needed for the full picture and for the crop read, half pictures written."""
    full, cropped = min(2 * size, height) * width * 3, min(2 * size, crop) * crop * 3
    moved = frames * (full + cropped + 2 * 3 * size * size * 2)
    return Work("clip_pack", f"{frames} x {width}x{height} BGR, crops of {crop}", moved)


def gptq_gemv(tokens: int, in_features: int, out_features: int, group: int) -> Work:
    """gptq_gemv: weights, zero points and scales read, x read and y written."""
    weights = in_features * out_features // 2
    groups = in_features // group * out_features * (2 + 0.5)
    moved = int(weights + groups + 2 * tokens * (in_features + out_features))
    return Work("gptq_gemv", f"{tokens} x {in_features} -> {out_features}, group {group}", moved)


def works() -> list[Work]:
    """The launches that are measured: one camera and many, a clip, a layer of each size of language model."""
    return [
        score(1),
        score(16),
        ingest(1, 1920, 1080, 1),
        ingest(16, 1920, 1080, 1),
        ingest(1, 1920, 1080, 3),
        clip_pack(8, 1280, 720, 160),
        *(gptq_gemv(*layer) for layer in LAYERS),
    ]


def table() -> list[dict[str, object]]:
    """Of each work: bytes and computed microseconds by board."""
    return [
        {
            "kernel": work.name,
            "work": work.what,
            "bytes": work.bytes_moved,
            "computed_us": {board: round(work.microseconds(gbps), 2) for board, gbps in BANDWIDTH_GBPS.items()},
        }
        for work in works()
    ]
