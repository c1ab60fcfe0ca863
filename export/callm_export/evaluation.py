"""Scores a test set with a bundle, as deployed, and judges the scores.

Two protocols stand side by side. The paper's: PSNR of the frame, min-max per clip, all clips in one ROC; it uses the
whole clip, hence the future. The live one: the bundle's own statistic and causal smoothing, nothing normalised, as a
device sees it. Frames 0..7 and the last 7 of a clip have no score: the window from s scores frame s + 8.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from callm_edge.bundle import Decision
from callm_edge.cascade import DEFAULT_FPS
from callm_edge.decision.box import peak_points
from callm_edge.decision.hysteresis import Hysteresis, Scored, smoothed
from callm_edge.errors import UserError
from callm_edge.events.event import Event
from callm_edge.sources import Source
from callm_edge.stage1.backend import Backend
from callm_edge.stage1.ring import SCORED, WINDOW
from callm_export.ground_truth import ClipTruth, check_frames
from callm_export.metrics import Roc, auc, regularity, roc, stretches

NEAR = 0.05  # of the picture's width: a peak this near to the mask has found it


@dataclass(frozen=True)
class ClipScores:
    """Stage 1's numbers for a clip of `length` frames, one per scored frame.

    psnr_db, patch_psnr_db: (N,) float32, PSNR of the frame and of its worst tile.
    peaks: (N, 2) float64, x and y in picture pixels of the highest point of the smoothed error map.
    frames: (N,) int64, 0-based. size: (width, height) of the picture. fps: frames per second of the clip.
    stride: every n-th frame was scored.
    """

    name: str
    psnr_db: np.ndarray
    patch_psnr_db: np.ndarray
    peaks: np.ndarray
    frames: np.ndarray
    length: int
    size: tuple[int, int]
    fps: float
    stride: int = 1

    def statistic_db(self, statistic: str) -> np.ndarray:
        """(N,) float32: of 'tile' or 'frame'."""
        return self.patch_psnr_db if statistic == "tile" else self.psnr_db


@dataclass(frozen=True)
class ClipResult:
    """One judged clip, over its N scored frames.

    score_db: (N,) what the threshold is held against, smoothed. labels: (N,) bool. auc: None where one class only.
    stretches, found: abnormal stretches, and how many of them an event overlaps.
    normal_in_events: normal frames that lie within an event.
    """

    name: str
    frames: np.ndarray
    score_db: np.ndarray
    labels: np.ndarray
    events: tuple[Event, ...]
    auc: float | None
    stretches: int
    found: int
    false_alarms: int
    normal_in_events: int


@dataclass(frozen=True)
class Evaluation:
    """All that was measured. paper, live: of all clips together; the numbers are those of `to_dict`."""

    dataset: str
    bundle: str
    decision: Decision
    clips: tuple[ClipResult, ...]
    paper: Roc
    live: Roc
    auc_paper_tile: float
    auc_live_frame: float
    auc_live_tile: float
    normal_hours: float
    localised_frames: int
    localisation_hit_rate: float | None

    @property
    def events(self) -> int:
        return sum(len(clip.events) for clip in self.clips)

    @property
    def false_alarms(self) -> int:
        return sum(clip.false_alarms for clip in self.clips)

    @property
    def stretches(self) -> int:
        return sum(clip.stretches for clip in self.clips)

    @property
    def events_hit(self) -> int:
        return sum(clip.found for clip in self.clips)

    @property
    def scored_frames(self) -> int:
        return sum(len(clip.frames) for clip in self.clips)

    @property
    def normal_share_in_events(self) -> float:
        """Share of the normal frames that lie within an event, 0..1.

        It guards the count of false alarms, which an endless event that also covers something abnormal does not raise.
        """
        normal = sum(int((~clip.labels).sum()) for clip in self.clips)
        return sum(clip.normal_in_events for clip in self.clips) / normal

    @property
    def false_alarms_per_hour(self) -> float:
        return self.false_alarms / self.normal_hours

    def to_dict(self) -> dict[str, object]:
        """The output for machines. Rates are 0..1; events_hit counts abnormal stretches that an event overlaps."""
        rate = self.localisation_hit_rate
        return {
            "dataset": self.dataset,
            "bundle": self.bundle,
            "auc_paper": round(self.paper.auc, 6),
            "auc_live": round(self.live.auc, 6),
            "eer_live": round(self.live.eer, 6),
            "false_alarms_per_hour": round(self.false_alarms_per_hour, 4),
            "localisation_hit_rate": None if rate is None else round(rate, 6),
            "scored_frames": self.scored_frames,
            "auc_paper_tile": round(self.auc_paper_tile, 6),
            "auc_live_frame": round(self.auc_live_frame, 6),
            "auc_live_tile": round(self.auc_live_tile, 6),
            "events": self.events,
            "false_alarms": self.false_alarms,
            "stretches": self.stretches,
            "events_hit": self.events_hit,
            "normal_share_in_events": round(self.normal_share_in_events, 6),
            "normal_hours": round(self.normal_hours, 6),
            "localised_frames": self.localised_frames,
            "statistic": self.decision.statistic,
            "smoothing": self.decision.smoothing,
            "threshold_psnr_db": self.decision.threshold_psnr_db,
            "clip_auc": {clip.name: None if clip.auc is None else round(clip.auc, 6) for clip in self.clips},
        }


def score_clip(
    source: Source,
    backend: Backend,
    fps: float | None = None,
    name: str | None = None,
    progress: Callable[[], None] = lambda: None,
) -> ClipScores:
    """Score every window of a source, one at a time, as a device does. progress: is called after every frame.

    fps: where the source's own is not to be believed. Raises UserError for a clip without a whole window.
    """
    stream = backend.stream()
    recent: deque[int] = deque(maxlen=WINDOW - SCORED)
    frame_db: list[float] = []
    tile_db: list[float] = []
    peaks: list[tuple[float, float]] = []
    frames: list[int] = []
    last, size = -1, (0, 0)
    with source:
        for frame in source:
            if frame.index != last + 1:
                stream.clear()
                recent.clear()
            last = frame.index
            size = frame.image.shape[1], frame.image.shape[0]
            stream.push(frame.image)
            recent.append(frame.index)
            if (scores := stream.score()) is not None:
                frame_db.append(float(scores.psnr_db[0]))
                tile_db.append(float(scores.patch_psnr_db[0]))
                peaks.append(peak_points(scores.error_map[0], size, 1)[0])
                frames.append(recent[0])
            progress()
    name = name or source.name
    if not frames:
        raise UserError(f"The clip '{name}' is too short", f"it has {last + 1} frames, and a window is {WINDOW}")
    return ClipScores(
        name,
        np.asarray(frame_db, np.float32),
        np.asarray(tile_db, np.float32),
        np.asarray(peaks, np.float64),
        np.asarray(frames, np.int64),
        last + 1,
        size,
        fps or source.fps or DEFAULT_FPS,
    )


def events_of(scores: ClipScores, decision: Decision) -> list[Event]:
    """The events that a device with this decision reports for the clip."""
    hysteresis = Hysteresis(decision, scores.name, scores.fps, scores.stride)
    smooth = smoothed(scores.statistic_db(decision.statistic), decision.smoothing)
    ended = [
        hysteresis.push(Scored(int(frame), float(frame / scores.fps), float(score), None, scores.size))
        for frame, score in zip(scores.frames, smooth, strict=True)
    ]
    return [event for event in (*ended, hysteresis.finish()) if event is not None]


def judge(dataset: str, bundle: str, decision: Decision, clips: Sequence[tuple[ClipScores, ClipTruth]]) -> Evaluation:
    """Hold scores against the truth.

    False alarms: events that overlap no abnormal frame, over the hours of normal frames that were scored.
    Localisation: of the scored abnormal frames in which pixels are marked, the share whose error peak lies no farther
    from a marked pixel than 5 % of the picture's width, which is the mask dilated by that.
    Raises UserError where a clip has not as many frames as labels, where all frames are of one class, and for scores
    that are not finite.
    """
    for scores, truth in clips:
        check_frames(scores.name, scores.length, len(truth.labels))
        if not (np.isfinite(scores.psnr_db).all() and np.isfinite(scores.patch_psnr_db).all()):
            raise UserError(
                f"The scores of clip '{scores.name}' are not finite",
                "the model in the bundle is damaged",
                "Train again",
            )
    labels = np.concatenate([truth.labels[scores.frames] for scores, truth in clips]) if clips else np.zeros(0, bool)
    if not len(labels) or labels.all() or not labels.any():
        raise UserError(
            f"The scored frames of {dataset} are of one class only", f"{labels.sum()} of {len(labels)} are abnormal"
        )

    def paper(statistic: str) -> Roc:
        return roc(labels, np.concatenate([regularity(s.statistic_db(statistic)) for s, _ in clips]))

    def live(statistic: str) -> Roc:
        return roc(labels, np.concatenate([smoothed(s.statistic_db(statistic), decision.smoothing) for s, _ in clips]))

    hits = np.concatenate([_hits(scores, truth) for scores, truth in clips])
    return Evaluation(
        dataset=dataset,
        bundle=bundle,
        decision=decision,
        clips=tuple(_judge_clip(scores, truth, decision) for scores, truth in clips),
        paper=paper("frame"),
        live=live(decision.statistic),
        auc_paper_tile=paper("tile").auc,
        auc_live_frame=live("frame").auc,
        auc_live_tile=live("tile").auc,
        normal_hours=sum(float((~t.labels[s.frames]).sum()) * s.stride / s.fps for s, t in clips) / 3600,
        localised_frames=len(hits),
        localisation_hit_rate=float(hits.mean()) if len(hits) else None,
    )


def _judge_clip(scores: ClipScores, truth: ClipTruth, decision: Decision) -> ClipResult:
    score_db = smoothed(scores.statistic_db(decision.statistic), decision.smoothing)
    labels = truth.labels[scores.frames]
    events = events_of(scores, decision)
    # Stretches of scored frames: what begins in the last 7 frames of a clip cannot be found.
    abnormal = [(int(scores.frames[first]), int(scores.frames[last])) for first, last in stretches(labels)]

    def overlap(event: Event, stretch: tuple[int, int]) -> bool:
        return event.start_frame <= stretch[1] and stretch[0] <= event.end_frame

    within = np.zeros(len(labels), bool)
    for event in events:
        within |= (scores.frames >= event.start_frame) & (scores.frames <= event.end_frame)

    return ClipResult(
        name=scores.name,
        frames=scores.frames,
        score_db=score_db,
        labels=labels,
        events=tuple(events),
        auc=auc(labels, score_db),
        stretches=len(abnormal),
        found=sum(any(overlap(event, stretch) for event in events) for stretch in abnormal),
        false_alarms=sum(not any(overlap(event, stretch) for stretch in abnormal) for event in events),
        normal_in_events=int((within & ~labels).sum()),
    )


def _hits(scores: ClipScores, truth: ClipTruth) -> np.ndarray:
    """(K,) bool: over the abnormal frames with marked pixels, whether the peak found them."""
    if truth.distances is None:
        return np.zeros(0, bool)
    distances = truth.distances[truth.labels[scores.frames] & np.isfinite(truth.distances)]
    return distances <= NEAR * scores.size[0]
