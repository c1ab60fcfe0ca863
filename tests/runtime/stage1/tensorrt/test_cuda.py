"""The wrapper over the CUDA runtime: errors raised, memory pinned and freed, captures ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from callm_edge.stage1.tensorrt.cuda import Cuda, CudaError, DeviceBuffer, PinnedArray, Stream


@pytest.fixture
def cuda(cuda_api: Any) -> Cuda:
    return Cuda(cuda_api)


def test_the_device_tells_what_an_engine_depends_on(cuda: Cuda) -> None:
    device = cuda.device()
    assert (device.compute_capability, device.integrated) == ("8.7", True)


def test_no_gpu_is_told_in_words(cuda: Cuda) -> None:
    cuda.api.gpus = 0
    with pytest.raises(CudaError, match="no GPU"):
        cuda.device()


def test_a_failed_call_names_itself_and_the_reason(cuda: Cuda) -> None:
    code = cuda.api.cudaError_t.cudaErrorMemoryAllocation
    cuda.api.cudaMalloc = lambda size: (code, None)
    with pytest.raises(CudaError, match="cudaMalloc failed.*2"):
        DeviceBuffer(cuda, 10)


def test_memory_is_zero_at_first_and_given_back_once(cuda: Cuda) -> None:
    buffer, pinned = DeviceBuffer(cuda, 100), PinnedArray(cuda, (2, 3), np.float32)
    assert buffer.address % 256 == 0
    assert (pinned.array == 0).all()
    stream = Stream(cuda)
    pinned.array[...] = 7
    stream.download(pinned.address, buffer.address, 24)
    assert (pinned.array == 7).all(), "nothing arrives before the stream was waited for"
    stream.synchronize()
    assert (pinned.array == 0).all()
    for owner in (buffer, pinned, buffer, pinned, stream, stream):
        owner.close()
    assert cuda.api.live == {}


def test_a_capture_records_and_a_graph_repeats(cuda: Cuda) -> None:
    stream, host, device = Stream(cuda), PinnedArray(cuda, (4,), np.uint8), DeviceBuffer(cuda, 4)
    back = PinnedArray(cuda, (4,), np.uint8)
    with stream.capture() as made:
        stream.upload(device.address, host.address, 4)
        stream.download(back.address, device.address, 4)
    for value in (3, 4):
        host.array[...] = value
        stream.launch(made[0])
        stream.synchronize()
        assert (back.array == value).all()
    made[0].close()
    made[0].close()
    assert cuda.api.graphs() == 0


def test_an_error_within_a_capture_leaves_the_stream_usable(cuda: Cuda) -> None:
    stream = Stream(cuda)
    with pytest.raises(CudaError, match="cudaMalloc"), stream.capture():
        DeviceBuffer(cuda, 4)  # forbidden there
    stream.synchronize()
