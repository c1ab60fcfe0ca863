"""Scoring with a scorer whose numbers are known, and judging of made-up scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="the extra 'train' is not installed")

from callm_edge.bundle import Decision  # noqa: E402
from callm_edge.cascade import Camera, Found  # noqa: E402
from callm_edge.decision.box import peak_box, peak_points  # noqa: E402
from callm_edge.decision.calibration import Trace, event_peaks  # noqa: E402
from callm_edge.errors import UserError  # noqa: E402
from callm_edge.sources import Frame, Source  # noqa: E402
from callm_edge.stage1.scorer import WindowStream  # noqa: E402
from callm_edge.stage1.scores import Scores, psnr_db  # noqa: E402
from callm_export.evaluation import ClipScores, events_of, judge, score_clip  # noqa: E402
from callm_export.evaluation_plots import plot_auc_over_epochs, plot_clips, plot_roc  # noqa: E402
from callm_export.ground_truth import ClipTruth  # noqa: E402

GOLDENS = Path(__file__).resolve().parents[1] / "goldens" / "stage1"
PLAIN = Decision(statistic="frame", smoothing=1, threshold_psnr_db=20.0, release_db=0.0, gap_s=0.2, minimum_s=0.1)


class Footage(Source):
    """Pictures of one brightness each: (index, brightness)."""

    def __init__(self, pictures: list[tuple[int, int]], fps: float | None = 10.0) -> None:
        self.name, self.fps, self._pictures = "footage", fps, pictures

    def __iter__(self) -> Iterator[Frame]:
        for index, value in self._pictures:
            yield Frame(index, index / 10, np.full((120, 200, 3), value, np.uint8))


class BrightnessScorer:
    """The brightness of the 9th frame as the error: mse = value / 1000, and the worst tile has twice that."""

    name = "brightness"

    def stream(self) -> WindowStream:
        return WindowStream(self)

    def score(self, windows: np.ndarray) -> Scores:
        assert windows.shape == (1, 16, 256, 256)
        mse = windows[:, 8, 0, 0].astype(np.float32) / 1000
        error_map = np.zeros((1, 128, 128), np.float32)
        error_map[0, 40, int(windows[0, 8, 0, 0]) % 128] = 1
        return Scores(mse, psnr_db(mse), 2 * mse, error_map)


def made_up(name: str, psnr: Sequence[float], labels: list[int], peaks: np.ndarray | None = None) -> ClipScores:
    """Scores of a clip whose scored frames have these PSNRs; labels are of its scored frames too."""
    count = len(psnr)
    assert count == len(labels)
    values = np.asarray(psnr, np.float32)
    where = np.zeros((count, 2)) if peaks is None else peaks
    return ClipScores(name, values, values - 3, where, np.arange(count) + 8, count + 15, (200, 100), 10.0)


def truth(labels: list[int], distances: np.ndarray | None = None) -> ClipTruth:
    return ClipTruth(np.array([0] * 8 + labels + [0] * 7, bool), distances)


def test_scores_frame_8_of_every_window() -> None:
    values = [10 + i for i in range(30)]
    seen: list[None] = []
    scores = score_clip(Footage(list(enumerate(values))), BrightnessScorer(), progress=lambda: seen.append(None))
    assert scores.frames.tolist() == list(range(8, 23)), "frames 0..7 and the last 7 have no score"
    np.testing.assert_allclose(scores.psnr_db, psnr_db(np.array(values[8:-7]) / 1000), atol=1e-5)
    np.testing.assert_allclose(scores.patch_psnr_db, scores.psnr_db - 10 * np.log10(2), atol=1e-5)
    np.testing.assert_allclose(scores.peaks[:, 0], (np.array(values[8:-7]) + 0.5) * 200 / 128)
    np.testing.assert_allclose(scores.peaks[:, 1], 40.5 * 120 / 128)
    assert (scores.length, scores.size, scores.fps, len(seen)) == (30, (200, 120), 10.0, 30)


def test_no_window_spans_a_gap() -> None:
    pictures = [(i, 50) for i in range(20)] + [(i, 50) for i in range(25, 45)]
    scores = score_clip(Footage(pictures), BrightnessScorer())
    assert scores.frames.tolist() == [*range(8, 13), *range(33, 38)]
    assert scores.length == 45


def test_given_fps_wins_and_25_is_the_last_resort() -> None:
    pictures = [(i, 50) for i in range(16)]
    assert score_clip(Footage(pictures), BrightnessScorer(), fps=7).fps == 7
    assert score_clip(Footage(pictures, fps=None), BrightnessScorer()).fps == 25


def test_a_clip_without_a_window_is_named() -> None:
    with pytest.raises(UserError, match="'07' is too short.*15 frames"):
        score_clip(Footage([(i, 50) for i in range(15)]), BrightnessScorer(), name="07")


@given(st.integers(0, 127), st.integers(0, 127), st.integers(64, 2000), st.integers(64, 2000))
def test_peak_lies_in_the_box_that_grows_from_it(x: int, y: int, width: int, height: int) -> None:
    error_map = np.zeros((128, 128), np.float32)
    cv2.circle(error_map, (x, y), 3, 1.0, -1)
    [(px, py)] = peak_points(error_map, (width, height), 1)
    left, top, w, h = peak_box(error_map, (width, height))
    assert left <= px <= left + w
    assert top <= py <= top + h


def test_events_are_those_of_the_cascade() -> None:
    rng = np.random.default_rng(3)
    values = np.clip(20 + 60 * (np.sin(np.arange(200) / 9) > 0.6) + rng.integers(0, 30, 200), 1, 255)
    footage = list(enumerate(values.tolist()))
    decision = Decision(statistic="tile", smoothing=3, threshold_psnr_db=15.5)
    scorer = BrightnessScorer()
    wanted = [item.event for item in Camera(Footage(footage), scorer, decision) if isinstance(item, Found)]
    scores = score_clip(Footage(footage), scorer)
    got = events_of(scores, decision)
    spans = [(e.start_frame, e.end_frame, e.peak_frame, e.peak_psnr_db, round(e.start_time, 6)) for e in got]
    assert spans == [(e.start_frame, e.end_frame, e.peak_frame, e.peak_psnr_db, round(e.start_time, 6)) for e in wanted]
    assert len(spans) > 2
    assert [e.peak_psnr_db for e in got] == event_peaks(Trace(scores.patch_psnr_db, 10), decision)


def test_reproduces_the_published_auc() -> None:
    golden = json.loads((GOLDENS / "scores.json").read_text())
    labels = np.split(np.array(golden["labels"], bool), np.cumsum(golden["lens"])[:-1])
    clips = []
    for name, psnr, clip_labels in zip("abc", golden["psnrv2_peak2"], labels, strict=True):
        values = np.asarray(psnr, np.float32)
        count = len(values)
        scores = ClipScores(
            name, values, values, np.zeros((count, 2)), np.arange(count) + 8, len(clip_labels), (9, 9), 10
        )
        clips.append((scores, ClipTruth(clip_labels, None)))
    got = judge("golden", "none", PLAIN, clips)
    assert got.scored_frames == sum(golden["lens"]) - 15 * 3
    assert got.paper.auc == pytest.approx(golden["auc_original"], abs=1e-6)
    assert got.live.auc == pytest.approx(golden["auc_no_norm_global"], abs=1e-6)


def test_counts_events_false_alarms_and_stretches() -> None:
    #                found         missed    false alarm
    psnr = [30] * 20 + [10] * 10 + [30] * 30 + [10] * 4 + [30] * 6
    labels = [0] * 15 + [1] * 10 + [0] * 10 + [1] * 5 + [0] * 30
    got = judge("made up", "none", PLAIN, [(made_up("a", psnr, labels), truth(labels))])
    assert [(e.start_frame, e.end_frame) for e in got.clips[0].events] == [(28, 37), (68, 71)]
    assert (got.events, got.false_alarms, got.stretches, got.events_hit) == (2, 1, 2, 1)
    assert got.normal_hours == pytest.approx(55 / 10 / 3600)
    assert got.normal_share_in_events == pytest.approx((5 + 4) / 55)
    assert got.false_alarms_per_hour == pytest.approx(3600 * 10 / 55)


def test_live_auc_smooths_causally_as_deployed() -> None:
    psnr = [30, 30, 10, 30, 30, 30, 30, 30]
    labels = [0, 0, 0, 1, 1, 0, 0, 0]
    clips = [(made_up("a", psnr, labels), truth(labels))]
    decision = PLAIN.model_copy(update={"smoothing": 3})
    got = judge("made up", "none", decision, clips)
    np.testing.assert_allclose(got.clips[0].score_db, [30, 30, 70 / 3, 70 / 3, 70 / 3, 30, 30, 30])
    # 2 of 2 abnormal frames and 1 of 6 normal ones share the low score
    assert got.live.auc == pytest.approx((5 + 0.5) / 6)
    assert judge("made up", "none", PLAIN, clips).live.auc == pytest.approx(0.5 * 5 / 6)


def test_statistic_decides_what_is_live() -> None:
    labels = [0, 0, 1, 1]
    scores = made_up("a", [30, 31, 30.5, 32], labels)
    scores = ClipScores(**{**vars(scores), "patch_psnr_db": np.array([30, 31, 10, 11], np.float32)})
    got = judge("made up", "none", PLAIN.model_copy(update={"statistic": "tile"}), [(scores, truth(labels))])
    assert got.live.auc == got.auc_live_tile == got.auc_paper_tile == 1.0
    assert got.auc_live_frame == got.paper.auc == pytest.approx(0.25)
    assert got.live.eer == 0


def test_localisation_counts_abnormal_marked_frames_within_5_percent_of_the_width() -> None:
    labels = [0, 1, 1, 1, 1, 0]
    distances = np.array([0.0, 0.0, 10.0, 10.1, np.nan, 0.0])  # 5 % of 200 px are 10 px
    scores = made_up("a", [30.0] * 6, labels)
    got = judge("made up", "none", PLAIN, [(scores, truth(labels, distances)), (scores, truth(labels, None))])
    assert got.localised_frames == 3
    assert got.localisation_hit_rate == pytest.approx(2 / 3)
    assert judge("made up", "none", PLAIN, [(scores, truth(labels))]).localisation_hit_rate is None


def test_refuses_what_cannot_be_judged() -> None:
    scores = made_up("a", [30.0, 20.0], [0, 1])
    with pytest.raises(UserError, match="one class"):
        judge("x", "y", PLAIN, [(scores, truth([0, 0]))])
    with pytest.raises(UserError, match="one class"):
        judge("x", "y", PLAIN, [])
    with pytest.raises(UserError, match="'a' has 17 frames and 18 labels"):
        judge("x", "y", PLAIN, [(scores, truth([0, 1, 1]))])
    with pytest.raises(UserError, match="'a' are not finite"):
        judge("x", "y", PLAIN, [(made_up("a", [float("nan"), 20.0], [0, 1]), truth([0, 1]))])


def test_plots_are_pictures_even_of_odd_results(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips = []
    for index in range(7):
        labels = [[0] * 40, [0] * 20 + [1] * 20, [1] * 40][index % 3]
        psnr = (30 - 6 * np.array(labels) + rng.normal(0, 1, 40)).tolist()
        clips.append((made_up(f"clip_{index} $5", psnr, labels), truth(labels)))
    far = PLAIN.model_copy(update={"threshold_psnr_db": -50.0})
    for result in (judge("a $ set", "b_c", PLAIN, clips), judge("x", "y", far, clips[1:2])):
        plot_roc(tmp_path / "roc.png", result)
        plot_clips(tmp_path / "new" / "clips.png", result)
        for path in (tmp_path / "roc.png", tmp_path / "new" / "clips.png"):
            picture = cv2.imread(str(path))
            assert picture is not None
            assert picture.std() > 5
    assert sorted(p.name for p in tmp_path.rglob("*.png")) == ["clips.png", "roc.png"], "no temporary file stays"


def test_plot_of_a_training_record(tmp_path: Path) -> None:
    plot_auc_over_epochs(tmp_path / "auc.png", [1, 2, 3], [0.7, 0.8, 0.9], [0.6, 0.7, 0.9])
    plot_auc_over_epochs(tmp_path / "one.png", [1], [0.7], [0.6])
    picture = cv2.imread(str(tmp_path / "auc.png"))
    assert picture is not None
    assert picture.shape == (480, 840, 3)
    with pytest.raises(ValueError, match="3 epochs"):
        plot_auc_over_epochs(tmp_path / "no.png", [1, 2, 3], [0.7], [0.6])


def test_a_plot_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        plot_auc_over_epochs(tmp_path / "file" / "auc.png", [1], [0.7], [0.6])
