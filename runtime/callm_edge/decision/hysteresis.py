"""Scores -> events: smoothing, threshold, and hysteresis."""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass

import numpy as np

from callm_edge.bundle import Decision
from callm_edge.decision.box import peak_box
from callm_edge.events.event import Event


class Smoother:
    """Causal moving average over the last n scores (in dB); the first scores are averaged over what there is."""

    def __init__(self, length: int) -> None:
        self._last: deque[float] = deque(maxlen=length)

    def push(self, score_db: float) -> float:
        self._last.append(score_db)
        return sum(self._last) / len(self._last)


def smoothed(scores_db: np.ndarray, length: int) -> np.ndarray:
    """The same for a whole trace at once: (N,) -> (N,) float64."""
    total = np.concatenate([[0.0], np.cumsum(scores_db, dtype=np.float64)])
    end = np.arange(1, len(scores_db) + 1)
    start = np.maximum(end - length, 0)
    return (total[end] - total[start]) / (end - start)


@dataclass(frozen=True)
class Scored:
    """One scored frame.

    score_db: the smoothed statistic; error_map: (128, 128) float32 or None; size: (width, height) of the picture.
    """

    frame: int
    time: float
    score_db: float
    error_map: np.ndarray | None = None
    size: tuple[int, int] = (256, 256)


class Hysteresis:
    """Merges flags into events, one camera at a time.

    A frame below `threshold_psnr_db` is flagged and starts an event; while one is open, frames below threshold +
    `release_db` keep it open. It ends when no frame kept it open for `gap_s`; its last frame is the last that did. An
    event with less than `minimum_s` of frames that kept it open is dropped; one of `maximum_s` ends, and what is still
    below the threshold then begins the next. fps: of the source; stride: only every n-th frame of it is scored.
    """

    def __init__(self, decision: Decision, source: str, fps: float, stride: int = 1) -> None:
        self._decision, self._source = decision, source
        self._gap = max(stride, round(decision.gap_s * fps))
        self._minimum = max(1, round(decision.minimum_s * fps / stride))
        self._maximum = max(self._minimum * stride, round(decision.maximum_s * fps))
        self._first: Scored | None = None
        self._last: Scored | None = None
        self._peak: Scored | None = None
        self._kept = 0

    @property
    def active(self) -> bool:
        """Whether an event is open and long enough to count."""
        return self._first is not None and self._kept >= self._minimum

    def push(self, scored: Scored) -> Event | None:
        """Take the next scored frame; returns the event that it ends, if any."""
        ended = None
        if self._first is not None and self._last is not None:
            silent = scored.frame - self._last.frame > self._gap + 1
            if silent or scored.frame - self._first.frame >= self._maximum:
                ended = self.finish()
        limit = self._decision.threshold_psnr_db + (self._decision.release_db if self._first else 0.0)
        if scored.score_db < limit:
            if self._first is None:
                self._first, self._peak, self._kept = scored, scored, 0
            self._last = scored
            self._kept += 1
            if self._peak is None or scored.score_db < self._peak.score_db:
                self._peak = scored
        return ended

    def finish(self) -> Event | None:
        """End the open event, as at the end of the footage; returns it if it is long enough."""
        first, last, peak, kept = self._first, self._last, self._peak, self._kept
        self._first = self._last = self._peak = None
        self._kept = 0
        if first is None or last is None or peak is None or kept < self._minimum:
            return None
        box = peak_box(peak.error_map, peak.size) if peak.error_map is not None else (0, 0, *peak.size)
        return Event(
            id=uuid.uuid4().hex,
            source=self._source,
            start_frame=first.frame,
            end_frame=last.frame,
            peak_frame=peak.frame,
            start_time=first.time,
            end_time=last.time,
            peak_psnr_db=round(peak.score_db, 3),
            threshold_psnr_db=round(self._decision.threshold_psnr_db, 3),
            box=box,
        )
