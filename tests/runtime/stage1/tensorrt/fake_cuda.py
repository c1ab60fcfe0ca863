# ruff: noqa: N801, N802, N803, N815, N816 - names as CUDA documents them
"""A `cuda.bindings.runtime` whose GPU is the host's memory: only the calls stage 1 makes, with their documented forms.

Work runs when a stream is synchronized and not before, so that a missing wait shows. What a capture records does not
run until its graph is launched. Calls that are forbidden during a capture fail there, as on a GPU.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from typing import Any

Work = Callable[[], None]

cudaStreamNonBlocking = 1


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorStreamCaptureUnsupported = 900


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1


class cudaDeviceAttr(enum.IntEnum):
    cudaDevAttrIntegrated = 18
    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


OK = cudaError_t.cudaSuccess


class FakeCuda:
    """allocations: calls that allocated so far; live: blocks not yet freed. captures_fail: as some engines do."""

    cudaError_t, cudaMemcpyKind, cudaDeviceAttr = cudaError_t, cudaMemcpyKind, cudaDeviceAttr
    cudaStreamCaptureMode, cudaStreamNonBlocking = cudaStreamCaptureMode, cudaStreamNonBlocking

    def __init__(self) -> None:
        self.allocations = 0
        self.launches = 0
        self.gpus = 1
        self.captures_fail = False
        self.live: dict[int, Any] = {}
        self._queues: dict[int, list[Work]] = {}
        self._captured: dict[int, list[Work]] = {}
        self._graphs: dict[int, list[Work]] = {}

    def cudaGetDeviceCount(self) -> tuple[Any, int]:
        return OK, self.gpus

    def cudaDeviceGetAttribute(self, attr: cudaDeviceAttr, device: int) -> tuple[Any, int]:
        values = {"Major": 8, "Minor": 7, "grated": 1}
        return OK, next(value for end, value in values.items() if attr.name.endswith(end))

    def cudaMalloc(self, size: int) -> tuple[Any, int]:
        return self._allocate(size)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, int]:
        return self._allocate(size)

    def cudaFree(self, devPtr: int) -> tuple[Any]:
        return self._free(devPtr)

    def cudaFreeHost(self, ptr: int) -> tuple[Any]:
        return self._free(ptr)

    def cudaMemset(self, devPtr: int, value: int, count: int) -> tuple[Any]:
        ctypes.memset(devPtr, value, count)
        return (OK,)

    def cudaMemcpy(self, dst: int, src: int, count: int, kind: cudaMemcpyKind) -> tuple[Any]:
        if self._captured:
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        ctypes.memmove(dst, src, count)
        return (OK,)

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: int) -> tuple[Any]:
        self.enqueue(stream, lambda: ctypes.memmove(dst, src, count) and None)
        return (OK,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, int]:
        handle = 1000 + len(self._queues)
        self._queues[handle] = []
        return OK, handle

    def cudaStreamDestroy(self, stream: int) -> tuple[Any]:
        del self._queues[stream]
        return (OK,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any]:
        if stream in self._captured:
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        queue, self._queues[stream] = self._queues[stream], []
        for work in queue:
            work()
        return (OK,)

    def cudaStreamBeginCapture(self, stream: int, mode: cudaStreamCaptureMode) -> tuple[Any]:
        assert not self._queues[stream], "a capture begins on an idle stream"
        self._captured[stream] = []
        return (OK,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, int]:
        work = self._captured.pop(stream)
        if self.captures_fail:
            return cudaError_t.cudaErrorStreamCaptureUnsupported, 0
        self._graphs[id(work)] = work
        return OK, id(work)

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, int]:
        executable = -graph
        self._graphs[executable] = self._graphs[graph]
        return OK, executable

    def cudaGraphDestroy(self, graph: int) -> tuple[Any]:
        self._graphs.pop(graph, None)
        return (OK,)

    def cudaGraphExecDestroy(self, graphExec: int) -> tuple[Any]:
        del self._graphs[graphExec]
        return (OK,)

    def cudaGraphLaunch(self, graphExec: int, stream: int) -> tuple[Any]:
        self.launches += 1
        for work in self._graphs[graphExec]:
            self.enqueue(stream, work)
        return (OK,)

    def enqueue(self, stream: int, work: Work) -> None:
        """What a kernel launch does."""
        (self._captured if stream in self._captured else self._queues)[stream].append(work)

    def graphs(self) -> int:
        """Executable graphs alive."""
        return len(self._graphs)

    def _allocate(self, size: int) -> tuple[Any, int]:
        if self._captured:
            return cudaError_t.cudaErrorStreamCaptureUnsupported, 0
        self.allocations += 1
        block = (ctypes.c_uint8 * (size + 256))()
        address = -(-ctypes.addressof(block) // 256) * 256
        ctypes.memset(address, 0xA5, size)  # fresh memory holds anything
        self.live[address] = block
        return OK, address

    def _free(self, address: int) -> tuple[Any]:
        del self.live[address]
        return (OK,)
