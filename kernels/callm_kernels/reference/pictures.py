"""Reference of how kernels read pictures: OpenCV's gray, ITU-R BT.601, and bilinear resize, in plain numpy."""

from __future__ import annotations

import numpy as np

from callm_kernels.pictures import Format


def to_gray(picture: np.ndarray, format: Format) -> np.ndarray:
    """(H, W) uint8 gray. picture: (H, W) for GRAY and for the luma plane of NV12, (H, W, 3) for BGR; uint8.

    BGR: 0.114 B + 0.587 G + 0.299 R with OpenCV's 15-bit coefficients. NV12: the luma, brought to 0..255.
    """
    if format == Format.BGR:
        weighted = picture.astype(np.int64) @ np.array([3735, 19235, 9798])
        return ((weighted + (1 << 14)) >> 15).astype(np.uint8)
    if format == Format.NV12_LIMITED:
        return _from_fixed((picture.astype(np.int64) - 16) * _fixed(255 / 219))
    return picture


def to_rgb(picture: np.ndarray, format: Format, chroma: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB. picture as for `to_gray`; chroma: (ceil(H/2), 2 ceil(W/2)) uint8, U and V interleaved.

    NV12 by ITU-R BT.601; each pair of U and V counts for 2 x 2 pixels.
    """
    if format == Format.BGR:
        return picture[..., ::-1]
    if format == Format.GRAY:
        return np.repeat(picture[..., None], 3, axis=2)
    assert chroma is not None, "NV12 has a plane of chroma"
    height, width = picture.shape
    u, v = (
        chroma[:, plane::2].repeat(2, axis=0).repeat(2, axis=1)[:height, :width].astype(np.int64) - 128
        for plane in (0, 1)
    )
    limited = format == Format.NV12_LIMITED
    luma = (picture.astype(np.int64) - 16 * limited) * _fixed(255 / 219 if limited else 1)
    gain = 255 / 224 if limited else 1
    red = luma + _fixed(1.402 * gain) * v
    green = luma - _fixed(0.344136 * gain) * u - _fixed(0.714136 * gain) * v
    blue = luma + _fixed(1.772 * gain) * u
    return _from_fixed(np.stack([red, green, blue], axis=2))


def resize(picture: np.ndarray, size: int) -> np.ndarray:
    """(size, size[, C]) float64, not rounded. Bilinear with OpenCV's pixel centres: (i + 1/2) n / size - 1/2.

    Beyond the border the border pixel counts.
    """
    rows, cols = (_positions(size, n) for n in picture.shape[:2])
    values = picture.astype(np.float64)
    values = _mix(values[rows[0]], values[rows[1]], rows[2].reshape(-1, *[1] * (picture.ndim - 1)))
    return _mix(values[:, cols[0]], values[:, cols[1]], cols[2].reshape(1, -1, *[1] * (picture.ndim - 2)))


def _positions(size: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two source pixels of each pixel, and how far it lies from the first to the second."""
    at = np.maximum((np.arange(size) + 0.5) * n / size - 0.5, 0)
    first = np.minimum(at.astype(np.int64), n - 1)
    return first, np.minimum(first + 1, n - 1), at - first


def _mix(a: np.ndarray, b: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    return a + (b - a) * fraction


def _fixed(coefficient: float) -> int:
    """With 16 bits after the point: whole numbers round the same everywhere."""
    return round(coefficient * 65536)


def _from_fixed(values: np.ndarray) -> np.ndarray:
    return np.clip((values + (1 << 15)) >> 16, 0, 255).astype(np.uint8)
