"""Pseudo-anomalies are made of what moves, and move as they are meant to."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_export.footage import Footage  # noqa: E402
from callm_export.pseudo_anomalies import Movers, PseudoAnomalies, find_movers  # noqa: E402


@pytest.fixture
def movers(walkers: np.ndarray) -> Movers:
    return find_movers(Footage(("a",), (walkers,), 25.0), np.random.default_rng(0), samples=30)


def test_movers_are_the_walkers(movers: Movers) -> None:
    assert len(movers.cutouts) > 20
    sizes = np.array([cutout.patch.shape for cutout in movers.cutouts])
    assert np.median(sizes, axis=0) == pytest.approx((26, 10), abs=3)
    assert all(cutout.alpha.min() >= 0 and cutout.alpha.max() <= 1 for cutout in movers.cutouts)
    assert 0.3 <= movers.speed <= 2.0


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
    places = []
    for seed in range(12):
        pasted = PseudoAnomalies(movers).paste(still, kind, np.random.default_rng(seed))
        changed = pasted != still
        assert changed.mean() < 0.1
        columns = [np.nonzero(frame)[1] for frame in changed]
        if len(columns[6]) and len(columns[10]):
            places.append(abs(columns[10].mean() - columns[6].mean()) / 4 / movers.speed)
    assert still.max() == walkers[0].max(), "the window itself must stay as it was"
    assert np.median(places) > 1.0 if kind == "mover" else np.median(places) <= 1.1


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
