"""What several tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from callm_edge.bundle import Bundle, Decision

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def ped2() -> Path:
    """UCSD Ped2, which stands beside the checkout on the developers' machines and may not be shipped."""
    folder = SHARED / "data" / "ped2"
    if not folder.is_dir():
        pytest.skip("the Ped2 data set is not beside this checkout (../shared/data/ped2)")
    return folder


@pytest.fixture
def walkers() -> np.ndarray:
    """(60, 256, 256) uint8: dark upright blobs that walk over a textured ground."""
    rng = np.random.default_rng(0)
    ground = rng.normal(150, 4, (256, 256)).clip(0, 255)
    frames = np.repeat(ground[None], 60, axis=0)
    for y, x, speed in ((60, 20, 1.0), (120, 200, -0.8), (170, 80, 0.6), (200, 150, -1.0)):
        for t in range(60):
            left = round(x + speed * t)
            frames[t, y : y + 24, max(left, 0) : max(left + 8, 0)] = 60
    return frames.astype(np.uint8)


@pytest.fixture
def tiny_bundle(tmp_path: Path) -> Bundle:
    """A bundle with an untrained two-channel network: real files, real hashes, meaningless scores."""
    pytest.importorskip("torch", reason="the extra 'train' is not installed")
    import torch

    from callm_export.autoencoder import Autoencoder
    from callm_export.exporting import export_stage1, write_bundle

    torch.manual_seed(0)
    folder = tmp_path / "tiny"
    export_stage1(Autoencoder((2, 2, 2, 2)), folder)
    return write_bundle(folder, "tiny", "2-2-2-2", {"fps": 25}, Decision(threshold_psnr_db=5.0), {})
