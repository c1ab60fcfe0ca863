"""Scoring with a TensorRT engine: upload, ingest, engine, score and download are one captured CUDA graph per frame.

A camera's frames stand in a mirrored ring on the GPU, so every window is one stretch of memory there too:

    slots    0 .. i .. 15 | 16 .. i+16 .. 31          the window that ends with the frame in slot i starts at i + 1
                   |---------------|

The addresses in a captured graph are fixed, and the window moves by one slot with each frame: 16 graphs are captured,
one for each slot that the newest frame can be in, all over the same buffers. Per frame the host copies the picture into
pinned memory, launches one graph, waits, and finds three numbers and the error map in pinned memory. Nothing is
allocated on the GPU or pinned after the first picture, unless the pictures change their size.

The error map (64 KiB) comes back with every frame: the box of an event needs the map of its peak, which is only known
afterwards, and recordings draw it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from callm_edge.errors import UserError
from callm_edge.stage1.ingest import SIZE
from callm_edge.stage1.ring import SCORED, WINDOW
from callm_edge.stage1.scores import MAP_SIZE, Scores
from callm_edge.stage1.tensorrt.builder import INPUT
from callm_edge.stage1.tensorrt.cuda import Cuda, DeviceBuffer, Graph, PinnedArray, Stream
from callm_edge.stage1.tensorrt.kernels import FusedKernels, Kernels
from callm_edge.stage1.tensorrt.ready import ReadyEngine

log = logging.getLogger(__name__)

OUTPUT = "reconstruction"
FRAME_BYTES = SIZE * SIZE
NUMBERS = 4  # mse, psnr_db, patch_mse, and the kernel's threshold, which we leave at 0: the decision is taken later
MAX_ROW_BYTES = 8190 * 3  # of a BGR picture, what the ingest kernel can take


class TensorRTBackend:
    """A Backend (see there) on a TensorRT engine. Streams of one backend may run in parallel, each on a CUDA stream.

    name: with version, precision and architecture. graph_sha256: of the engine file.
    kernels: makes the kernels for pictures of up to so many bytes a row.
    """

    def __init__(
        self,
        trt: Any,
        ready: ReadyEngine,
        cuda: Cuda,
        kernels: Callable[[int], Kernels] = FusedKernels,
    ) -> None:
        self._trt, self._cuda, self._kernels = trt, cuda, kernels
        self.engine = ready.engine
        capability = ready.key.compute_capability.replace(".", "")
        self.name = f"tensorrt-{ready.key.flags.precision} {ready.key.tensorrt} sm_{capability}"
        self.graph_sha256 = ready.sha256
        self.proof = ready.proof

    def stream(self) -> TensorRTStream:
        """See Backend.stream. Raises UserError where the GPU's memory does not suffice."""
        return TensorRTStream(self.engine, self._cuda, self._kernels)


