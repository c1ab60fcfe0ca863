"""Does a kernel run here, and rightly? `python -m callm_kernels.selftest`; `callm-edge doctor` asks the same."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

import numpy as np

from callm_kernels import driver
from callm_kernels.errors import KernelError
from callm_kernels.launch import Launch, address
from callm_kernels.module import Module

THREADS = 64


@dataclass(frozen=True)
class Passed:
    """A kernel was launched on this GPU, and its answer was right. Its text is one sentence for people."""

    gpu: str
    architecture: str
    driver_cuda: tuple[int, int]
    code: str

    def __str__(self) -> str:
        major, minor = self.driver_cuda
        return (
            f"A kernel ran on {self.gpu} ({self.architecture}, driver for CUDA {major}.{minor}, {self.code}) "
            "and its answer is right"
        )


def check(device: int = 0) -> Passed:
    """Launch selftest.cu and check what it computed.

    Raises KernelError in one sentence where there is no driver, no GPU, no code for it, or where the answer is wrong.
    """
    found, gpu = driver.gpu(device)
    module = Module("selftest", device)
    try:
        answer = _launch(module, device)
    except Exception as error:
        raise KernelError(
            f"A kernel does not run on {gpu.name}", str(error), "Look for errors of the driver with: sudo dmesg"
        ) from error
    if not np.array_equal(answer, expected()):
        raise KernelError(
            f"A kernel gives a wrong answer on {gpu.name}",
            f"{int((answer != expected()).sum())} of {THREADS} values are off",
            "Do not trust this GPU's scores; bring the driver up to date and look for memory errors with nvidia-smi -q",
        )
    return Passed(gpu.name, gpu.architecture, found.version, module.code)


def _launch(module: Module, device: int) -> np.ndarray:
    from cuda.core import Device, LegacyPinnedMemoryResource

    stream = Device(device).create_stream()
    # Memory that both sides see: nothing to copy.
    buffer = LegacyPinnedMemoryResource().allocate(4 * THREADS)
    try:
        values = np.ctypeslib.as_array((ctypes.c_float * THREADS).from_address(int(buffer.handle)))
        values[:] = np.nan
        module.run(stream, plan(int(buffer.handle)))
        stream.sync()
        return values.copy()
    finally:
        buffer.close()


def plan(out: int) -> Launch:
    """The launch; out: address of 64 float32."""
    return Launch("selftest", (1, 1), THREADS, 0, (address(out, "out", 4),))


def expected() -> np.ndarray:
    """(64,) float32: what selftest.cu computes."""
    i = np.arange(THREADS, dtype=np.float32)
    warp_sums = i.reshape(-1, 32).sum(axis=1).repeat(32)
    return warp_sums + i / 4 + (THREADS - 1 - i)


def main() -> None:
    try:
        print(f"{check()}.")
    except KernelError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
