from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from callm_edge.errors import SourceError, UsageError
from callm_edge.sources import Frame, SourceState
from callm_edge.sources.backoff import Backoff
from callm_edge.sources.live import FeedLost, LiveSource

IMAGE = np.zeros((2, 2), np.uint8)
QUICK = Backoff(first_s=0.01, limit_s=0.02)


class ScriptedFeed:
    """Plays a list: a number is a frame with that time, an exception is raised, None is a proper end."""

    def __init__(self, script: list[float | Exception | None], live: bool, played: threading.Event) -> None:
        self.live = live
        self.fps: float | None = 10.0
        self.closed = 0
        self._script = iter(script)
        self._played = played

    def read(self) -> Frame | None:
        step = next(self._script, None)
        if step is None:
            self._played.set()
            return None
        if isinstance(step, Exception):
            raise step
        return Frame(-1, step, IMAGE)

    def close(self) -> None:
        self.closed += 1


class Scripted(LiveSource):
    """Each connection is the next script; an exception in place of a script is a connection that fails."""

    def __init__(
        self,
        *connections: list[float | Exception | None] | Exception,
        live: bool = True,
        buffer_frames: int = 4,
        max_attempts: int | None = None,
    ) -> None:
        super().__init__(
            "scripted", live=live, buffer_frames=buffer_frames, backoff=QUICK, max_attempts=max_attempts, stall_s=0.1
        )
        self.feeds: list[ScriptedFeed] = []
        self.played = threading.Event()
        self._connections = iter(connections)

    def _connect(self) -> ScriptedFeed:
        connection = next(self._connections)
        if isinstance(connection, Exception):
            raise connection
        self.feeds.append(ScriptedFeed(connection, self.live, self.played))
        return self.feeds[-1]


def test_a_late_reader_of_a_live_feed_gets_the_newest_frames_and_the_count_of_the_rest() -> None:
    source = Scripted([float(i) for i in range(100)], buffer_frames=3)
    frames = iter(source)
    first = next(frames)
    assert source.played.wait(5)
    rest = list(frames)
    assert [f.time for f in [first, *rest][-3:]] == [97, 98, 99]
    # Indices count dropped frames, so they still tell the place in the source.
    assert [f.index for f in rest] == [int(f.time) for f in rest]
    assert source.dropped == 100 - 1 - len(rest) > 0
    assert first.index == first.time
    assert source.fps == 10


def test_a_feed_that_is_not_live_waits_for_a_late_reader() -> None:
    source = Scripted([float(i) for i in range(50)], live=False, buffer_frames=2)
    times: list[float] = []
    for frame in source:
        times.append(frame.time)
        time.sleep(0.001)
    assert times == list(range(50))
    assert source.dropped == 0
    assert source.state is SourceState.ENDED


def test_a_lost_connection_is_made_again_and_each_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "callm_edge")
    source = Scripted(
        [0, FeedLost("cable")], FeedLost("no route"), FeedLost("no route"), [1, FeedLost("cable")], [2, None]
    )
    assert [(f.index, f.time) for f in source] == [(0, 0), (1, 1), (2, 2)]
    assert [feed.closed for feed in source.feeds] == [1, 1, 1]
    changes = [r.message for r in caplog.records if r.name == "callm_edge.sources"]
    life = ["scripted: live", "scripted: stalled (cable)", "scripted: connecting"]
    assert changes == [*life, *life, "scripted: live", "scripted: ended"]
    assert sum("no connection" in r.message for r in caplog.records) == 1


def test_attempts_can_be_limited() -> None:
    source = Scripted(*[FeedLost("no route")] * 9, max_attempts=3)
    with pytest.raises(SourceError, match=r"No connection to scripted after 3 attempts: no route"):
        list(source)
    assert source.state is SourceState.ENDED
    revived = Scripted(FeedLost("x"), [0, FeedLost("x")], FeedLost("x"), FeedLost("y"), max_attempts=2)
    times: list[float] = []
    with pytest.raises(SourceError, match="after 2 attempts: y"):
        times.extend(f.time for f in revived)
    with pytest.raises(ValueError, match="at least 1"):
        Scripted(max_attempts=0)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (SourceError("The lens is off"), SourceError, "The lens is off"),
        (UsageError("No such thing"), UsageError, "No such thing"),
        (ZeroDivisionError("by zero"), SourceError, "scripted failed while it was read: ZeroDivisionError: by zero"),
    ],
)
def test_an_error_of_the_reader_thread_comes_after_the_good_frames(
    error: Exception, kind: type[Exception], says: str
) -> None:
    source = Scripted([0, 1, error])
    times: list[float] = []

    def read() -> None:
        for frame in source:
            times.append(frame.time)

    with pytest.raises(kind, match=says):
        read()
    assert times == [0, 1]
    assert source.state is SourceState.ENDED
    assert source.feeds[0].closed == 1


class Hanging(LiveSource):
    """Gives one frame, then hangs until released."""

    def __init__(self) -> None:
        super().__init__("hanging", backoff=QUICK, stall_s=0.05)
        self.release = threading.Event()
        self.live, self.fps = True, None
        self.reads = 0

    def _connect(self) -> Hanging:
        return self

    def read(self) -> Frame | None:
        self.reads += 1
        if self.reads > 1:
            self.release.wait(10)
        return Frame(0, 0.0, IMAGE)


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_silence_is_a_stall_and_the_next_frame_ends_it() -> None:
    source = Hanging()
    frames: Iterator[Frame] = iter(source)
    next(frames)
    reader = threading.Thread(target=next, args=(frames,))
    reader.start()
    assert eventually(lambda: source.state is SourceState.STALLED)
    source.release.set()
    reader.join(5)
    assert source.state is SourceState.LIVE
    source.close()


def test_close_from_another_thread_ends_a_waiting_iteration_at_once() -> None:
    source = Hanging()
    seen: list[Frame] = []
    reader = threading.Thread(target=lambda: seen.extend(source))
    reader.start()
    assert eventually(lambda: len(seen) == 1 or source.reads == 2)
    start = time.monotonic()
    closer = threading.Thread(target=source.close)
    closer.start()
    reader.join(5)
    assert not reader.is_alive()
    assert time.monotonic() - start < 2.5
    source.release.set()
    closer.join(5)
    assert source.state is SourceState.ENDED
    source.close()


def test_close_during_the_wait_between_attempts() -> None:
    source = Scripted(*[FeedLost("no route")] * 9)
    source._backoff = Backoff(first_s=60, limit_s=60)
    reader = threading.Thread(target=lambda: list(source))
    reader.start()
    time.sleep(0.05)
    source.close()
    reader.join(2)
    assert not reader.is_alive()


def test_closed_before_it_was_read_and_read_twice() -> None:
    source = Scripted([0.0])
    source.close()
    assert list(source) == []
    with pytest.raises(RuntimeError, match="open the source again"):
        iter(source)


def test_leaving_the_loop_stops_the_reader_thread() -> None:
    source = Scripted([float(i) for i in range(1000)], live=False)
    with source:
        for _ in source:
            break
    thread = source._thread
    assert thread is not None
    assert eventually(lambda: not thread.is_alive())
    assert source.feeds[0].closed == 1