class TensorRTStream:
    """A Stream (see there) with its own execution context, buffers and graphs."""

    def __init__(self, engine: Any, cuda: Cuda, kernels: Callable[[int], Kernels]) -> None:
        self._cuda, self._make_kernels = cuda, kernels
        self._context = engine.create_execution_context()
        if self._context is None:
            raise UserError("TensorRT cannot run the engine", "there is not enough GPU memory", "Use fewer cameras")
        self._context.set_input_shape(INPUT, (1, WINDOW, SIZE, SIZE))
        self._stream = Stream(cuda)
        self._ring = DeviceBuffer(cuda, 2 * WINDOW * FRAME_BYTES)
        self._reconstruction = DeviceBuffer(cuda, 2 * FRAME_BYTES)
        self._numbers, self._flag = DeviceBuffer(cuda, 4 * NUMBERS), DeviceBuffer(cuda, 1)
        self._map = DeviceBuffer(cuda, 4 * MAP_SIZE**2)
        self._host_numbers = PinnedArray(cuda, (NUMBERS,), np.float32)
        self._host_map = PinnedArray(cuda, (MAP_SIZE, MAP_SIZE), np.float32)
        self._context.set_tensor_address(OUTPUT, self._reconstruction.address)
        self._pictures: _Pictures | None = None
        self._graphs: list[Graph] | None = None
        self._captured_ok = True
        self._slot, self._filled = WINDOW - 1, 0
        self._pending = False  # a picture is in pinned memory and not yet in the ring
        self._last: Scores | None = None
        # A capture and the work of another thread on this stream would mix; the contract forbids it, this makes sure.
        self._lock = threading.Lock()

    def push(self, image: np.ndarray) -> None:
        """See Stream.push. Copies the picture into pinned memory; the GPU takes it with the next score."""
        with self._lock:
            if self._pending:  # no score was wanted since: into the ring with it, before its memory is used again
                self._enqueue_ingest(self._slot)
                self._stream.synchronize()
            if self._pictures is None or self._pictures.shape != image.shape:
                self._new_pictures(image)
            assert self._pictures is not None
            np.copyto(self._pictures.host.array, image)
            self._slot = (self._slot + 1) % WINDOW
            self._filled = min(self._filled + 1, WINDOW)
            self._pending, self._last = True, None

    def score(self) -> Scores | None:
        """See Stream.score."""
        with self._lock:
            if self._filled < WINDOW:
                return None
            if self._last is None:
                self._run()
                self._last = self._read()
            return self._last

    def clear(self) -> None:
        """See Stream.clear."""
        with self._lock:
            self._filled, self._pending, self._last = 0, False, None

    def close(self) -> None:
        """Give everything on the GPU back."""
        self._drop_graphs()
        owned = [self._ring, self._reconstruction, self._numbers, self._flag, self._map]
        for buffer in (*owned, self._host_numbers, self._host_map, self._pictures, self._stream):
            if buffer is not None:
                buffer.close()
        self._pictures = None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter or the driver may be half gone
            self.close()

    def _run(self) -> None:
        if self._graphs is None and self._captured_ok:
            self._capture()
        if self._graphs is not None:
            self._stream.launch(self._graphs[self._slot])
        else:
            self._enqueue(self._slot)
        self._stream.synchronize()
        self._pending = False

    def _read(self) -> Scores:
        mse, psnr, patch = (self._host_numbers.array[i : i + 1].copy() for i in range(3))
        return Scores(mse, psnr, patch, self._host_map.array[None].copy())

    def _capture(self) -> None:
        # TensorRT must have run once before it is captured, to settle what it defers after shapes were set. What the
        # capture records does not run, so the ring is as it was.
        self._enqueue(self._slot)
        self._stream.synchronize()
        graphs: list[Graph] = []
        try:
            for slot in range(WINDOW):
                with self._stream.capture() as made:
                    self._enqueue(slot)
                graphs += made
        except UserError as error:
            for graph in graphs:
                graph.close()
            self._captured_ok = False
            log.warning("The engine cannot be captured into a CUDA graph and runs launch by launch: %s", error)
            return
        self._graphs = graphs

    def _enqueue(self, slot: int) -> None:
        """Everything for the frame that goes to `slot`, on the stream."""
        window = self._ring.address + (slot + 1) * FRAME_BYTES
        self._enqueue_ingest(slot)
        self._context.set_tensor_address(INPUT, window)
        if not self._context.execute_async_v3(self._stream.handle):
            raise UserError("TensorRT cannot run the engine", "the log has its message", "Build the engine again")
        assert self._pictures is not None
        self._pictures.kernels.score(
            self._stream,
            frame=window + SCORED * FRAME_BYTES,
            reconstruction=self._reconstruction.address,
            workspace=self._pictures.workspace.address,
            numbers=self._numbers.address,
            flag=self._flag.address,
            error_map=self._map.address,
        )
        self._stream.download(self._host_numbers.address, self._numbers.address, 4 * NUMBERS)
        self._stream.download(self._host_map.address, self._map.address, 4 * MAP_SIZE**2)

    def _enqueue_ingest(self, slot: int) -> None:
        pictures = self._pictures
        assert pictures is not None
        self._stream.upload(pictures.device.address, pictures.host.address, pictures.host.array.nbytes)
        pictures.kernels.ingest(self._stream, pictures.record(slot))

    def _new_pictures(self, image: np.ndarray) -> None:
        """Buffers and kernels for pictures of another size; graphs over the old ones are void."""
        self._drop_graphs()
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None
        row = image.shape[1] * (3 if image.ndim == 3 else 1)
        if row > MAX_ROW_BYTES or (image.ndim == 3 and image.shape[2] != 3):
            raise UserError(f"Pictures of shape {image.shape} cannot be scored on the GPU", "", "Scale them down first")
        kernels = self._make_kernels(row)
        self._pictures = _Pictures(self._cuda, kernels, image.shape, self._ring.address)

    def _drop_graphs(self) -> None:
        for graph in self._graphs or ():
            graph.close()
        self._graphs = None


class _Pictures:
    """What depends on the size of a camera's pictures: pinned and device memory, records of the ingest kernel."""

    def __init__(self, cuda: Cuda, kernels: Kernels, shape: tuple[int, ...], ring: int) -> None:
        self.shape, self.kernels = shape, kernels
        self.host = PinnedArray(cuda, shape, np.uint8)
        self.device = DeviceBuffer(cuda, self.host.array.nbytes)
        self.workspace = DeviceBuffer(cuda, kernels.workspace_bytes)
        records = kernels.records(self.device.address, ring, shape, WINDOW)
        self._record_bytes = records.itemsize
        self._records = DeviceBuffer(cuda, records.nbytes)
        kind = cuda.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        cuda.call("cudaMemcpy", self._records.address, records.ctypes.data, records.nbytes, kind)

    def record(self, slot: int) -> int:
        """Device address of the record that sends the picture to `slot`."""
        return self._records.address + slot * self._record_bytes

    def close(self) -> None:
        for buffer in (self.host, self.device, self.workspace, self._records):
            buffer.close()
