"""Whether there is an NVIDIA GPU, asked of the driver alone: cheap, and safe where no CUDA library is installed."""

from __future__ import annotations

import ctypes


def present() -> bool:
    """True where the driver is loaded and counts a GPU (after CUDA_VISIBLE_DEVICES)."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
