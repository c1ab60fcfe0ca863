"""Clips of the plaza: what is drawn, and what is known of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.plaza import ANOMALIES, Plaza
from callm_edge.stage1.scores import Scores
from callm_export.vlm.clip_set import ClipSet
from callm_export.vlm.crops import shows
from callm_export.vlm.plaza_clips import (
    LONGEST_S,
    SHORTEST_S,
    Day,
    PlazaClips,
    Stretch,
    abnormal_stretches,
    balanced,
    day,
    days_for,
    normal_stretches,
)

from .conftest import record_of


class Corner:
    """Stage 1 that finds its peak in the middle of the last quarter, and remembers what it was given."""

    name = "corner"

    def __init__(self) -> None:
        self.windows: list[np.ndarray] = []

    def score(self, windows: np.ndarray) -> Scores:
        self.windows.append(windows.copy())
        error = np.zeros((1, 128, 128), np.float32)
        error[0, 96, 96] = 1
        return Scores(np.ones(1, np.float32), np.ones(1, np.float32), np.ones(1, np.float32), error)


@pytest.fixture(scope="module")
def plaza() -> Plaza:
    return Plaza(5, ("cyclist", "fall"), 50)


def test_stretches_lie_around_anomalies(plaza: Plaza) -> None:
    stretches = list(abnormal_stretches(plaza, 3))
    assert [stretch.kind for stretch in stretches] == [kind for kind, _, _ in plaza.schedule for _ in range(3)]
    for stretch in stretches:
        assert SHORTEST_S - 0.1 <= (stretch.last - stretch.first + 1) / 25 <= LONGEST_S + 0.1
        assert sum(bool(plaza.boxes(frame)) for frame in stretch.frames) >= 3
    assert stretches == list(abnormal_stretches(plaza, 3))


def test_normal_stretches_keep_away(plaza: Plaza) -> None:
    stretches = list(normal_stretches(plaza, 4))
    assert stretches
    taken = [frame for stretch in stretches for frame in range(stretch.first, stretch.last + 1)]
    assert len(taken) == len(set(taken))
    assert not any(plaza.boxes(frame) for frame in taken)


def test_drawn_as_the_cascade_would(tmp_path: Path) -> None:
    plaza = Plaza(3, (), 4)
    scorer, clips = Corner(), ClipSet(tmp_path)
    [record] = PlazaClips(clips, scorer, "hash").draw(Day("g", plaza, (Stretch(10, 49, None),)))
    assert record.frames == (10, 15, 20, 25, 30, 35, 40, 45)
    assert clips.records() == [record]
    clip = Clip.load(clips.path(record.name))
    assert [frame.index for frame in clip.frames] == [at for seen in record.frames for at in (seen, seen + 2)]
    assert clip.frames[0].peak == pytest.approx((96.5 * 5, 96.5 * 360 / 128), abs=0.1)
    # The scored frame is the 9th of its window.
    whole = [image for image, _ in plaza]
    from callm_edge.stage1.ingest import to_gray_256

    assert np.array_equal(scorer.windows[0][0, 8], to_gray_256(whole[10]))
    assert np.array_equal(scorer.windows[-1][0, 15], to_gray_256(whole[45 + 7]))
    assert np.abs(clip.frames[0].image().astype(int) - whole[10]).mean() < 6  # JPEG


def test_splits_share_no_seed() -> None:
    seeds = {split: day(split, 3).plaza.seed for split in ("train", "validation", "held-out")}
    assert len(set(seeds.values())) == 3
    assert not any(stretch.kind for stretch in day("train", 3).stretches)


def test_a_day_has_every_kind() -> None:
    today = day("held-out", 0)
    assert sorted(stretch.kind for stretch in today.stretches if stretch.kind) == sorted(ANOMALIES)
    assert days_for("held-out", 200) >= 15


def test_a_day_of_some_kinds() -> None:
    """As many anomalies as ever, and two of three of the kind that is named twice."""
    shown = [stretch.kind for stretch in day("train", 0, ("fall", "cyclist", "fall")).stretches if stretch.kind]
    assert len(shown) == 2 * len(ANOMALIES)
    assert set(shown) == {"fall", "cyclist"}
    assert 8 <= shown.count("fall") <= 10


def test_balanced() -> None:
    records = [record_of("a", "fall"), record_of("b", None), record_of("c", None), record_of("d", "fall")]
    assert [record.name for record in balanced(records, 2)] == ["a", "b"]
    with pytest.raises(UserError, match="3 abnormal"):
        balanced(records, 6)


def test_drafts_point_at_movers_and_at_what_is_wrong(tmp_path: Path) -> None:
    clips = ClipSet(tmp_path)
    plaza = Plaza(400_000, ["cyclist"], 40.0)
    stretches = (*abnormal_stretches(plaza, 2), *normal_stretches(plaza, 1))
    [*wrong, right] = PlazaClips(clips, None).draw(Day("d", plaza, stretches))
    assert all(1 <= len(peaks) <= 3 for record in (*wrong, right) for peaks in record.peaks)
    # Nowhere on the plaza but where something is: an empty place has no error.
    image = Clip.load(clips.path(right.name)).frames[0].image()
    x, y = right.peaks[0][0]
    assert 0 <= x < image.shape[1]
    assert 0 <= y < image.shape[0]
    seen = [
        shows(peak, boxes, record.size)
        for record in wrong
        for peaks, boxes in zip(record.peaks, record.boxes, strict=True)
        for peak in peaks
    ]
    assert 0 < sum(seen) < len(seen)
    again = PlazaClips(ClipSet(tmp_path / "again"), None).draw(Day("d", plaza, stretches))
    assert again == [*wrong, right]
