"""The last frames of a source in colour, kept in memory: what stage 2 and thumbnails see once an event is decided."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from callm_edge.events.clip import ClipFrame, Point
from callm_edge.sources.source import Frame

JPEG_QUALITY = 85


class EvidenceRing:
    """The last frames of one source as JPEG, bounded by count and by bytes; the oldest leave first.

    JPEG costs some quality and a millisecond per frame, but holds some 20 times more footage in the same memory.
    `add` and the readers may be called from different threads.

    frames: how many frames are kept at most, at least 1.
    max_bytes: how many bytes their JPEG data take at most, at least 1.
    evicted: frames that have left, for either reason.
    """

    def __init__(self, frames: int, max_bytes: int) -> None:
        if frames < 1 or max_bytes < 1:
            raise ValueError(f"an evidence ring needs room: frames={frames}, max_bytes={max_bytes}")
        self.frames, self.max_bytes, self.evicted = frames, max_bytes, 0
        self._frames: dict[int, ClipFrame] = {}  # insertion order is age
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def bytes(self) -> int:
        """Bytes of JPEG data held now."""
        return self._bytes

    def add(self, frame: Frame) -> None:
        """Keep `frame` and let go of the oldest until both bounds hold. An index that is already there is replaced."""
        import cv2

        done, encoded = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not done:
            raise ValueError(f"frame {frame.index} of shape {frame.image.shape} cannot be written as JPEG")
        jpeg = encoded.tobytes()
        with self._lock:
            before = self._frames.pop(frame.index, None)
            self._bytes += len(jpeg) - (len(before.jpeg) if before else 0)
            self._frames[frame.index] = ClipFrame(frame.index, frame.time, jpeg)
            while len(self._frames) > self.frames or self._bytes > self.max_bytes:
                self._bytes -= len(self._frames.pop(next(iter(self._frames))).jpeg)
                self.evicted += 1

    def note(self, index: int, score_db: float, peaks: tuple[Point, ...]) -> None:
        """Write down what stage 1 says of frame `index`, if it is still held: see ClipFrame."""
        with self._lock:
            if frame := self._frames.get(index):
                self._frames[index] = replace(frame, score_db=score_db, peaks=peaks)

    def get(self, index: int) -> np.ndarray | None:
        """(H, W, 3) uint8 BGR picture of frame `index`, or None where it has left or never came."""
        frame = self._frames.get(index)
        return None if frame is None else frame.image()

    def span(self, first: int, last: int) -> list[ClipFrame]:
        """The frames held from `first` to `last`, both included, in order of index."""
        with self._lock:
            held = [frame for index, frame in self._frames.items() if first <= index <= last]
        return sorted(held, key=lambda frame: frame.index)
