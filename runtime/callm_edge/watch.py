"""Watching several cameras at once: a thread for each, so that a dead one never slows another."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from callm_edge.cascade import Camera, Found, ScoredFrame
from callm_edge.errors import UserError
from callm_edge.events.event import Event
from callm_edge.events.recording import Recording
from callm_edge.events.scene import SceneChange
from callm_edge.events.store import EventStore
from callm_edge.events.verdict import Verdict
from callm_edge.memory import peak_rss_mb
from callm_edge.stage2.branch import Branch
from callm_edge.stage2.verdict_queue import VerdictQueue
from callm_edge.stage2.worker import VerdictWorker

STOP_S = 5.0  # that an answer which is under way at the end may take
QUEUE = 64  # events under way from the cameras to the store; a full queue makes a camera wait

_Item = Found | SceneChange | UserError | BaseException | None  # None: the camera ended


@dataclass(frozen=True)
class Summary:
    """The last line of a run. fps: frames per second of all cameras; stage1_fps: windows per second of stage 1 time.

    given_up: events without a verdict, since a bound of the queue was reached or their clip found no room on the disk.
    """

    frames: int
    windows: int
    events: int
    verdicts: int
    dropped: int
    fps: float
    stage1_fps: float
    rss_mb: float
    seconds: float
    given_up: int = 0


class Report(Protocol):
    """Who is told: the terminal, a program that reads JSON lines, a sink; many at once are Reports."""

    def started(self, cameras: Sequence[Camera]) -> None: ...

    def event(self, event: Event) -> None: ...

    def verdict(self, verdict: Verdict) -> None: ...

    def scene(self, change: SceneChange) -> None: ...

    def failed(self, what: str, error: UserError) -> None:
        """A source, stage 2 or the event store gave up. what: its name."""

    def tick(self, cameras: Sequence[Camera], seconds: float) -> None:
        """Called a few times a second."""

    def finished(self, summary: Summary) -> None: ...


class Viewer(Protocol):
    """Who looks over the cameras' shoulders: the live page. Called in their threads; it must return at once."""

    def frame(self, camera: Camera, scored: ScoredFrame) -> None:
        """Every frame with its score."""

    def say(self, event_id: str, piece: str) -> None:
        """A piece of an explanation while stage 2 says it."""


class Watch:
    """Runs cameras until all ended and all is judged, or until stopped.

    record: folder for annotated video and plots, or None. open_branch: makes stage 2, which judges the events of all
    cameras, or None for none. verdict_queue: keeps what waits for it within bounds. viewer: see Viewer.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        store: EventStore,
        record: Path | None = None,
        open_branch: Callable[[], Branch] | None = None,
        verdict_queue: VerdictQueue | None = None,
        viewer: Viewer | None = None,
    ) -> None:
        self._cameras, self._store, self._record = tuple(cameras), store, record
        self._viewer = viewer
        self._out: queue.Queue[tuple[Camera, _Item]] = queue.Queue(QUEUE)
        # Not bounded: it holds verdicts of events that were reported already, and those are few.
        self._said: queue.SimpleQueue[Verdict | tuple[str, UserError]] = queue.SimpleQueue()
        self._worker = self._verdict_worker(open_branch) if open_branch else None
        self._verdict_queue = verdict_queue or VerdictQueue(store)
        self._verdicts = 0
        self._stop = False

    def stop(self) -> None:
        """End as at the end of the footage; may be called at any moment, also by a signal's handler.

        An exception from a handler could come up anywhere, as in the middle of a report, and cost what is open.
        """
        self._stop = True

    def run(self, report: Report) -> int:
        """Report until the end; returns how many sources failed.

        An event is in the store before it is reported. Where the store fails, that is reported first, and the event
        all the same: whoever hears of it is then the only one who knows.
        """
        began = time.monotonic()
        report.started(self._cameras)
        threads = [threading.Thread(target=self._watch, args=(camera,), daemon=True) for camera in self._cameras]
        for thread in threads:
            thread.start()
        if self._worker:
            self._worker.start()
        running, failed, stopping = len(threads), 0, False
        while running or not (stopping or self._all_judged()):
            try:
                camera, item = self._out.get(timeout=0.2 if running else 0.05)
                if item is None:
                    running -= 1
                elif isinstance(item, Found):
                    try:
                        self._keep(camera, item)
                    except UserError as error:
                        report.failed("the event store", error)
                    report.event(item.event)
                    self._bound_queue(report, added=True)
                elif isinstance(item, SceneChange):
                    report.scene(item)
                elif isinstance(item, UserError):
                    failed += 1
                    report.failed(camera.source.name, item)
                else:
                    raise item
            except queue.Empty:
                pass
            if self._stop and not stopping:
                # The open event and the recording are still written. Events that wait for a verdict stay in the store,
                # and the next run judges them.
                stopping = True
                for camera in self._cameras:
                    camera.source.close()
            self._pass_on(report)
            self._bound_queue(report)
            report.tick(self._cameras, time.monotonic() - began)
        if self._worker:
            self._worker.stop(timeout_s=STOP_S)
            self._pass_on(report)
        report.finished(self._summary(time.monotonic() - began))
        return failed

    def _verdict_worker(self, open_branch: Callable[[], Branch]) -> VerdictWorker:
        viewer = self._viewer
        return VerdictWorker(
            self._store,
            open_branch,
            self._said.put,
            lambda event_id, error: self._said.put((event_id, error)),
            viewer.say if viewer else lambda event_id, piece: None,
        )

    def _keep(self, camera: Camera, found: Found) -> None:
        wants_verdict = self._worker is not None and found.clip is not None
        self._store.add(found.event, found.thumbnail, camera.bundle, found.clip, wants_verdict)
        if wants_verdict and not self._store.pictures.clip(found.event.id).is_file():
            self._verdict_queue.given_up["disk"] += 1
        if self._worker:
            self._worker.notify()

    def _bound_queue(self, report: Report, added: bool = False) -> None:
        if self._worker is None:
            return
        try:
            for given_up in self._verdict_queue.tidy(added):
                report.failed("stage 2", given_up)
        except UserError as error:
            report.failed("the event store", error)

    def _all_judged(self) -> bool:
        return self._worker is None or (self._worker.idle and self._said.empty())

    def _pass_on(self, report: Report) -> None:
        while not self._said.empty():
            said = self._said.get()
            if isinstance(said, Verdict):
                self._verdicts += 1
                report.verdict(said)
            else:
                report.failed("stage 2", said[1])

    def _watch(self, camera: Camera) -> None:
        try:
            with camera.source, ExitStack() as stack:
                recording = None
                if self._record:
                    recording = stack.enter_context(Recording(self._record, camera.source, camera.decision))
                for item in camera:
                    if isinstance(item, SceneChange):
                        self._out.put((camera, item))
                    elif isinstance(item, Found):
                        self._out.put((camera, item))
                        if recording:
                            recording.event(item.event)
                    else:
                        if self._viewer:
                            self._viewer.frame(camera, item)
                        if recording:
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
            verdicts=self._verdicts,
            dropped=sum(camera.source.dropped for camera in self._cameras),
            fps=round(frames / seconds, 2) if seconds else 0.0,
            stage1_fps=round(windows / stage1, 2) if stage1 else 0.0,
            rss_mb=round(peak_rss_mb(), 1),
            seconds=round(seconds, 2),
            given_up=sum(self._verdict_queue.given_up.values()),
        )
