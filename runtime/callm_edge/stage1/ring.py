"""The last 16 frames of a camera, as one array without copying."""

from __future__ import annotations

import numpy as np

from callm_edge.stage1.ingest import SIZE

WINDOW = 16  # frames
SCORED = 8  # 0-based index of the scored frame in its window: the 9th


class MirroredRing:
    """A ring of 16 frames in 32 slots.

    Each frame is written at i and at i + 16, so the last 16 frames always lie one after another somewhere, and every
    window is a view:

        slots    0 .. i .. 15 | 16 .. i+16 .. 31
        window        i+1 ..........  i+16
    """

    def __init__(self, size: int = SIZE) -> None:
        self._slots = np.zeros((2 * WINDOW, size, size), np.uint8)
        self._next = 0
        self._filled = 0

    def push(self, frame: np.ndarray) -> None:
        """Add a (size, size) uint8 frame; the oldest leaves."""
        self._slots[self._next] = frame
        self._slots[self._next + WINDOW] = frame
        self._next = (self._next + 1) % WINDOW
        self._filled = min(self._filled + 1, WINDOW)

    def clear(self) -> None:
        """Forget all frames: after a gap in the footage no window may span it."""
        self._filled = 0

    def newest(self, age: int, count: int) -> np.ndarray:
        """`count` frames in a row, the first of them `age` pushes old (0 the newest), as a view like `window`'s."""
        first = self._next + WINDOW - 1 - age
        return self._slots[first : first + count]

    def window(self) -> np.ndarray | None:
        """The last 16 frames, oldest first, as a (16, size, size) view that the next push changes; None if fewer."""
        return self._slots[self._next : self._next + WINDOW] if self._filled == WINDOW else None
