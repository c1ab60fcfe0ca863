"""Pseudo-anomalies are made of what moves, and move as they are meant to."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_export.footage import Footage  # noqa: E402
from callm_export.pseudo_anomalies import Movers, Perspective, PseudoAnomalies, find_movers  # noqa: E402


@pytest.fixture
def movers(walkers: np.ndarray) -> Movers:
    return find_movers(Footage(("a",), (walkers,), 25.0), np.random.default_rng(0), samples=30)


def test_movers_are_the_walkers(movers: Movers) -> None:
    assert len(movers.cutouts) > 20
    sizes = np.array([cutout.patch.shape for cutout in movers.cutouts])
    assert np.median(sizes, axis=0) == pytest.approx((26, 10), abs=3)
    assert all(cutout.alpha.min() >= 0 and cutout.alpha.max() <= 1 for cutout in movers.cutouts)
    assert 0.3 <= movers.speed * movers.perspective.height(128) <= 2.0


def test_skipped_windows_are_faster_and_their_target_is_empty(movers: Movers, walkers: np.ndarray) -> None:
    long = np.concatenate([walkers, walkers[::-1]])
    window, target = PseudoAnomalies(movers).skipped(long, 20, np.random.default_rng(3))
    assert window.shape == (16, 256, 256)
    ground = np.median(long, axis=0)
    assert np.abs(target - ground).mean() < np.abs(window[8] - ground).mean()


def test_a_clip_too_short_for_a_stride_is_skipped_through_at_a_lower_one(movers: Movers, walkers: np.ndarray) -> None:
    for seed in range(20):
        window, _ = PseudoAnomalies(movers).skipped(walkers[:17], 1, np.random.default_rng(seed))
        assert window.shape == (16, 256, 256)


@pytest.mark.parametrize("kind", ["mover", "walker"])
def test_a_pasted_cutout_changes_few_pixels_and_moves(movers: Movers, walkers: np.ndarray, kind: str) -> None:
    still = np.repeat(walkers[:1], 16, axis=0)
    speed = movers.speed * movers.perspective.height(128)
    places = []
    for seed in range(12):
        pasted = PseudoAnomalies(movers).paste(still, kind, np.random.default_rng(seed))
        changed = pasted != still
        assert changed.mean() < 0.1
        columns = [np.nonzero(frame)[1] for frame in changed]
        if len(columns[6]) and len(columns[10]):
            places.append(abs(columns[10].mean() - columns[6].mean()) / 4 / speed)
    assert still.max() == walkers[0].max(), "the window itself must stay as it was"
    assert np.median(places) > 1.0 if kind == "mover" else np.median(places) <= 1.1


def test_perspective_is_found_among_outliers_and_goes_on_below_the_picture() -> None:
    rng = np.random.default_rng(0)
    feet = rng.uniform(80, 230, 200)
    heights = 0.5 * feet - 20 + rng.normal(0, 2, 200)
    heights[::10] *= 0.3
    found = Perspective.fit(feet, heights)
    assert [found.height(row) for row in (100, 150, 220, 260)] == pytest.approx([30, 55, 90, 110], abs=4)
    assert found.height(2000) < 1.6 * heights.max()
    assert Perspective.fit(feet[:5], heights[:5]).height(0) == pytest.approx(np.median(heights[:5]))


def test_what_is_pasted_far_down_the_picture_is_larger_and_faster(movers: Movers) -> None:
    steep = Movers(movers.cutouts, Perspective(0.4, -16.0, 10.0, 120.0), movers.speed)
    still = np.full((16, 128, 256), 128, np.uint8)
    sizes = []
    for top in (0, 128):
        changed = [PseudoAnomalies(steep).paste(still, "walker", np.random.default_rng(s), top) for s in range(20)]
        sizes.append(float(np.mean([(window[8] != 128).sum() for window in changed])))
    assert sizes[1] > 2 * sizes[0]


def test_kinds_come_as_often_as_asked(movers: Movers) -> None:
    rng = np.random.default_rng(0)
    kinds = [PseudoAnomalies(movers).kind(rng) for _ in range(4000)]
    assert kinds.count("skip") / 4000 == pytest.approx(0.2, abs=0.03)
    assert kinds.count("mover") / 4000 == pytest.approx(0.3, abs=0.03)
    assert kinds.count("walker") / 4000 == pytest.approx(0.15, abs=0.03)


def test_footage_without_movement_gives_no_cutouts_but_still_trains() -> None:
    still = np.full((40, 256, 256), 90, np.uint8)
    found = find_movers(Footage(("a",), (still,), 25.0), np.random.default_rng(0), samples=5)
    assert found.cutouts == ()
    assert PseudoAnomalies(found).kind(np.random.default_rng(1)) in ("", "skip")
