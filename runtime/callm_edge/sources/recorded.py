"""Sources whose frames lie ready: every one is delivered, in the thread that asks."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Generator, Iterator

from callm_edge.sources.source import Frame, Source, SourceState
from callm_edge.sources.states import enter


class RecordedSource(Source):
    """Base of files and folders: a subclass yields its frames from ``_read``, and frees what it holds at its end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._stop = threading.Event()
        self._started = False

    @abstractmethod
    def _read(self) -> Generator[Frame, None, None]:
        """Open, yield every frame, release. Raises SourceError."""

    def __iter__(self) -> Iterator[Frame]:
        if self._started:
            raise RuntimeError(f"{self.name} was read already; open the source again")
        self._started = True
        return self._deliver()

    def _deliver(self) -> Iterator[Frame]:
        frames = self._read()
        try:
            while not self._stop.is_set():
                frame = next(frames, None)
                if frame is None:
                    return
                enter(self, SourceState.LIVE)
                yield frame
        finally:
            frames.close()
            enter(self, SourceState.ENDED)

    def close(self) -> None:
        # The file itself is released by the iterating thread: a decoder may not be freed while another thread is in it.
        self._stop.set()
        if not self._started:
            enter(self, SourceState.ENDED)
