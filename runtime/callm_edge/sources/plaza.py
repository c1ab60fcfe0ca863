"""The synthetic plaza as a source, with its ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callm_edge.sources.live import Feed, LiveSource
from callm_edge.sources.paced import PacedFeed
from callm_edge.sources.source import Frame

if TYPE_CHECKING:
    from callm_edge.plaza import Plaza, Truth


@dataclass(frozen=True)
class PlazaFrame(Frame):
    """A frame that knows what can be seen in it."""

    truth: Truth


class PlazaSource(LiveSource):
    """``seconds`` of the plaza.

    seed, anomalies: which day it is, and what goes wrong on it; the same values give the same frames.
    realtime: play it like a camera: ``live``, at its own pace, late frames dropped. Otherwise every frame is delivered
        as fast as it is drawn; drawing goes on in a thread of its own while the reader works.

    Each frame is a PlazaFrame. Raises UsageError for an anomaly that there is none of.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        anomalies: Sequence[str] = (),
        seconds: float = 60.0,
        realtime: bool = False,
        name: str = "test:plaza",
    ) -> None:
        super().__init__(name, live=realtime)
        # Only here: drawing needs OpenCV, and a device with a camera draws nothing.
        from callm_edge.plaza import Plaza

        self.plaza = Plaza(seed, anomalies, seconds)
        self.fps = float(self.plaza.fps)

    def _connect(self) -> Feed:
        frames = _drawn(self.plaza)
        return PacedFeed(frames, self.fps, self._stop) if self.live else _DrawnFeed(frames, self.fps)


class _DrawnFeed:
    live = False

    def __init__(self, frames: Iterator[Frame], fps: float | None) -> None:
        self.fps = fps
        self._frames = frames

    def read(self) -> Frame | None:
        return next(self._frames, None)

    def close(self) -> None:
        self._frames = iter(())


def _drawn(plaza: Plaza) -> Iterator[Frame]:
    for index, (image, truth) in enumerate(plaza):
        yield PlazaFrame(index, index / plaza.fps, image, truth)
