"""Reference of gptq_gemv.cu: GPTQ's 4-bit packing, and the product with it.

    W[k, n] = scales[k // group, n] * (q[k, n] - zero[k // group, n])

(Frantar et al., "GPTQ", 2023; the packing is that of AutoGPTQ and gptqmodel.)
"""

from __future__ import annotations

import numpy as np

BITS, PER_WORD = 4, 8
_SHIFTS = np.arange(PER_WORD, dtype=np.uint32) * BITS
_ONES = 0x11111111  # a 1 in each of a word's eight places


def dequantize(
    qweight: np.ndarray, qzeros: np.ndarray, scales: np.ndarray, group_size: int, zero_offset: int = 1
) -> np.ndarray:
    """(K, N) float64 weights.

    qweight: (K/8, N) int32, eight consecutive k in a word. qzeros: (K/group_size, N/8) int32, eight neighbouring n in a
    word. scales: (K/group_size, N). zero_offset: what stored zero points lack, 1 for the format gptq, 0 for gptq_v2.

    It was taken from whole words (a zero point of 0 borrows from its neighbour), so to whole words it is added.
    """
    rows, columns = qweight.shape
    quantized = (qweight.view(np.uint32)[:, None, :] >> _SHIFTS[None, :, None]) & 0xF
    words = qzeros.view(np.uint32) + np.uint32(zero_offset * _ONES)
    zeros = ((words[:, :, None] >> _SHIFTS) & 0xF).reshape(len(qzeros), columns).astype(np.float64)
    weights = quantized.reshape(rows * PER_WORD, columns).astype(np.float64)
    group = np.arange(rows * PER_WORD) // group_size
    return scales.astype(np.float64)[group] * (weights - zeros[group])


def pack(quantized: np.ndarray, zeros: np.ndarray, zero_offset: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """qweight and qzeros as above from (K, N) numbers 0..15 and (groups, N) zero points."""
    k, n = quantized.shape
    words = quantized.reshape(k // PER_WORD, PER_WORD, n).astype(np.uint32) << _SHIFTS[None, :, None]
    packed = zeros.reshape(len(zeros), n // PER_WORD, PER_WORD).astype(np.uint32) << _SHIFTS
    stored = np.bitwise_or.reduce(packed, axis=2) - np.uint32(zero_offset * _ONES)
    return np.bitwise_or.reduce(words, axis=1).view(np.int32), stored.view(np.int32)


def gptq_gemv(
    x: np.ndarray,
    qweight: np.ndarray,
    qzeros: np.ndarray,
    scales: np.ndarray,
    group_size: int,
    zero_offset: int = 1,
) -> np.ndarray:
    """(M, N) float64: x (M, K) times the weights."""
    return x.astype(np.float64) @ dequantize(qweight, qzeros, scales, group_size, zero_offset)
