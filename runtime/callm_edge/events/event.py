"""An event: neighbouring flags merged into one stretch of footage."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from callm_edge.events.scene import NORMAL


@dataclass(frozen=True)
class Event:
    """A stretch of footage whose windows passed the threshold.

    start_frame, end_frame: first and last flagged frame, 0-based, inclusive.
    peak_frame: the frame with the lowest PSNR; box: where its error is largest, [x, y, w, h] in source pixels.
    start_time, end_time: seconds, as in Frame.time.
    peak_psnr_db, threshold_psnr_db: both in the bundle's statistic (frame or worst tile), so that they compare.
    scene: what the camera's view was like meanwhile, of events.scene.KINDS: a hand before the lens is an event as well.
    """

    id: str
    source: str
    start_frame: int
    end_frame: int
    peak_frame: int
    start_time: float
    end_time: float
    peak_psnr_db: float
    threshold_psnr_db: float
    box: tuple[int, int, int, int]
    scene: str = NORMAL

    def to_json(self) -> str:
        """The `event` line of `run --json` (a contract: other programs read it)."""
        return json.dumps({"type": "event", **asdict(self)})
