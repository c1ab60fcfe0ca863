"""Watching several cameras at once: a thread for each, so that a dead one never slows another."""

from __future__ import annotations

import queue
import resource
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from callm_edge.bundle import Decision
from callm_edge.cascade import Camera, Found
from callm_edge.errors import UserError
from callm_edge.events.event import Event
from callm_edge.events.recording import Recording
from callm_edge.events.store import EventStore
from callm_edge.sources import Source
from callm_edge.stage1.backend import Backend

QUEUE = 64  # events under way from the cameras to the store; a full queue makes a camera wait


@dataclass(frozen=True)
class Summary:
    """The last line of a run. fps: frames per second of all cameras; stage1_fps: windows per second of stage 1 time."""

    frames: int
    windows: int
    events: int
    verdicts: int
    dropped: int
    fps: float
    stage1_fps: float
    rss_mb: float
    seconds: float


class Report(Protocol):
    """Who is told: the terminal, or a program that reads JSON lines."""

    def started(self, cameras: Sequence[Camera], bundle: str) -> None: ...

    def event(self, event: Event) -> None: ...

    def failed(self, source: Source, error: UserError) -> None: ...

    def tick(self, cameras: Sequence[Camera], seconds: float) -> None:
        """Called a few times a second."""

    def finished(self, summary: Summary) -> None: ...


class Watch:
    """Runs the cascade over sources until all ended, or until interrupted.

    record: folder for annotated video and plots, or None.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        backend: Backend,
        bundle: str,
        decision: Decision,
        store: EventStore,
        record: Path | None = None,
        stride: int = 1,
    ) -> None:
        self._cameras = [Camera(source, backend, decision, stride) for source in sources]
        self._bundle, self._store, self._record = bundle, store, record
        self._out: queue.Queue[tuple[Camera, Found | UserError | BaseException | None]] = queue.Queue(QUEUE)

    def run(self, report: Report) -> int:
        """Report until the end; returns how many sources failed. An event is in the store before it is reported."""
        began = time.monotonic()
        report.started(self._cameras, self._bundle)
        threads = [threading.Thread(target=self._watch, args=(camera,), daemon=True) for camera in self._cameras]
        for thread in threads:
            thread.start()
        running, failed = len(threads), 0
        while running:
            try:
                camera, item = self._out.get(timeout=0.2)
                if item is None:
                    running -= 1
                elif isinstance(item, Found):
                    self._store.add(item.event, item.thumbnail, self._bundle)
                    report.event(item.event)
                elif isinstance(item, UserError):
                    failed += 1
                    report.failed(camera.source, item)
                else:
                    raise item
            except queue.Empty:
                pass
            except KeyboardInterrupt:
                # The cameras end as at the end of footage: the open event and the recording are still written.
                for camera in self._cameras:
                    camera.source.close()
            report.tick(self._cameras, time.monotonic() - began)
        report.finished(self._summary(time.monotonic() - began))
        return failed

    def _watch(self, camera: Camera) -> None:
        try:
            with camera.source, ExitStack() as stack:
                recording = None
                if self._record:
                    recording = stack.enter_context(Recording(self._record, camera.source, camera.decision))
                for item in camera:
                    if isinstance(item, Found):
                        self._out.put((camera, item))
                        if recording:
                            recording.event(item.event)
                    elif recording:
                        recording.frame(item)
        except BaseException as error:  # to be raised, or reported, by the thread that the user sees
            self._out.put((camera, error))
        finally:
            self._out.put((camera, None))

    def _summary(self, seconds: float) -> Summary:
        counts = [camera.counts for camera in self._cameras]
        frames, windows = sum(c.frames for c in counts), sum(c.windows for c in counts)
        stage1 = sum(c.stage1_seconds for c in counts)
        return Summary(
            frames=frames,
            windows=windows,
            events=sum(c.events for c in counts),
            verdicts=0,
            dropped=sum(camera.source.dropped for camera in self._cameras),
            fps=round(frames / seconds, 2) if seconds else 0.0,
            stage1_fps=round(windows / stage1, 2) if stage1 else 0.0,
            rss_mb=round(_peak_rss_mb(), 1),
            seconds=round(seconds, 2),
        )


def _peak_rss_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # bytes there, KiB on Linux
