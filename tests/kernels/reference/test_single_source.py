"""The references are the single source: torch in training, the ONNX graph and the runtime's CPU path agree with them.

That the CUDA kernels do is in tests/kernels/launchers.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from callm_edge.stage1 import scores
from callm_edge.stage1.ingest import SIZE, to_gray_256
from callm_edge.stage1.ring import MirroredRing
from callm_kernels.launchers.psnr_threshold import CELL
from callm_kernels.pictures import Format
from callm_kernels.reference import psnr_threshold as reference
from callm_kernels.reference.ingest import WINDOW, ingest

SCORED = 8  # the 9th frame of a window


def window(seed: int = 0) -> np.ndarray:
    """(16, 256, 256) uint8, smooth."""
    coarse = np.random.default_rng(seed).integers(0, 256, (16, 16, 16), np.uint8)
    return np.stack([cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for frame in coarse])


def test_the_constants_are_the_same_everywhere() -> None:
    assert (scores.TILE, scores.TILE_STEP) == (reference.TILE, reference.TILE_STEP)
    assert reference.TILE_STEP == CELL, "the kernel sums tiles from cells of one step"
    assert scores.psnr_db(np.zeros(1, np.float32))[0] == pytest.approx(10 * np.log10(4 / reference.FLOOR), rel=1e-6)


def test_torchs_score_is_the_references() -> None:
    torch = pytest.importorskip("torch")
    from callm_export.score import score_frame

    frame = window()[SCORED]
    reconstruction = (frame / 127.5 - 1 + np.random.default_rng(1).normal(0, 0.1, frame.shape)).astype(np.float32)
    wanted = reference.psnr_threshold(frame, reconstruction, 20.0)
    x = torch.from_numpy(frame).float() / 127.5 - 1
    found = score_frame(torch.from_numpy(reconstruction)[None], x[None])
    for name in ("mse", "psnr_db", "patch_mse"):
        assert float(getattr(found, name)) == pytest.approx(getattr(wanted, name), rel=1e-5)
    np.testing.assert_allclose(found.error_map[0], wanted.error_map, rtol=1e-4, atol=1e-7)


def test_the_onnx_graphs_score_is_the_references(tiny_bundle) -> None:
    torch = pytest.importorskip("torch")
    from callm_edge.stage1.scorer import OrtScorer
    from callm_export.autoencoder import Autoencoder

    torch.manual_seed(0)  # as tiny_bundle's network
    model = Autoencoder((2, 2, 2, 2)).eval()
    frames = window()
    with torch.inference_mode():
        x = torch.from_numpy(frames).float()[None, None] / 127.5 - 1
        reconstruction = model(x)[0, 0, SCORED].numpy()
    wanted = reference.psnr_threshold(frames[SCORED], reconstruction, 20.0)
    (path,) = (tiny_bundle.folder / "stage1").glob("score.onnx")
    found = OrtScorer(path).score(frames[None])
    for name in ("mse", "psnr_db", "patch_mse"):
        assert float(getattr(found, name)[0]) == pytest.approx(getattr(wanted, name), rel=1e-4)
    np.testing.assert_allclose(found.error_map[0], wanted.error_map, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", [(360, 640, 3), (480, 854, 3), (240, 360), (100, 90, 3)])
def test_the_runtimes_ingest_and_ring_are_the_references(shape) -> None:
    ring, wanted = MirroredRing(), np.zeros((2 * WINDOW, SIZE, SIZE), np.uint8)
    for at in range(WINDOW + 3):
        picture = np.random.default_rng(at).integers(0, 256, shape, np.uint8)
        ring.push(to_gray_256(picture))
        ingest(picture, Format.BGR if len(shape) == 3 else Format.GRAY, wanted, at % WINDOW)
    start = (WINDOW + 3) % WINDOW
    found = ring.window()
    assert found is not None
    assert np.abs(found.astype(int) - wanted[start : start + WINDOW]).max() <= 1


def test_the_gray_of_bgr_is_opencvs_to_the_bit() -> None:
    from callm_kernels.reference.pictures import to_gray

    picture = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    assert np.array_equal(to_gray(picture, Format.BGR), cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
