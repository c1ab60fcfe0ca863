"""What one launch of a kernel is: plain data, so that a GPU and the CPU harness of the tests can run the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class CudaStream(Protocol):
    """Anything that names a CUDA stream: streams of cuda.core, torch and CuPy all do."""

    def __cuda_stream__(self) -> tuple[int, int]:
        """(version of the protocol, address of the stream)."""
        ...


@dataclass(frozen=True)
class Launch:
    """entry: name of the kernel. grid: blocks in x and y. block: threads. shared_bytes: dynamic shared memory.

    arguments: in the kernel's order; device addresses as numpy.uint64, all else as the numpy scalar of its type.
    """

    entry: str
    grid: tuple[int, int]
    block: int
    shared_bytes: int
    arguments: tuple[np.generic, ...]


class Runner(Protocol):
    """What executes launches: callm_kernels.module.Module on a GPU."""

    def run(self, stream: Any, launch: Launch) -> None:
        """Enqueue one launch. Neither allocates nor waits."""
        ...


def address(value: int, name: str, alignment: int = 1, optional: bool = False) -> np.uint64:
    """A device address as a kernel takes it.

    Raises ValueError where it is 0 without being optional, or not a multiple of `alignment` bytes: on the GPU the first
    is a fault that kills the context, and the second one too wherever a kernel loads 16 bytes at a time.
    """
    if value == 0 and not optional:
        raise ValueError(f"{name} is 0, which is no device address")
    if value % alignment:
        raise ValueError(f"{name} (0x{value:x}) must be a multiple of {alignment} bytes")
    return np.uint64(value)
