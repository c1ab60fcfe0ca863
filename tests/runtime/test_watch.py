"""Several cameras, each with a model and a decision of its own, into one store."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from callm_edge.bundle import Decision
from callm_edge.cascade import Camera, ScoredFrame
from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.events.event import Event
from callm_edge.events.pictures import NO_ROOM
from callm_edge.events.scene import SceneChange
from callm_edge.events.store import EventStore
from callm_edge.events.verdict import Verdict
from callm_edge.sources import Frame, Source
from callm_edge.stage1.scorer import WindowStream
from callm_edge.stage1.scores import Scores, psnr_db
from callm_edge.watch import Summary, Watch

DECISION = Decision(statistic="frame", threshold_psnr_db=20.0, smoothing=1, release_db=0.0, gap_s=0.2, minimum_s=0.1)


class Film(Source):
    def __init__(self, name: str) -> None:
        self.name, self.fps = name, 10.0

    def __iter__(self) -> Iterator[Frame]:
        for index in range(60):
            yield Frame(index, index / 10, np.full((48, 64, 3), 200 if 30 <= index < 40 else 50, np.uint8))


class Scorer:
    """Says of a bright frame that its PSNR is `bright_db`, and of every other that it is 30 dB."""

    name = "by brightness"

    def __init__(self, bright_db: float) -> None:
        self._bright_db = bright_db

    def stream(self) -> WindowStream:
        return WindowStream(self)

    def score(self, windows: np.ndarray) -> Scores:
        mse = np.array([4 / 10 ** ((self._bright_db if windows[0, 8, 0, 0] > 127 else 30.0) / 10)], np.float32)
        return Scores(mse, psnr_db(mse), mse, np.full((1, 128, 128), mse[0], np.float32))


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failures: list[tuple[str, str]] = []
        self.summary: Summary | None = None

    def started(self, cameras: Sequence[Camera]) -> None: ...

    def tick(self, cameras: Sequence[Camera], seconds: float) -> None: ...

    def verdict(self, verdict: Verdict) -> None: ...

    def event(self, event: Event) -> None:
        self.events.append(event)

    def scene(self, change: SceneChange) -> None: ...

    def failed(self, what: str, error: UserError) -> None:
        self.failures.append((what, error.what))

    def finished(self, summary: Summary) -> None:
        self.summary = summary


def test_each_camera_has_its_own_model_threshold_and_bundle(tmp_path: Path) -> None:
    stricter = DECISION.model_copy(update={"threshold_psnr_db": 25.0})
    cameras = [
        Camera(Film("gate"), Scorer(10.0), DECISION, bundle="day"),
        Camera(Film("yard"), Scorer(22.0), DECISION, bundle="day"),
        Camera(Film("roof"), Scorer(22.0), stricter, bundle="night"),
    ]
    heard = Heard()
    with EventStore(tmp_path) as store:
        assert Watch(cameras, store).run(heard) == 0
        assert {(stored.event.source, stored.bundle) for stored in store.list()} == {("gate", "day"), ("roof", "night")}
    assert {(event.source, event.threshold_psnr_db) for event in heard.events} == {("gate", 20.0), ("roof", 25.0)}
    assert heard.summary is not None
    assert (heard.summary.frames, heard.summary.events) == (180, 2)


def test_an_event_that_cannot_be_stored_is_reported_all_the_same(tmp_path: Path) -> None:
    heard = Heard()
    with EventStore(tmp_path) as store:
        (tmp_path / "clips").rmdir()
        (tmp_path / "clips").write_text("a file where the folder should be")
        assert Watch([Camera(Film("gate"), Scorer(10.0), DECISION)], store).run(heard) == 0
    assert [event.source for event in heard.events] == ["gate"]
    assert [what for what, _ in heard.failures] == ["the event store"]


def test_stopped_in_the_middle_of_a_report_it_still_reports_what_is_open(tmp_path: Path) -> None:
    class Endless(Film):
        closed = False

        def __iter__(self) -> Iterator[Frame]:
            while not self.closed:
                for frame in super().__iter__():
                    yield Frame(frame.index, frame.time, np.full((48, 64, 3), 200, np.uint8))
                    time.sleep(0.001)

        def close(self) -> None:
            self.closed = True

    class Stopping(Heard):
        def tick(self, cameras: Sequence[Camera], seconds: float) -> None:
            if cameras[0].active:
                # Where Ctrl-C and a service manager's stop arrive as they like.
                signal.raise_signal(signal.SIGTERM)

    heard = Stopping()
    with EventStore(tmp_path) as store:
        watch = Watch([Camera(Endless("gate"), Scorer(10.0), DECISION)], store)
        before = signal.signal(signal.SIGTERM, lambda number, frame: watch.stop())
        try:
            assert watch.run(heard) == 0
        finally:
            signal.signal(signal.SIGTERM, before)
        assert [one.event.source for one in store.list()] == ["gate"]
    assert [event.source for event in heard.events] == ["gate"]
    assert heard.summary is not None


class Looker:
    def __init__(self) -> None:
        self.frames: list[tuple[str, int]] = []
        self.said: list[tuple[str, str]] = []

    def frame(self, camera: Camera, scored: ScoredFrame) -> None:
        self.frames.append((camera.source.name, scored.frame.index))

    def say(self, event_id: str, piece: str) -> None:
        self.said.append((event_id, piece))


class Talker:
    name = "talker"

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        say("A bright ")
        say("light.")
        return Verdict(clip.event_id, True, 0.9, "A bright light.", self.name, "", {})

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        yield question


def test_events_without_room_for_their_clip_are_counted(tmp_path: Path) -> None:
    class Silent:
        name = "silent"

        def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
            raise AssertionError("there is nothing to judge")

        def ask(self, clip: Clip, question: str) -> Iterator[str]:
            raise AssertionError("nobody asks")

    heard = Heard()
    with EventStore(tmp_path) as store:
        store.pictures.keep_free_bytes = 1 << 62
        assert Watch([Camera(Film("gate"), Scorer(10.0), DECISION)], store, open_branch=Silent).run(heard) == 0
        assert [one.failed for one in store.list()] == [NO_ROOM]
    assert heard.summary is not None
    assert (heard.summary.events, heard.summary.given_up, heard.summary.verdicts) == (1, 1, 0)


def test_a_viewer_sees_every_scored_frame_and_hears_the_explanation_as_it_comes(tmp_path: Path) -> None:
    heard, viewer = Heard(), Looker()
    with EventStore(tmp_path) as store:
        Watch([Camera(Film("gate"), Scorer(10.0), DECISION)], store, open_branch=Talker, viewer=viewer).run(heard)
    assert viewer.frames == [("gate", index) for index in range(8, 53)]
    assert viewer.said == [(heard.events[0].id, "A bright "), (heard.events[0].id, "light.")]
