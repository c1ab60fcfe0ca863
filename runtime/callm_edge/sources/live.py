"""Frames that come whether or not anybody is ready: a reader thread, a bounded buffer, and reconnection.

Cameras, streams and everything played at a camera's pace are LiveSources; each only says how to connect.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from callm_edge.errors import SourceError, UserError
from callm_edge.sources.backoff import Backoff
from callm_edge.sources.source import Frame, Source, SourceState
from callm_edge.sources.states import enter

_logger = logging.getLogger(__name__)


class FeedLost(Exception):  # noqa: N818 (it is the end of a connection, and only LiveSource ever sees it)
    """The connection is gone, or could not be made, and it is worth trying again. The text says why."""


class Feed(Protocol):
    """One connection. Used and closed by the reader thread alone.

    live: True when late frames are dropped; False when the feed waits for the reader.
    fps: nominal frames per second, or None while unknown.
    """

    live: bool
    fps: float | None

    def read(self) -> Frame | None:
        """The next frame (its index is set later), or None at a proper end. Raises FeedLost or SourceError."""

    def close(self) -> None:
        """Release the connection."""


class LiveSource(Source):
    """A source with a thread of its own.

    buffer_frames: frames held for the reader at most. When it is full, a live feed drops the oldest and counts it in
        ``dropped``; any other feed waits.
    backoff: waits between connection attempts.
    max_attempts: connections that may fail in a row before SourceError; None tries for ever.
    stall_s: seconds without a frame after which the state is ``stalled`` although the connection stands.
    """

    def __init__(
        self,
        name: str,
        *,
        live: bool = True,
        buffer_frames: int = 4,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        stall_s: float = 2.0,
    ) -> None:
        if buffer_frames < 1 or (max_attempts is not None and max_attempts < 1):
            raise ValueError("buffer_frames and max_attempts must be at least 1")
        self.name = name
        self.live = live
        self._buffer_frames = buffer_frames
        self._backoff = backoff or Backoff()
        self._max_attempts = max_attempts
        self._stall_s = stall_s

        self._buffer: deque[Frame] = deque()
        self._changed = threading.Condition()  # guards everything below, and the state
        self._captured = 0
        self._finished = False
        self._error: UserError | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _connect(self) -> Feed:
        """Make one connection, in the reader thread. FeedLost: another attempt may help; SourceError: none will."""

    @property
    def waiting(self) -> int:
        return len(self._buffer)

    # The iterating thread

    def __iter__(self) -> Iterator[Frame]:
        with self._changed:
            if self._thread is not None:
                raise RuntimeError(f"{self.name} was read already; open the source again")
            self._thread = threading.Thread(target=self._pump, name=f"source {self.name}", daemon=True)
            if not self._stop.is_set():
                self._thread.start()
        return self._deliver()

    def _deliver(self) -> Iterator[Frame]:
        try:
            while (frame := self._take()) is not None:
                yield frame
        finally:
            self.close()

    def _take(self) -> Frame | None:
        with self._changed:
            while not (self._buffer or self._finished or self._stop.is_set()):
                watching = self.state is SourceState.LIVE
                woken = self._changed.wait(self._stall_s if watching else None)
                if not woken and self.state is SourceState.LIVE and not self._buffer:
                    enter(self, SourceState.STALLED, f"no frame for {self._stall_s:g} s")
            if self._stop.is_set():
                return None
            if self._buffer:
                self._changed.notify_all()
                return self._buffer.popleft()
            if self._error is not None:
                raise self._error
            return None

    def close(self) -> None:
        with self._changed:
            self._stop.set()
            self._buffer.clear()
            enter(self, SourceState.ENDED)
            self._changed.notify_all()
            thread = self._thread
        # The reader may sit in a system call with a timeout of seconds; nobody should wait for that, it frees its
        # connection when it comes back.
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(timeout=1.0)

    # The reader thread

    def _pump(self) -> None:
        error: UserError | None = None
        try:
            self._read_until_end()
        except UserError as caught:
            error = caught
        except Exception as caught:
            error = SourceError(f"{self.name} failed while it was read", f"{type(caught).__name__}: {caught}")
            error.__cause__ = caught
        with self._changed:
            self._error, self._finished = error, True
            self._changed.notify_all()

    def _read_until_end(self) -> None:
        failures = 0
        while not self._stop.is_set():
            before = self._captured
            lost = self._read_one_connection()
            if lost is None:
                return
            if self._captured > before:
                failures = 0
                self._enter(SourceState.STALLED, lost)
            else:
                failures += 1
                # Each further failure says the same; a camera that is away for a week must not fill the log.
                level = logging.WARNING if failures == 1 else logging.DEBUG
                _logger.log(level, "%s: no connection (%s), trying again", self.name, lost)
            if self._max_attempts is not None and failures >= self._max_attempts:
                raise SourceError(
                    f"No connection to {self.name} after {failures} attempt{'s' if failures > 1 else ''}",
                    lost,
                    "Check that it is switched on and reachable from this machine",
                )
            self._stop.wait(self._backoff.delay_s(failures))
            if self.state is SourceState.STALLED:
                self._enter(SourceState.CONNECTING)

    def _read_one_connection(self) -> str | None:
        """Why the connection was lost, or None when there is nothing more to read."""
        feed: Feed | None = None
        try:
            feed = self._connect()
            with self._changed:
                self.live = feed.live
                self.fps = feed.fps or self.fps
            while not self._stop.is_set():
                frame = feed.read()
                if frame is None:
                    return None
                self._offer(frame, drop_oldest=feed.live)
        except FeedLost as lost:
            return str(lost)
        finally:
            if feed is not None:
                feed.close()
        return None

    def _offer(self, frame: Frame, drop_oldest: bool) -> None:
        with self._changed:
            if drop_oldest:
                if len(self._buffer) >= self._buffer_frames:
                    self._buffer.popleft()
                    self.dropped += 1
            else:
                self._changed.wait_for(lambda: len(self._buffer) < self._buffer_frames or self._stop.is_set())
            if self._stop.is_set():
                return
            self._buffer.append(dataclasses.replace(frame, index=self._captured))
            self._captured += 1
            enter(self, SourceState.LIVE)
            self._changed.notify_all()

    def _enter(self, state: SourceState, why: str = "") -> None:
        with self._changed:
            if not self._stop.is_set():
                enter(self, state, why)
