"""What the NVIDIA driver says of this machine, asked through ctypes: works, and stays safe, where nothing is installed.

cuda.core must not be asked where there is no driver: after its first failure the next driver call deadlocks.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from callm_kernels import architectures
from callm_kernels.errors import NoDriverError

_LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_FIX = "Install the driver that belongs to this GPU (on a Jetson it is part of JetPack), or use stage 1 on the CPU"


@dataclass(frozen=True)
class Gpu:
    """name: as the driver calls it. architecture: "sm_87" and the like."""

    name: str
    architecture: str


@dataclass(frozen=True)
class Driver:
    """version: newest CUDA that the driver runs, (13, 0). gpus: in CUDA's order, which CUDA_VISIBLE_DEVICES changes."""

    version: tuple[int, int]
    gpus: tuple[Gpu, ...]


def probe() -> Driver:
    """Ask the driver. Raises NoDriverError in one sentence where there is no driver, or no GPU behind it."""
    try:
        cuda = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise NoDriverError("No NVIDIA driver on this machine", f"{_LIBRARY} cannot be loaded", _FIX) from None
    _check(cuda, cuda.cuInit(0), "the driver does not start")
    version, count = ctypes.c_int(), ctypes.c_int()
    _check(cuda, cuda.cuDriverGetVersion(ctypes.byref(version)), "the driver does not tell its version")
    _check(cuda, cuda.cuDeviceGetCount(ctypes.byref(count)), "the driver does not list its GPUs")
    if count.value == 0:
        raise NoDriverError("No GPU", "the NVIDIA driver is there but shows none (see CUDA_VISIBLE_DEVICES)", _FIX)
    return Driver((version.value // 1000, version.value % 1000 // 10), tuple(_gpu(cuda, i) for i in range(count.value)))


def gpu(device: int) -> tuple[Driver, Gpu]:
    """The driver, and one of its GPUs. Raises NoDriverError."""
    driver = probe()
    if not 0 <= device < len(driver.gpus):
        raise NoDriverError(
            f"No CUDA device {device}",
            f"the driver shows {len(driver.gpus)}, counted from 0",
            "Choose another device or see CUDA_VISIBLE_DEVICES",
        )
    return driver, driver.gpus[device]


def _gpu(cuda: ctypes.CDLL, device: int) -> Gpu:
    name, major, minor = ctypes.create_string_buffer(128), ctypes.c_int(), ctypes.c_int()
    for result in (
        cuda.cuDeviceGetName(name, len(name), device),
        cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device),
        cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device),
    ):
        _check(cuda, result, f"the driver does not describe device {device}")
    return Gpu(name.value.decode(errors="replace"), architectures.of(major.value, minor.value))


def _check(cuda: ctypes.CDLL, result: int, what: str) -> None:
    if result:
        text = ctypes.c_char_p()
        known = cuda.cuGetErrorString(result, ctypes.byref(text)) == 0 and text.value
        why = text.value.decode() if known and text.value else f"CUDA error {result}"
        raise NoDriverError("The NVIDIA driver cannot be used", f"{what}: {why}", _FIX)
