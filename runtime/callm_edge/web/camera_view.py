"""What the page shows of one camera: the newest frame, and the last scores. Nothing is encoded while nobody looks."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass

from callm_edge.cascade import Camera, ScoredFrame
from callm_edge.web.heat import heat_png

POINTS = 3000  # scores kept: two minutes at 25 frames per second
INTERVAL_S = 0.1  # between two pictures, for all who look together
WATCHED_S = 2.0  # who asked so recently still looks
WIDTH = 960  # pixels; wider pictures are scaled down
JPEG_QUALITY = 75

Point = tuple[float, float, int]


@dataclass(frozen=True)
class Picture:
    """index, time, score_db, flagged, active: of the frame. jpeg: of it; heat: of its error map, see heat_png."""

    index: int
    time: float
    score_db: float
    flagged: bool
    active: bool
    jpeg: bytes
    heat: bytes


class CameraView:
    """One slot for the newest frame, which the next replaces; a camera never waits for who looks.

    count: scores so far. encoded: pictures made. replaced: frames that came while somebody looked and were not shown,
    because the next was there first.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera, self.count, self.encoded, self.replaced = camera, 0, 0, 0
        self._points: deque[Point] = deque(maxlen=POINTS)
        self._latest: ScoredFrame | None = None
        self._shown = True  # the frame in the slot, or there is none
        self._watched_until = 0.0
        self._picture: Picture | None = None
        self._made_at = -math.inf
        self._lock = threading.Lock()  # of slot and points; held for microseconds, the camera's thread wants it
        self._encoding = threading.Lock()

    def put(self, scored: ScoredFrame) -> None:
        """Take the next frame; called in the camera's thread."""
        point = (
            round(scored.frame.time, 3),
            round(scored.score_db, 2) if math.isfinite(scored.score_db) else 0.0,
            scored.flagged + 2 * scored.event_active,
        )
        with self._lock:
            if not self._shown and time.monotonic() < self._watched_until:
                self.replaced += 1
            self._latest, self._shown = scored, False
            self._points.append(point)
            self.count += 1

    def points(self, after: int) -> tuple[list[Point], int]:
        """Scores behind the first `after`, as far as they are kept, and how many there were in all.

        A point is (seconds, dB, 1 if flagged + 2 if within an event).
        """
        with self._lock:
            new = min(self.count - after, len(self._points))
            return (list(self._points)[-new:] if new > 0 else []), self.count

    def picture(self, seen: int) -> Picture | None:
        """The newest picture, or None where it has the index `seen` or it is too early for the next."""
        with self._encoding:
            now = time.monotonic()
            with self._lock:
                self._watched_until = now + WATCHED_S
                due = now - self._made_at >= INTERVAL_S and not self._shown
                scored = self._latest
                if due:
                    self._shown = True
            if due and scored is not None:
                self._picture, self._made_at = self._encode(scored), now
                self.encoded += 1
        picture = self._picture
        return picture if picture is not None and picture.index != seen else None

    def _encode(self, scored: ScoredFrame) -> Picture:
        import cv2

        image = scored.frame.image
        height, width = image.shape[:2]
        if width > WIDTH:
            image = cv2.resize(image, (WIDTH, max(1, round(height * WIDTH / width))), interpolation=cv2.INTER_AREA)
        done, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not done:
            raise ValueError(f"frame {scored.frame.index} of shape {image.shape} cannot be written as JPEG")
        decision = self.camera.decision
        heat = heat_png(scored.error_map, decision.threshold_psnr_db, decision.statistic == "tile")
        score = scored.score_db if math.isfinite(scored.score_db) else 0.0
        return Picture(
            scored.frame.index, scored.frame.time, score, scored.flagged, scored.event_active, jpeg.tobytes(), heat
        )
