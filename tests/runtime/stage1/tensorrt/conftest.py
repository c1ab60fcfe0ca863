"""The fakes of TensorRT and CUDA, fresh for every test."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    """A file beside this one as a new module: what a test changes in it, no other test sees."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def trt() -> ModuleType:
    pytest.importorskip("onnx", reason="the extra 'train' is not installed")
    return load("fake_tensorrt")


@pytest.fixture
def cuda_api() -> Any:
    return load("fake_cuda").FakeCuda()


@pytest.fixture
def half_graph(tmp_path: Path) -> Callable[..., Path]:
    """Writes the float16 graph of an untrained network; half=False writes the single precision one."""
    pytest.importorskip("torch", reason="the extra 'train' is not installed")

    def make(half: bool = True, seed: int = 0) -> Path:
        import onnx
        import torch

        from callm_export.autoencoder import Autoencoder
        from callm_export.onnx_graph import score_graph

        torch.manual_seed(seed)
        path = tmp_path / f"{'half' if half else 'single'}{seed}.onnx"
        onnx.save(score_graph(Autoencoder((2, 2, 2, 2)).eval(), half=half), str(path))
        return path

    return make


@pytest.fixture
def kernels(trt: ModuleType, cuda_api: Any) -> Callable[[int], Any]:
    """The CUDA kernels' work on the fake GPU, by OpenCV and the plain reference."""

    class HostKernels:
        workspace_bytes = 64
        record = np.dtype([("picture", np.uint64), ("ring", np.uint64), ("slot", np.int64)])

        def __init__(self, max_row_bytes: int) -> None:
            self.shape: tuple[int, ...] = ()

        def records(self, picture: int, ring: int, shape: tuple[int, ...], count: int) -> np.ndarray:
            self.shape = shape
            return np.array([(picture, ring, slot) for slot in range(count)], self.record)

        def ingest(self, stream: Any, record: int) -> None:
            from callm_edge.stage1.ingest import to_gray_256

            def work() -> None:
                (said,) = trt.at(record, (1,), self.record)
                ring = trt.at(int(said["ring"]), (32, 256, 256), np.uint8)
                frame = to_gray_256(trt.at(int(said["picture"]), self.shape, np.uint8))
                ring[said["slot"]] = ring[said["slot"] + 16] = frame

            cuda_api.enqueue(stream.__cuda_stream__()[1], work)

        def score(
            self, stream: Any, frame: int, reconstruction: int, workspace: int, numbers: int, flag: int, error_map: int
        ) -> None:
            from callm_kernels.reference.psnr_threshold import psnr_threshold

            def work() -> None:
                found = psnr_threshold(
                    trt.at(frame, (256, 256), np.uint8), trt.at(reconstruction, (256, 256), np.float16), 0.0
                )
                trt.at(numbers, (3,), np.float32)[...] = found.mse, found.psnr_db, found.patch_mse
                trt.at(error_map, (128, 128), np.float32)[...] = found.error_map

            cuda_api.enqueue(stream.__cuda_stream__()[1], work)

    trt.IExecutionContext.enqueue = cuda_api.enqueue
    return HostKernels
