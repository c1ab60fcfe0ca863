"""What every way of computing stage 1 is: a backend opens a stream for each camera, which scores its frames."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from callm_edge.stage1.scores import Scores


class Stream(Protocol):
    """One camera's frames on their way through a backend. Used by one thread at a time."""

    def push(self, image: np.ndarray) -> None:
        """Add a decoded picture, (H, W, 3) BGR or (H, W) gray, uint8. Cheap where no score is asked for."""
        ...

    def score(self) -> Scores | None:
        """Scores (B = 1) of the last 16 frames; None where fewer came since the start or the last `clear`."""
        ...

    def clear(self) -> None:
        """Forget all frames: after a gap in the footage no window may span it."""
        ...


class Backend(Protocol):
    """name: with version and precision, as calibration records it. Streams of one backend may run in parallel."""

    name: str

    def stream(self) -> Stream:
        """A new stream, empty."""
        ...
