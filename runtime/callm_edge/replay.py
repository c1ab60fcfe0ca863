"""A recorded event once more through stage 1, with any bundle: what another model or threshold would have said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from callm_edge.bundle import Decision
from callm_edge.cascade import Camera, Found, ScoredFrame
from callm_edge.decision.box import peak_points
from callm_edge.events.clip import Clip
from callm_edge.events.event import Event
from callm_edge.sources import Frame, Source
from callm_edge.stage1.backend import Backend


class ClipSource(Source):
    """The frames of a clip, with the indices and times they had."""

    def __init__(self, clip: Clip, name: str) -> None:
        self.name, self._clip = name, clip
        steps = np.diff([frame.time for frame in clip.frames])
        between = float(np.median(steps)) if len(steps) else 0.0
        self.fps = 1 / between if between > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._clip.frames:
            yield Frame(frame.index, frame.time, frame.image())


@dataclass(frozen=True)
class Replayed:
    """What came out. All scores are smoothed, in dB, as the threshold takes them.

    clip: with the new scores and peaks. events: found now. compared: frames with a score then and now; not the first,
    while the smoothing fills. recorded_db, replayed_db: (compared,) float64.
    """

    clip: Clip
    events: tuple[Event, ...]
    threshold_psnr_db: float
    recorded_threshold_psnr_db: float
    recorded_db: np.ndarray
    replayed_db: np.ndarray

    @property
    def compared(self) -> int:
        return len(self.recorded_db)

    @property
    def flagged(self) -> tuple[int, int]:
        """Of the compared frames: flagged then, flagged now."""
        then, now = self._flags()
        return int(then.sum()), int(now.sum())

    @property
    def flips(self) -> int:
        """Compared frames that are flagged in one and not in the other."""
        then, now = self._flags()
        return int((then != now).sum())

    def to_json(self) -> dict[str, Any]:
        """For programs; numbers of nothing are None."""
        difference = self.replayed_db - self.recorded_db
        some = self.compared > 0
        return {
            "frames": len(self.clip.frames),
            "compared": self.compared,
            "mean_diff_db": round(float(difference.mean()), 4) if some else None,
            "max_abs_diff_db": round(float(np.abs(difference).max()), 4) if some else None,
            "flagged_then": self.flagged[0],
            "flagged_now": self.flagged[1],
            "flips": self.flips,
            "lowest_then_db": round(float(self.recorded_db.min()), 3) if some else None,
            "lowest_now_db": round(float(self.replayed_db.min()), 3) if some else None,
            "threshold_then_db": self.recorded_threshold_psnr_db,
            "threshold_now_db": round(self.threshold_psnr_db, 3),
            "events": [[event.start_frame, event.end_frame] for event in self.events],
        }

    def _flags(self) -> tuple[np.ndarray, np.ndarray]:
        return self.recorded_db < self.recorded_threshold_psnr_db, self.replayed_db < self.threshold_psnr_db


def replay(clip: Clip, backend: Backend, decision: Decision, bundle_hash: str = "", name: str = "replay") -> Replayed:
    """Score `clip` again. Raises UserError where a picture of it is damaged."""
    events: list[Event] = []
    fresh: dict[int, ScoredFrame] = {}
    for item in Camera(ClipSource(clip, name), backend, decision, 1, bundle_hash):
        if isinstance(item, Found):
            events.append(item.event)
        elif isinstance(item, ScoredFrame):
            fresh[item.frame.index] = item
    frames = []
    for frame in clip.frames:
        scored = fresh.get(frame.index)
        if scored is None:
            frames.append(replace(frame, score_db=None, peaks=()))
            continue
        size = scored.frame.image.shape[1], scored.frame.image.shape[0]
        frames.append(replace(frame, score_db=scored.score_db, peaks=peak_points(scored.error_map, size)))
    settled = list(fresh)[decision.smoothing - 1 :]
    then = {frame.index: frame.score_db for frame in clip.frames if frame.score_db is not None}
    both = [index for index in settled if index in then]
    return Replayed(
        replace(clip, bundle_hash=bundle_hash, threshold_psnr_db=decision.threshold_psnr_db, frames=tuple(frames)),
        tuple(events),
        decision.threshold_psnr_db,
        clip.threshold_psnr_db,
        np.array([then[index] for index in both], np.float64),
        np.array([fresh[index].score_db for index in both], np.float64),
    )
