"""A recording played at its own pace, as if a camera were filming it now."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator

from callm_edge.sources.live import LiveSource
from callm_edge.sources.source import Frame, Source


class PacedFeed:
    """Holds each frame back until its media time has come, and stamps it with the time of day.

    frames: what to play. fps: its nominal rate, or None. stop: set to wake a waiting ``read``.
    """

    live = True

    def __init__(self, frames: Iterator[Frame], fps: float | None, stop: threading.Event) -> None:
        self.fps = fps
        self._frames = frames
        self._stop = stop
        self._offset: float | None = None  # monotonic clock minus media time

    def read(self) -> Frame | None:
        frame = next(self._frames, None)
        if frame is None:
            return None
        if self._offset is None:
            self._offset = time.monotonic() - frame.time
        if self._stop.wait(max(0.0, self._offset + frame.time - time.monotonic())):
            return None
        return dataclasses.replace(frame, time=time.time())

    def close(self) -> None:
        self._frames = iter(())


class PacedSource(LiveSource):
    """``recorded`` played in real time: ``live``, with late frames dropped and counted."""

    def __init__(self, recorded: Source) -> None:
        super().__init__(recorded.name)
        self.fps = recorded.fps
        self._recorded = recorded

    def _connect(self) -> PacedFeed:
        frames = iter(self._recorded)
        # A video tells its rate only once it is open.
        first = list(itertools.islice(frames, 1))
        return PacedFeed(itertools.chain(first, frames), self._recorded.fps, self._stop)

    def close(self) -> None:
        self._recorded.close()
        super().close()
