"""The real thing, where a GPU and TensorRT are. Skipped with a reason everywhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from callm_edge.bundle import AUTOENCODER_FP16, Bundle
from callm_edge.errors import UserError
from callm_edge.sources import open_source
from callm_edge.stage1 import gpu
from callm_edge.stage1.scorer import OrtScorer
from callm_edge.stage1.tensorrt import library
from callm_edge.stage1.tensorrt.cuda import Cuda
from callm_edge.stage1.tensorrt.open import engine_of, open_tensorrt
from callm_edge.verify import verify

pytestmark = pytest.mark.gpu


@pytest.fixture
def on_gpu() -> None:
    if not gpu.present():
        pytest.skip("there is no NVIDIA GPU with a driver here")
    if not library.installed():
        pytest.skip("TensorRT is not installed here")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """The plaza bundle, copied so that its engines go there."""
    import shutil

    shutil.copytree(Bundle.load("plaza").folder, tmp_path / "plaza", ignore=shutil.ignore_patterns("engines"))
    return Bundle.load(tmp_path / "plaza")


@pytest.mark.usefixtures("on_gpu")
def test_the_engine_is_built_proven_and_found_again(bundle: Bundle) -> None:
    first, again = engine_of(bundle), engine_of(bundle)
    assert (first.built, again.built) == (True, False)
    assert len(first.proof) == 8
    assert again.sha256 == first.sha256


@pytest.mark.usefixtures("on_gpu")
def test_scores_are_those_of_the_half_graph_on_the_cpu(bundle: Bundle) -> None:
    stream, wanted = open_tensorrt(bundle).stream(), OrtScorer(bundle.folder / AUTOENCODER_FP16).stream()
    with open_source("test:plaza?seed=11&seconds=2") as source:
        for frame in source:
            stream.push(frame.image)
            wanted.push(frame.image)
            got, reference = stream.score(), wanted.score()
            assert (got is None) == (reference is None)
            if got is not None and reference is not None:
                np.testing.assert_allclose(got.psnr_db, reference.psnr_db, atol=0.05)
                np.testing.assert_allclose(got.patch_psnr_db, reference.patch_psnr_db, atol=0.15)
                assert np.corrcoef(got.error_map.ravel(), reference.error_map.ravel())[0, 1] > 0.99


@pytest.mark.usefixtures("on_gpu")
def test_no_flag_flips_on_the_plaza(bundle: Bundle) -> None:
    sources = [open_source("test:plaza?seed=12&anomaly=cyclist&seconds=14")]
    assert verify(bundle, {"tensorrt": open_tensorrt(bundle)}, sources).parities["tensorrt"].flips <= 2


@pytest.mark.usefixtures("on_gpu")
def test_memory_of_the_gpu_is_flat(bundle: Bundle) -> None:
    cuda, stream = Cuda.load(), open_tensorrt(bundle).stream()
    frames = np.random.default_rng(0).integers(0, 256, (32, 480, 640, 3), np.uint8)

    def run(count: int) -> int:
        for i in range(count):
            stream.push(frames[i % 32])
            stream.score()
        free, _ = cuda.call("cudaMemGetInfo")
        return int(free)

    before = run(50)
    assert run(500) >= before


@pytest.mark.usefixtures("on_gpu")
def test_the_score_graph_for_the_cpu_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """What would be a single precision engine under a half precision name."""
    from callm_edge.stage1.tensorrt.engine_cache import EngineCache
    from callm_edge.stage1.tensorrt.ready import ready_engine

    capability = Cuda.load().device().compute_capability
    with pytest.raises(UserError):
        ready_engine(library.load(), bundle.score_path, capability, EngineCache(tmp_path / "engines"))
