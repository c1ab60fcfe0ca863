"""The last frames of a source in colour, kept in memory: what stage 2 and thumbnails see once an event is decided."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

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
        self._jpegs: dict[int, bytes] = {}  # insertion order is age
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._jpegs)

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
            self._bytes += len(jpeg) - len(self._jpegs.pop(frame.index, b""))
            self._jpegs[frame.index] = jpeg
            while len(self._jpegs) > self.frames or self._bytes > self.max_bytes:
                self._bytes -= len(self._jpegs.pop(next(iter(self._jpegs))))
                self.evicted += 1

    def get(self, index: int) -> np.ndarray | None:
        """(H, W, 3) uint8 BGR picture of frame `index`, or None where it has left or never came."""
        jpeg = self._jpegs.get(index)
        return None if jpeg is None else _decode(jpeg)

    def span(self, first: int, last: int) -> Iterator[tuple[int, np.ndarray]]:
        """(index, (H, W, 3) uint8 BGR) of the frames held from `first` to `last`, both included, in order of index.

        The stretch is fixed at the call, so that frames which leave meanwhile are still given; each is decoded when
        it is asked for, so that a long event never stands in memory as raw pictures.
        """
        with self._lock:
            held = sorted((index, jpeg) for index, jpeg in self._jpegs.items() if first <= index <= last)
        return ((index, _decode(jpeg)) for index, jpeg in held)


def _decode(jpeg: bytes) -> np.ndarray:
    import cv2

    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None, "the ring only holds what imencode wrote"
    return image
