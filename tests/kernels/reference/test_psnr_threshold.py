"""The reference against what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from callm_kernels.reference.psnr_threshold import psnr_threshold


def test_a_perfect_reconstruction_is_not_flagged() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    result = psnr_threshold(frame, frame / 127.5 - 1.0, 20.0)
    assert result.mse == 0
    assert result.psnr_db == pytest.approx(106.0206, abs=1e-3)
    assert not result.flag


def test_one_wrong_tile_is_seen_by_the_tile_and_diluted_in_the_frame() -> None:
    frame = np.zeros((256, 256), np.uint8)
    reconstruction = np.full((256, 256), -1.0)
    reconstruction[64:96, 128:160] = 0.0
    result = psnr_threshold(frame, reconstruction, 20.0)
    assert result.patch_mse == pytest.approx(1.0)
    assert result.mse == pytest.approx(1 / 64)
    assert result.error_map[32:48, 64:80].min() == pytest.approx(1.0)
    assert result.error_map.sum() == pytest.approx(16 * 16)


def test_the_flag_is_the_comparison_with_the_threshold() -> None:
    frame = np.full((32, 32), 255, np.uint8)
    reconstruction = np.full((32, 32), 0.8)
    assert psnr_threshold(frame, reconstruction, 20.001).flag
    assert not psnr_threshold(frame, reconstruction, 19.999).flag
