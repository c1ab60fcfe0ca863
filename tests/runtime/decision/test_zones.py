"""Zones against the plainest loop over tiles, and what they may never do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callm_edge.decision.zones import Zones, box
from callm_edge.stage1.scores import Scores, psnr_db


def scores_of(pixels: np.ndarray) -> Scores:
    """The definition: (256, 256) squared errors -> scores."""
    mse = pixels.mean(keepdims=True).reshape(1).astype(np.float32)
    tiles = [pixels[y : y + 32, x : x + 32].mean() for y in range(0, 225, 8) for x in range(0, 225, 8)]
    error_map = pixels.reshape(128, 2, 128, 2).mean((1, 3)).astype(np.float32)[None]
    return Scores(mse, psnr_db(mse), np.array([max(tiles)], np.float32), error_map)


def test_a_zone_takes_its_error_out_of_every_number() -> None:
    pixels = np.random.default_rng(0).gamma(1.0, 0.01, (256, 256))
    pixels[40:80, 10:60] += 2.0  # inside the zone
    pixels[200:210, 200:210] += 1.0  # outside
    cleaned = pixels.copy()
    cleaned[32:96, 0:64] = 0
    size = (640, 360)
    zone = Zones((box(0, 32 / 256 * 360, 64 / 256 * 640 - 1, 64 / 256 * 360 - 1),))
    found, expected = zone.apply(scores_of(pixels), size), scores_of(cleaned)
    np.testing.assert_allclose(found.error_map, expected.error_map, atol=1e-6)
    np.testing.assert_allclose(found.patch_mse, expected.patch_mse, rtol=1e-5)
    np.testing.assert_allclose(found.psnr_db, expected.psnr_db, atol=1e-4)


def test_without_an_effect_the_numbers_are_those_of_the_graph() -> None:
    scores = scores_of(np.random.default_rng(1).gamma(1.0, 0.01, (256, 256)))
    outside = Zones((box(-500, -500, 100, 100),)).apply(scores, (640, 360))
    np.testing.assert_allclose(outside.patch_mse, scores.patch_mse, rtol=1e-5)
    assert Zones(()).apply(scores, (640, 360)) is scores


points = st.tuples(st.floats(-100, 800), st.floats(-100, 500))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(points, min_size=3, max_size=6), min_size=1, max_size=3), st.integers(0, 99))
def test_no_zone_can_lower_a_psnr(polygons: list[list[tuple[float, float]]], seed: int) -> None:
    scores = scores_of(np.random.default_rng(seed).gamma(0.5, 0.05, (256, 256)))
    zoned = Zones(tuple(map(tuple, polygons))).apply(scores, (640, 360))
    assert zoned.psnr_db[0] >= scores.psnr_db[0] - 1e-4
    assert zoned.patch_psnr_db[0] >= scores.patch_psnr_db[0] - 1e-4


def test_a_triangle_covers_its_half() -> None:
    kept = Zones((((0, 0), (640, 0), (0, 360)),)).kept((640, 360), 128)
    assert kept[0, 0] == 0
    assert kept[127, 127] == 1
    assert 1 - kept.mean() == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="three"):
        Zones((((0, 0), (1, 1)),))
