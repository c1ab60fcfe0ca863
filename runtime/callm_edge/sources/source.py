"""What a source of frames is: the contract that the cascade reads from, whatever stands behind it."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One decoded picture.

    index: 0-based position in the source, counting frames that were dropped.
    time: seconds; position in the footage for recorded sources, Unix time of capture for live ones.
    image: (H, W, 3) BGR or (H, W) gray, uint8. The receiver must not write to it.
    """

    index: int
    time: float
    image: np.ndarray


class SourceState(enum.Enum):
    """Where a source stands.

    Legal ways: connecting -> live | ended, live -> stalled | ended, stalled -> connecting | live | ended.
    """

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    ENDED = "ended"


class Source(ABC):
    """An iterable of frames that is read once, from one thread.

    name: short text for people and events, never with a password in it.
    live: True when frames come at the camera's own pace and late ones are dropped; False when every frame is delivered.
    fps: nominal frames per second, or None while unknown.
    dropped: frames that the source discarded because the reader was late.
    """

    name: str
    live: bool = False
    fps: float | None = None
    dropped: int = 0
    state: SourceState = SourceState.CONNECTING

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the source ends. Raises SourceError where it cannot be opened or read."""

    @property
    def waiting(self) -> int:
        """Frames that are there already, behind the one the reader has: above 0 the reader of a live source is late."""
        return 0

    def close(self) -> None:  # noqa: B027 (a source without a handle has nothing to release)
        """Release the device or file. May be called from another thread to stop an iteration, and more than once."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
