"""The way of a frame, with a scorer whose scores the test knows."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from callm_edge.bundle import Decision
from callm_edge.cascade import Camera, Found, ScoredFrame
from callm_edge.decision.zones import Zones, box
from callm_edge.sources import Frame, Source
from callm_edge.stage1.scorer import WindowStream
from callm_edge.stage1.scores import Scores, psnr_db
from callm_edge.stage2.ways import Ways

DECISION = Decision(statistic="frame", threshold_psnr_db=20.0, smoothing=1, release_db=0.0, gap_s=0.2, minimum_s=0.1)


class Film(Source):
    """Frames whose gray value is their brightness list's; a None is a frame that was lost on the way."""

    def __init__(
        self, grays: list[int | None], fps: float | None = 10.0, live: bool = False, late: set[int] = frozenset()
    ) -> None:  # type: ignore[assignment]
        self.name, self.fps, self.live = "film", fps, live
        self._grays, self._late, self._at = grays, late, 0

    @property
    def waiting(self) -> int:
        return int(self._at in self._late)

    def __iter__(self) -> Iterator[Frame]:
        for index, gray in enumerate(self._grays):
            self._at = index
            if gray is not None:
                yield Frame(index, index / 10, np.full((48, 64, 3), gray, np.uint8))


class BrightnessScorer:
    """A frame brighter than 127 is abnormal. It keeps the windows it was given."""

    name = "brightness"

    def __init__(self) -> None:
        self.windows: list[np.ndarray] = []

    def stream(self) -> WindowStream:
        return WindowStream(self)

    def score(self, windows: np.ndarray) -> Scores:
        self.windows.append(windows[0, :, 0, 0].copy())
        mse = np.array([0.4 if windows[0, 8, 0, 0] > 127 else 0.004], np.float32)
        error_map = np.zeros((1, 128, 128), np.float32)
        error_map[0, 64:80, 32:48] = 1.0 if mse[0] > 0.1 else 0.001
        return Scores(mse, psnr_db(mse), mse, error_map)


def run(
    film: Film, decision: Decision = DECISION, stride: int = 1
) -> tuple[Camera, list[ScoredFrame], list[Found], BrightnessScorer]:
    scorer = BrightnessScorer()
    camera = Camera(film, scorer, decision, stride)
    items = list(camera)
    scored = [item for item in items if isinstance(item, ScoredFrame)]
    return camera, scored, [item for item in items if isinstance(item, Found)], scorer


def test_the_score_belongs_to_the_9th_frame_and_the_event_to_the_abnormal_ones() -> None:
    camera, scored, found, scorer = run(Film([50] * 30 + [200] * 10 + [50] * 30))
    assert [item.frame.index for item in scored] == list(range(8, 63))
    assert [item.frame.index for item in scored if item.flagged] == list(range(30, 40))
    (event,) = (item.event for item in found)
    assert (event.start_frame, event.end_frame, event.source) == (30, 39, "film")
    assert (event.start_time, event.end_time) == (3.0, 3.9)
    assert event.peak_psnr_db == pytest.approx(10.0)
    x, y, w, h = event.box
    assert x <= 16 < 24 <= x + w <= 64
    assert y <= 24 < 30 <= y + h <= 48
    assert (camera.counts.frames, camera.counts.windows, camera.counts.events) == (70, 55, 1)
    assert all(len(window) == 16 for window in scorer.windows)


def test_the_thumbnail_shows_the_peak() -> None:
    _, _, found, _ = run(Film([50] * 30 + [200] * 10 + [50] * 30))
    assert found[0].thumbnail is not None
    picture = cv2.imdecode(np.frombuffer(found[0].thumbnail, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert np.median(picture[:20]) == pytest.approx(200, abs=8)


def test_an_event_that_is_open_when_the_footage_ends_is_reported() -> None:
    _, _, found, _ = run(Film([50] * 30 + [200] * 20))
    assert [(item.event.start_frame, item.event.end_frame) for item in found] == [(30, 42)]


@pytest.mark.parametrize("frames", [0, 1, 15])
def test_footage_shorter_than_a_window_gives_a_clean_nothing(frames: int) -> None:
    camera, scored, found, _ = run(Film([200] * frames))
    assert (scored, found, camera.counts.frames) == ([], [], frames)


def test_no_window_spans_lost_frames() -> None:
    _, scored, _, scorer = run(Film([10] * 20 + [None] * 3 + [99] * 20))
    assert len(scored) == 5 + 5
    assert all(len(set(window)) == 1 for window in scorer.windows)


def test_a_late_live_camera_loses_scores_and_no_frames() -> None:
    camera, scored, _, _ = run(Film([50] * 40, live=True, late={20, 21, 22}))
    assert camera.counts.skipped == 3
    assert camera.counts.frames == 40
    assert [item.frame.index for item in scored] == [i for i in range(8, 33) if i not in (13, 14, 15)]


def test_a_recorded_source_is_always_scored_whole() -> None:
    camera, scored, _, _ = run(Film([50] * 40, late={20, 21}))
    assert (camera.counts.skipped, len(scored)) == (0, 25)


def test_stride() -> None:
    camera, scored, found, _ = run(Film([50] * 32 + [200] * 12 + [50] * 30), stride=4)
    assert np.diff([item.frame.index for item in scored]).tolist() == [4] * (len(scored) - 1)
    assert len(scored) == camera.counts.windows == 15


def test_a_source_that_does_not_know_its_rate() -> None:
    _, scored, _, _ = run(Film([50] * 20, fps=None))
    assert len(scored) == 5


def test_a_zone_over_the_error_makes_no_event() -> None:
    decision = DECISION.model_copy(update={"statistic": "tile"})
    for zone, events in ((box(10, 20, 20, 16), 0), (box(40, 0, 20, 16), 1)):
        film = Film([50] * 30 + [200] * 10 + [50] * 30)
        camera = Camera(film, BrightnessScorer(), decision, zones=Zones((zone,)))
        assert sum(isinstance(item, Found) for item in camera) == events


def test_a_clip_bears_the_usual_ways_of_its_camera() -> None:
    ways = Ways(np.zeros((27, 48, 5), np.float32))
    film = Film([50] * 30 + [200] * 10 + [50] * 30)
    [found] = [item for item in Camera(film, BrightnessScorer(), DECISION, ways=ways) if isinstance(item, Found)]
    assert found.clip is not None
    assert found.clip.ways is ways
