"""The few CUDA calls of the runtime, over `cuda.bindings.runtime`, each checked, and what they allocate as objects.

Nothing here is called per frame but `Stream.launch`, `Stream.synchronize` and the plain enqueueing functions.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from callm_edge.errors import MissingExtraError, UserError

ALIGNMENT = 256  # bytes: what TensorRT asks of tensor addresses; cudaMalloc gives at least that


class CudaError(UserError):
    """A CUDA call failed: the driver, the memory or another program on the GPU is the cause."""


@dataclass(frozen=True)
class Device:
    """A GPU. compute_capability: '8.7'. integrated: it shares the system's memory, as on a Jetson."""

    index: int
    compute_capability: str
    integrated: bool


class Cuda:
    """The runtime API with errors raised. api: the module cuda.bindings.runtime, or a fake of it."""

    def __init__(self, api: Any) -> None:
        self.api = api

    @classmethod
    def load(cls) -> Cuda:
        """Raises MissingExtraError without the bindings, CudaError without a driver."""
        # Asked first, because the bindings' own answer to a missing driver is obscure.
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CudaError("There is no NVIDIA driver", str(error), "Install it, or run without a GPU") from error
        try:
            return cls(importlib.import_module("cuda.bindings.runtime"))
        except ImportError as error:
            raise MissingExtraError("gpu", "The GPU path", "cuda.bindings") from error

    def call(self, name: str, *arguments: Any) -> Any:
        """One API call: its result, a tuple where there are several, None where there is none. Raises CudaError."""
        status, *results = getattr(self.api, name)(*arguments)
        if int(status) != 0:
            raise CudaError(f"{name} failed", f"CUDA says {status}", "See dmesg or the driver's log for the cause")
        return None if not results else results[0] if len(results) == 1 else tuple(results)

    def device(self, index: int = 0) -> Device:
        """The GPU `index`. Raises CudaError where there is none."""
        count = self.call("cudaGetDeviceCount")
        if index >= count:
            raise CudaError("There is no GPU", f"the driver counts {count}", "Run without a GPU")
        attribute = self.api.cudaDeviceAttr
        major, minor, integrated = (
            self.call("cudaDeviceGetAttribute", which, index)
            for which in (
                attribute.cudaDevAttrComputeCapabilityMajor,
                attribute.cudaDevAttrComputeCapabilityMinor,
                attribute.cudaDevAttrIntegrated,
            )
        )
        return Device(index, f"{major}.{minor}", bool(integrated))


class DeviceBuffer:
    """Memory on the GPU, zeros at first. address: aligned to 256 bytes."""

    def __init__(self, cuda: Cuda, size_bytes: int) -> None:
        self._cuda, self.size_bytes = cuda, size_bytes
        self.address = int(cuda.call("cudaMalloc", size_bytes))
        cuda.call("cudaMemset", self.address, 0, size_bytes)

    def close(self) -> None:
        if self.address:
            self._cuda.call("cudaFree", self.address)
            self.address = 0


class PinnedArray:
    """Host memory that the GPU copies to and from by itself. array: what is in it, zeros at first."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: Any) -> None:
        self._cuda = cuda
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.address = int(cuda.call("cudaHostAlloc", size, 0))
        memory = (ctypes.c_uint8 * size).from_address(self.address)
        self.array: np.ndarray = np.frombuffer(memory, dtype).reshape(shape)
        self.array[...] = 0

    def close(self) -> None:
        if self.address:
            self._cuda.call("cudaFreeHost", self.address)
            self.address = 0


class Stream:
    """A CUDA stream, and graphs captured from it. handle: what TensorRT takes."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        # Non-blocking: the default stream would make cameras wait for each other.
        self._stream = cuda.call("cudaStreamCreateWithFlags", cuda.api.cudaStreamNonBlocking)
        self.handle = int(self._stream)

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle

    def upload(self, device: int, host: int, size_bytes: int) -> None:
        kind = self._cuda.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._cuda.call("cudaMemcpyAsync", device, host, size_bytes, kind, self._stream)

    def download(self, host: int, device: int, size_bytes: int) -> None:
        kind = self._cuda.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._cuda.call("cudaMemcpyAsync", host, device, size_bytes, kind, self._stream)

    def synchronize(self) -> None:
        self._cuda.call("cudaStreamSynchronize", self._stream)

    @contextmanager
    def capture(self) -> Iterator[list[Graph]]:
        """Record what is enqueued in the block instead of running it; the list then holds the graph."""
        made: list[Graph] = []
        # Of this thread alone: other cameras' threads may allocate meanwhile.
        mode = self._cuda.api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._cuda.call("cudaStreamBeginCapture", self._stream, mode)
        try:
            yield made
        except BaseException:
            # The stream must leave capture mode, whatever became of the graph.
            self._cuda.api.cudaStreamEndCapture(self._stream)
            raise
        made.append(Graph(self._cuda, self._cuda.call("cudaStreamEndCapture", self._stream)))

    def launch(self, graph: Graph) -> None:
        self._cuda.call("cudaGraphLaunch", graph.executable, self._stream)

    def close(self) -> None:
        if self._stream is not None:
            self._cuda.call("cudaStreamDestroy", self._stream)
            self._stream = None


class Graph:
    """A captured graph, ready to launch."""

    def __init__(self, cuda: Cuda, graph: Any) -> None:
        self._cuda = cuda
        try:
            self.executable = cuda.call("cudaGraphInstantiate", graph, 0)
        finally:
            cuda.call("cudaGraphDestroy", graph)

    def close(self) -> None:
        if self.executable is not None:
            self._cuda.call("cudaGraphExecDestroy", self.executable)
            self.executable = None
