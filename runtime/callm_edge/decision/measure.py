"""Score traces of footage, for calibration: the same stream, backend and statistic as in a run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from callm_edge.bundle import Decision
from callm_edge.cascade import DEFAULT_FPS, Camera, ScoredFrame
from callm_edge.decision.calibration import Trace
from callm_edge.sources import Source
from callm_edge.stage1.backend import Backend
from callm_edge.stage2.ways_seen import WaysSeen


def measure(
    source: Source,
    backend: Backend,
    decision: Decision,
    fps: float | None = None,
    progress: Callable[[int], None] = lambda windows: None,
    limit_seconds: float | None = None,
    ways: WaysSeen | None = None,
) -> Trace:
    """Score a source to its end, or for `limit_seconds` of it.

    fps: where the source's own is not to be believed. ways: are gathered too.
    """
    scores: list[float] = []
    first: float | None = None
    with source:
        for item in Camera(source, backend, decision):
            if not isinstance(item, ScoredFrame):
                continue
            scores.append(item.statistic_db)
            progress(len(scores))
            if ways is not None:
                ways.push(item.frame.time, item.frame.image)
            first = item.frame.time if first is None else first
            if limit_seconds is not None and item.frame.time - first >= limit_seconds:
                break
    return Trace(np.asarray(scores, np.float32), fps or source.fps or DEFAULT_FPS)
