"""Formats of the pictures that kernels read, and what those numbers are in ingest.cu and clip_pack.cu."""

from __future__ import annotations

from enum import IntEnum


class Format(IntEnum):
    """How the bytes of a picture are to be read. As in pictures.cuh.

    NV12 is a plane of luma followed by one of interleaved chroma at half size; LIMITED has black at 16 and white at 235
    (what cameras and decoders give unless they say otherwise), FULL has them at 0 and 255.
    """

    GRAY = 0
    BGR = 1
    NV12_LIMITED = 2
    NV12_FULL = 3

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel in the first (or only) plane."""
        return 3 if self is Format.BGR else 1
