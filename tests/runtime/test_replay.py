"""Scoring a clip again, with a scorer whose scores the test knows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from callm_edge.bundle import Decision
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.replay import replay
from callm_edge.stage1.scorer import WindowStream
from callm_edge.stage1.scores import Scores, psnr_db

DECISION = Decision(statistic="frame", threshold_psnr_db=20.0, smoothing=3, release_db=0.0, gap_s=0.2, minimum_s=0.1)


class Scorer:
    """`bright_db` for a bright frame, 30 dB for every other."""

    name = "by brightness"

    def __init__(self, bright_db: float) -> None:
        self._bright_db = bright_db

    def stream(self) -> WindowStream:
        return WindowStream(self)

    def score(self, windows: np.ndarray) -> Scores:
        mse = np.array([4 / 10 ** ((self._bright_db if windows[0, 8, 0, 0] > 127 else 30.0) / 10)], np.float32)
        return Scores(mse, psnr_db(mse), mse, np.full((1, 128, 128), mse[0], np.float32))


def clip(first: int = 100, length: int = 60) -> Clip:
    """Frames 130 to 139 are bright; all but the first 8 and the last 7 have a score."""
    frames = []
    for index in range(first, first + length):
        picture = np.full((48, 64, 3), 200 if 130 <= index < 140 else 50, np.uint8)
        score = (10.0 if 130 <= index < 140 else 30.0) if first + 8 <= index < first + length - 7 else None
        frames.append(ClipFrame(index, index / 10, cv2.imencode(".jpg", picture)[1].tobytes(), score))
    return Clip("ab12", "cafe", 20.0, tuple(frames))


def test_the_same_scorer_says_the_same() -> None:
    found = replay(clip(), Scorer(10.0), DECISION.model_copy(update={"smoothing": 1}))
    assert [(event.start_frame, event.end_frame, event.start_time) for event in found.events] == [(130, 139, 13.0)]
    assert found.compared == 45
    np.testing.assert_allclose(found.replayed_db, found.recorded_db, atol=1e-4)
    assert (found.flagged, found.flips) == ((10, 10), 0)
    assert found.clip.frames[30].score_db == pytest.approx(10.0, abs=1e-4)
    assert found.clip.frames[0].score_db is None


def test_another_model_and_another_threshold_change_the_flags() -> None:
    blind = replay(clip(), Scorer(30.0), DECISION)
    assert (blind.events, blind.flagged, blind.flips) == ((), (10, 0), 10)
    assert blind.compared == 43, "the first two are left out while the smoothing fills"
    assert blind.to_json()["max_abs_diff_db"] == pytest.approx(20.0, abs=1e-3)
    keen = replay(clip(), Scorer(10.0), DECISION.model_copy(update={"threshold_psnr_db": 40.0}))
    assert keen.flips == 43 - 10


def test_a_clip_shorter_than_a_window_is_compared_with_nothing() -> None:
    found = replay(clip(length=10), Scorer(10.0), DECISION)
    assert (found.compared, found.flips, found.events) == (0, 0, ())
    assert found.to_json()["mean_diff_db"] is None
