"""What the page is told of a run: a sink that hears the events, and a viewer that sees every frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from callm_edge.sinks.sink import Sink, redact_text
from callm_edge.web.camera_view import CameraView
from callm_edge.web.journal import Journal
from callm_edge.web.machine import Machine

if TYPE_CHECKING:
    from callm_edge.cascade import Camera, ScoredFrame
    from callm_edge.errors import UserError
    from callm_edge.events.event import Event
    from callm_edge.events.scene import SceneChange
    from callm_edge.events.verdict import Verdict
    from callm_edge.watch import Summary

STATUS_S = 1.0


class Live(Sink):
    """See Sink and watch.Viewer. Everything is kept in bounded memory and read by whoever looks; nothing is sent.

    waiting_verdicts: how many events wait for stage 2. views: of the cameras; none over a stored database.
    running: a run is under way. closing: the server stops, streams are to end.
    """

    name = "web"

    def __init__(self, cameras: Sequence[Camera] = (), waiting_verdicts: Callable[[], int] = lambda: 0) -> None:
        self.views = [CameraView(camera) for camera in cameras]
        self.journal, self.running, self.closing = Journal(), bool(cameras), False
        self._view_of = {id(view.camera): view for view in self.views}
        self._waiting, self._machine = waiting_verdicts, Machine()
        self._lock = threading.Lock()
        self._status: dict[str, Any] = {}
        self._status_at = 0.0
        self._before: list[tuple[float, ...]] = []

    def frame(self, camera: Camera, scored: ScoredFrame) -> None:
        self._view_of[id(camera)].put(scored)

    def say(self, event_id: str, piece: str) -> None:
        self.journal.add("piece", {"event_id": event_id, "piece": piece})

    def event(self, event: Event) -> None:
        self.journal.add("event", asdict(event))

    def verdict(self, verdict: Verdict) -> None:
        self.journal.add("verdict", asdict(verdict))

    def scene(self, change: SceneChange) -> None:
        self.journal.add("scene", asdict(change))

    def failed(self, what: str, error: UserError) -> None:
        self.journal.add("failed", {"what": what, "why": redact_text(str(error))})

    def finished(self, summary: Summary) -> None:
        self.running = False
        self.journal.add("finished", asdict(summary))

    def close(self) -> None:
        self.closing = True

    def describe(self) -> list[dict[str, Any]]:
        """What does not change of each camera."""
        return [
            {
                "index": number,
                "name": view.camera.source.name,
                "bundle": view.camera.bundle,
                "threshold_psnr_db": round(view.camera.decision.threshold_psnr_db, 3),
                "statistic": view.camera.decision.statistic,
                "live": view.camera.source.live,
            }
            for number, view in enumerate(self.views)
        ]

    def status(self) -> dict[str, Any]:
        """Counts and states of now, made at most once a second whoever asks."""
        with self._lock:
            now = time.monotonic()
            if now - self._status_at >= STATUS_S:
                self._status = self._make_status(now - self._status_at)
                self._status_at = now
            return self._status

    def _make_status(self, seconds: float) -> dict[str, Any]:
        cameras: list[dict[str, Any]] = []
        readings: list[tuple[float, ...]] = []
        for number, view in enumerate(self.views):
            counts, source = view.camera.counts, view.camera.source
            behind = sum(counts.behind.counts)
            reading = (counts.frames, counts.windows, counts.stage1_seconds, behind, counts.behind.seconds)
            before = self._before[number] if self._before else reading
            frames, windows, stage1_s, late, late_s = (a - b for a, b in zip(reading, before, strict=True))
            readings.append(reading)
            cameras.append(
                {
                    "state": source.state.value,
                    "active": view.camera.active,
                    "frames": counts.frames,
                    "events": counts.events,
                    "dropped": source.dropped,
                    "unscored": counts.skipped,
                    "unshown": view.replaced,
                    "waiting": source.waiting,
                    "fps": round(frames / seconds, 1),
                    "stage1_ms": round(1000 * stage1_s / windows, 2) if windows else None,
                    "behind_ms": round(1000 * late_s / late, 1) if late else None,
                }
            )
        self._before = readings
        return {
            "running": self.running,
            "cameras": cameras,
            "verdicts_waiting": self._waiting(),
            "machine": self._machine.read(),
        }
