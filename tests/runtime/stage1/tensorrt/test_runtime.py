"""Scoring through the captured graph, on a fake GPU whose memory is real: every frame where it belongs, every copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from callm_edge.errors import UserError
from callm_edge.stage1.ingest import to_gray_256
from callm_edge.stage1.tensorrt.cuda import Cuda
from callm_edge.stage1.tensorrt.engine_cache import EngineCache
from callm_edge.stage1.tensorrt.ready import ready_engine
from callm_edge.stage1.tensorrt.runtime import TensorRTBackend
from callm_kernels.reference.psnr_threshold import psnr_threshold


def network(windows: np.ndarray) -> np.ndarray:
    """A stand-in whose output depends on every frame and on their order."""
    weights = np.arange(1, 17, dtype=np.float32)[:, None, None] / 136
    return ((windows[0] * weights).sum(axis=0) / 127.5 - 1).astype(np.float16)


@pytest.fixture
def backend(
    trt: ModuleType, cuda_api: Any, kernels: Callable[[int], Any], half_graph: Callable[..., Path], tmp_path: Path
) -> TensorRTBackend:
    trt.IExecutionContext.network = staticmethod(network)
    ready = ready_engine(trt, half_graph(), "8.7", EngineCache(tmp_path / "engines"))
    return TensorRTBackend(trt, ready, Cuda(cuda_api), kernels)


def pictures(count: int, shape: tuple[int, ...] = (120, 160, 3), seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (count, *shape), np.uint8))


def expected(images: list[np.ndarray]) -> Any:
    window = np.stack([to_gray_256(image) for image in images[-16:]])
    return psnr_threshold(window[8], network(window[None]), 0.0)


def assert_scores(got: Any, images: list[np.ndarray]) -> None:
    wanted = expected(images)
    assert got.mse.shape == got.psnr_db.shape == got.patch_mse.shape == (1,)
    np.testing.assert_allclose(got.mse[0], wanted.mse, rtol=1e-5)
    np.testing.assert_allclose(got.psnr_db[0], wanted.psnr_db, rtol=1e-5)
    np.testing.assert_allclose(got.patch_mse[0], wanted.patch_mse, rtol=1e-5)
    np.testing.assert_allclose(got.error_map[0], wanted.error_map, rtol=1e-5)


def test_every_frame_is_scored_right_through_two_turns_of_the_ring(backend: TensorRTBackend) -> None:
    stream, images = backend.stream(), pictures(50)
    for i, image in enumerate(images):
        stream.push(image)
        got = stream.score()
        if i < 15:
            assert got is None
        else:
            assert_scores(got, images[: i + 1])


def test_nothing_is_allocated_per_frame_and_one_graph_is_launched(backend: TensorRTBackend, cuda_api: Any) -> None:
    stream, images = backend.stream(), pictures(60)
    for image in images[:16]:
        stream.push(image)
    stream.score()
    allocations, launches = cuda_api.allocations, cuda_api.launches
    assert cuda_api.graphs() == 16
    for image in images[16:]:
        stream.push(image)
        stream.score()
    assert cuda_api.allocations == allocations
    assert cuda_api.launches == launches + 44


def test_results_are_copies(backend: TensorRTBackend) -> None:
    stream, images = backend.stream(), pictures(18)
    kept = []
    for image in images:
        stream.push(image)
        kept.append(stream.score())
    assert_scores(kept[15], images[:16])
    assert_scores(kept[17], images)


def test_frames_between_scores_are_not_lost(backend: TensorRTBackend) -> None:
    """Stride 3: two frames of three go into the ring without a score."""
    stream, images = backend.stream(), pictures(60)
    for i, image in enumerate(images):
        stream.push(image)
        if i >= 15 and i % 3 == 0:
            assert_scores(stream.score(), images[: i + 1])


def test_asking_twice_gives_the_same_without_another_run(backend: TensorRTBackend, cuda_api: Any) -> None:
    stream, images = backend.stream(), pictures(16)
    for image in images:
        stream.push(image)
    first, launches = stream.score(), cuda_api.launches
    assert stream.score() is first
    assert cuda_api.launches == launches


def test_no_window_spans_a_gap(backend: TensorRTBackend) -> None:
    stream, images = backend.stream(), pictures(45)
    for image in images[:20]:
        stream.push(image)
    stream.score()
    stream.clear()
    assert stream.score() is None
    for i, image in enumerate(images[20:]):
        stream.push(image)
        got = stream.score()
        assert (got is None) == (i < 15)
        if got is not None:
            assert_scores(got, images[20 : 21 + i])


def test_a_camera_may_change_its_size(backend: TensorRTBackend, cuda_api: Any) -> None:
    stream, images = backend.stream(), [*pictures(20), *pictures(20, (90, 200)), *pictures(20, (256, 256))]
    for i, image in enumerate(images):
        stream.push(image)
        if i >= 15:
            assert_scores(stream.score(), images[: i + 1])
    assert cuda_api.graphs() == 16, "graphs over the old buffers are gone"


def test_two_cameras_do_not_meet(backend: TensorRTBackend) -> None:
    one, two = backend.stream(), backend.stream()
    first, second = pictures(20, seed=1), pictures(20, (64, 64), seed=2)
    for a, b in zip(first, second, strict=True):
        one.push(a)
        two.push(b)
    assert_scores(two.score(), second)
    assert_scores(one.score(), first)


def test_an_engine_that_cannot_be_captured_still_runs(
    backend: TensorRTBackend, cuda_api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cuda_api.captures_fail = True
    stream, images = backend.stream(), pictures(20)
    for i, image in enumerate(images):
        stream.push(image)
        if i >= 15:
            assert_scores(stream.score(), images[: i + 1])
    assert caplog.text.count("cannot be captured") == 1
    assert cuda_api.launches == 0


def test_closing_gives_everything_back(backend: TensorRTBackend, cuda_api: Any) -> None:
    stream = backend.stream()
    for image in pictures(17):
        stream.push(image)
        stream.score()
    stream.close()
    stream.close()
    assert cuda_api.live == {}
    assert cuda_api.graphs() == 0


def test_a_failed_execution_is_told_in_words(backend: TensorRTBackend, trt: ModuleType) -> None:
    stream = backend.stream()
    for image in pictures(16):
        stream.push(image)
    trt.IExecutionContext.execute_async_v3 = lambda self, stream_handle: False
    with pytest.raises(UserError, match="cannot run the engine"):
        stream.score()


def test_pictures_the_kernel_cannot_take_are_refused(backend: TensorRTBackend) -> None:
    with pytest.raises(UserError, match="cannot be scored"):
        backend.stream().push(np.zeros((4, 9000, 3), np.uint8))
    with pytest.raises(UserError, match="cannot be scored"):
        backend.stream().push(np.zeros((40, 40, 4), np.uint8))


def test_the_name_tells_version_precision_and_architecture(backend: TensorRTBackend) -> None:
    assert backend.name == "tensorrt-fp16 10.3.0 sm_87"
    assert len(backend.graph_sha256) == 64


def test_the_launchers_take_what_the_runtime_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """FusedKernels against the launchers' own plans: their checks run, only the GPU is left out."""
    launched = []

    class Module:
        def __init__(self, name: str, device: int) -> None:
            self.name = name

        def run(self, stream: Any, launch: Any) -> None:
            launched.append((self.name, launch))

    import callm_kernels.launchers.ingest as ingest
    import callm_kernels.launchers.psnr_threshold as psnr
    from callm_edge.stage1.tensorrt.kernels import FusedKernels

    monkeypatch.setattr(ingest, "Module", Module)
    monkeypatch.setattr(psnr, "Module", Module)
    fused = FusedKernels(160 * 3)
    records = fused.records(0x1000, 0x200000, (120, 160, 3), 16)
    assert records["slot"].tolist() == list(range(16))
    assert records.itemsize % 8 == 0, "each record must be aligned as the kernel reads it"
    assert set(records["pitch"].tolist()) == {480}
    fused.ingest(None, 0x3000 + records.itemsize)
    fused.score(
        None, frame=0x210000, reconstruction=0x4000, workspace=0x5000, numbers=0x6000, flag=0x7000, error_map=0x8000
    )
    (_, first), (_, second) = launched
    assert first.entry == "ingest"
    assert second.entry == "psnr_threshold_u8_x16", "addresses allow the 16-byte loads"
    assert fused.workspace_bytes > 0
