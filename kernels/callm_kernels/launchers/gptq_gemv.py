"""Launches gptq_gemv.cu: y = x W for 1 to 4 tokens, W in GPTQ's 4 bits."""

from __future__ import annotations

import numpy as np

from callm_kernels.launch import CudaStream, Launch, address
from callm_kernels.module import Module

BLOCK = 256  # threads; as in gptq_gemv.cu
COLUMNS = 32  # outputs of a block
MAX_BATCH = 4
GROUPS = (32, 64, 128)


class GptqGemv:
    """A linear layer of a GPTQ checkpoint, for decoding: float16 x (M, K) times 4-bit W (K, N) -> float16 y (M, N).

    Same numbers as callm_kernels.reference.gptq_gemv, accumulated in float32 in a fixed order. For prefill (M > 4)
    dequantize once and use the libraries' matrix product: this kernel reads all of W for every 4 rows of x.
    """

    def __init__(self, device: int = 0) -> None:
        """Load (and where needed build) the code for the given CUDA device.

        Raises KernelError where there is no driver, no GPU, or no code for it.
        """
        self._module = Module("gptq_gemv", device)

    def launch(
        self,
        stream: CudaStream,
        *,
        x: int,
        qweight: int,
        qzeros: int,
        scales: int,
        y: int,
        batch: int,
        in_features: int,
        out_features: int,
        group_size: int,
        zero_offset: int = 1,
    ) -> None:
        """Enqueue on `stream`. All addresses are on the device, 16-byte aligned; nothing is allocated or waited for.

        x: (M, K) float16. y: (M, N) float16 out. batch: M, 1 to 4.
        in_features: K, a multiple of group_size. out_features: N, a multiple of 8.
        qweight: (K/8, N) int32, eight consecutive k of a column in one word, the first in the lowest bits.
        qzeros: (K/group_size, N/8) int32, eight neighbouring columns in one word.
        scales: (K/group_size, N) float16.
        group_size: 32, 64 or 128; the groups must be consecutive, see `check_g_idx`.
        zero_offset: what the stored zero points lack: 1 in GPTQ's format ("gptq", symmetric ones are stored as 7),
            0 in gptqmodel's "gptq_v2".

        Raises ValueError for a shape that the kernel does not do.
        """
        self._module.run(
            stream,
            plan(
                x=x,
                qweight=qweight,
                qzeros=qzeros,
                scales=scales,
                y=y,
                batch=batch,
                in_features=in_features,
                out_features=out_features,
                group_size=group_size,
                zero_offset=zero_offset,
            ),
        )


def check_g_idx(g_idx: np.ndarray, group_size: int) -> None:
    """Refuse a checkpoint whose groups are not consecutive. g_idx: (K,) int32, the group of every input.

    Raises ValueError: desc_act=True (act-order) scatters the members of a group over all of W, so that every weight
    would need its scale looked up; gptq_gemv.cu reads one scale per eight weights instead.
    """
    if not np.array_equal(g_idx, np.arange(len(g_idx)) // group_size):
        raise ValueError(
            f"g_idx is not in order (groups of {group_size} consecutive inputs): the checkpoint was quantized with "
            "desc_act=True, which the gptq_gemv kernel does not do. Quantize with desc_act=False"
        )


def plan(
    *,
    x: int,
    qweight: int,
    qzeros: int,
    scales: int,
    y: int,
    batch: int,
    in_features: int,
    out_features: int,
    group_size: int,
    zero_offset: int = 1,
) -> Launch:
    """The launch that GptqGemv.launch enqueues."""
    if not 1 <= batch <= MAX_BATCH:
        raise ValueError(f"{batch} rows of x; the kernel does 1 to {MAX_BATCH}, for more use a matrix product")
    if group_size not in GROUPS:
        raise ValueError(f"groups of {group_size}; the kernel does {', '.join(map(str, GROUPS))}")
    if in_features < 1 or in_features % group_size:
        raise ValueError(f"{in_features} inputs are not a multiple of the group size {group_size}")
    if out_features < 1 or out_features % 8:
        raise ValueError(f"{out_features} outputs are not a multiple of 8")
    if zero_offset not in (0, 1):
        raise ValueError(f"a zero offset of {zero_offset}; 1 for the format gptq, 0 for gptq_v2")
    return Launch(
        entry=f"gptq_gemv_m{batch}",
        grid=(-(-out_features // COLUMNS), 1),
        block=BLOCK,
        shared_bytes=0,
        arguments=(
            address(x, "x", 16),
            address(qweight, "qweight", 16),
            address(qzeros, "qzeros", 4),
            address(scales, "scales", 8),
            address(y, "y", 2),
            np.int32(in_features),
            np.int32(out_features),
            np.int32(group_size),
            np.int32(zero_offset),
        ),
    )
