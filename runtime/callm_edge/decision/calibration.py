"""The threshold from normal footage: chosen so that false alarms come at the rate that the user asks for.

Every dip of the score in normal footage is a false alarm for some threshold. Counted as events (after hysteresis, so
that what is counted is what a user sees), the rate of false alarms falls with the threshold. Where the footage is long
enough to show the wanted rate, the threshold is read off it. Where it is not (an alarm a day from minutes of footage),
the tail is extended: above a high threshold, the depths of dips are exponentially distributed in dB, the usual
peaks-over-threshold argument (Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001, ch. 4, with
shape 0), so that the rate falls by a factor e for every `scale` dB.

Events that a person marked as false alarms are normal footage, too: the part of it that was strange. How strange tells
little without how long the camera watched to see it, so both count. They can lower the threshold and never raise it: a
store knows nothing of what lay above the threshold of its time, and an event that nobody marked may still be a false
alarm that nobody looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from callm_edge.bundle import Decision
from callm_edge.decision.hysteresis import Hysteresis, Scored, smoothed
from callm_edge.errors import UserError

FEW = 5  # events: below this many the observed rate is too coarse to read a threshold off
TAIL = 12  # events: the deepest so many give the scale of the tail


@dataclass(frozen=True)
class Trace:
    """Scores of one stretch of normal footage: (N,) of the statistic, unsmoothed, one per frame at `fps`."""

    scores_db: np.ndarray
    fps: float

    @property
    def hours(self) -> float:
        return len(self.scores_db) / self.fps / 3600


@dataclass(frozen=True)
class FalseAlarms:
    """What people marked. traces: of each event's clip; hours: that were watched to see these events.

    The scores are of the bundle under calibration, whichever found the event.
    """

    traces: Sequence[Trace]
    hours: float


@dataclass(frozen=True)
class Calibrated:
    """The threshold and where it comes from. extrapolated: beyond what the footage itself shows.

    hours: of normal footage. lowered_db: by how much the marked events lowered the threshold.
    """

    threshold_psnr_db: float
    extrapolated: bool
    hours: float
    tail_scale_db: float
    lowered_db: float = 0.0

    def record(
        self, backend: str, graph_sha256: str, sources: Sequence[str], false_alarms_per_hour: float
    ) -> dict[str, Any]:
        """What a bundle keeps of it. graph_sha256: what the backend computed with (see calibrated_backend)."""
        return {
            "backend": backend,
            "graph_sha256": graph_sha256,
            "sources": list(sources),
            "hours": round(self.hours, 4),
            "false_alarms_per_hour": false_alarms_per_hour,
            "extrapolated": self.extrapolated,
            "tail_scale_db": round(self.tail_scale_db, 4),
        }


def event_peaks(trace: Trace, decision: Decision) -> list[float]:
    """Peak scores (dB) of the events that a trace gives under a decision; their number is the number of alarms."""
    smooth = smoothed(trace.scores_db, decision.smoothing)
    hysteresis = Hysteresis(decision, "", trace.fps)
    # Frames above the release level change nothing, and nearly all frames are.
    near = np.flatnonzero(smooth < decision.threshold_psnr_db + decision.release_db)
    ended = [hysteresis.push(Scored(int(frame), 0.0, float(smooth[frame]))) for frame in near]
    return [event.peak_psnr_db for event in (*ended, hysteresis.finish()) if event is not None]


def calibrate(
    traces: Sequence[Trace], decision: Decision, false_alarms_per_hour: float, marked: FalseAlarms | None = None
) -> Calibrated:
    """The threshold (dB) at which normal footage gives `false_alarms_per_hour`.

    marked: what people called false alarms since; see the module.
    Raises UserError without footage or with scores that are not finite.
    """
    found = _calibrate(traces, decision, false_alarms_per_hour, _hours(traces))
    if marked is None or not marked.traces:
        return found
    both = [*traces, *marked.traces]
    wider = _calibrate(both, decision, false_alarms_per_hour, found.hours + max(marked.hours, _hours(marked.traces)))
    if wider.threshold_psnr_db >= found.threshold_psnr_db:
        return found
    lowered = found.threshold_psnr_db - wider.threshold_psnr_db
    return replace(wider, hours=found.hours, lowered_db=lowered)


def _calibrate(traces: Sequence[Trace], decision: Decision, false_alarms_per_hour: float, hours: float) -> Calibrated:
    """hours: in which the traces hold every dip that counts; more than their own length for those of a store."""
    if hours <= 0:
        raise UserError(
            "There is nothing to calibrate on", "the footage gave no scored window", "Give at least a minute of it"
        )
    if not all(np.isfinite(trace.scores_db).all() for trace in traces):
        raise UserError(
            "The scores of the calibration footage are not finite", "the model in the bundle is damaged", "Train again"
        )
    wanted = false_alarms_per_hour * hours
    if wanted >= FEW:
        return Calibrated(_threshold_for(traces, decision, wanted), False, hours, 0.0)
    anchor = _threshold_for(traces, decision, TAIL)
    depths = [anchor - peak for peak in _peaks(traces, decision, anchor)]
    scale = max(float(np.mean(depths)) if depths else 0.0, 0.05)
    count = max(len(depths), 1)
    return Calibrated(anchor - scale * float(np.log(max(count / wanted, 1.0))), True, hours, scale)


def _threshold_for(traces: Sequence[Trace], decision: Decision, wanted: float) -> float:
    """The threshold at which the traces give `wanted` events, by bisection.

    From below, the count rises with the threshold until events begin to merge; the search stays on that rising side
    by starting at the deepest score and taking the first threshold that reaches the count.
    """
    scores = np.concatenate([smoothed(trace.scores_db, decision.smoothing) for trace in traces])
    candidates = np.quantile(scores, np.concatenate([[0], np.geomspace(1 / len(scores), 0.5, 60)]))
    low = float(candidates[0]) - 0.01
    for candidate in candidates:
        if len(_peaks(traces, decision, float(candidate))) >= wanted:
            break
        low = float(candidate)
    else:
        return low
    high = float(candidate)
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if len(_peaks(traces, decision, middle)) >= wanted else (middle, high)
    return (low + high) / 2


def _hours(traces: Sequence[Trace]) -> float:
    return sum(trace.hours for trace in traces)


def _peaks(traces: Sequence[Trace], decision: Decision, threshold: float) -> list[float]:
    at = decision.model_copy(update={"threshold_psnr_db": threshold})
    return [peak for trace in traces for peak in event_peaks(trace, at)]
