"""Events that people marked as false alarms, as footage to calibrate on."""

from __future__ import annotations

from dataclasses import dataclass

from callm_edge.bundle import Bundle
from callm_edge.decision.calibration import FalseAlarms
from callm_edge.decision.measure import measure
from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.events.store import EventStore
from callm_edge.replay import ClipSource
from callm_edge.stage1.backend import Backend


@dataclass(frozen=True)
class MarkedEvents:
    """unused: events that are marked and have no clip any more, or a damaged one, or were found by another bundle."""

    false_alarms: FalseAlarms
    unused: int


def marked_events(
    store: EventStore, bundle: Bundle, backend: Backend, watched_hours: float | None = None
) -> MarkedEvents:
    """The marked events of a store that a bundle of this name found, their clips scored anew by `backend`.

    Scored anew, because the bundle may have been trained again since, and a threshold is only good for the scores of
    one backend. watched_hours: None for the time from the first event of this bundle to the last one: the store does
    not know for how long nothing happened before and after, and fewer hours make for a lower threshold.
    """
    traces, unused = [], 0
    for stored in store.false_alarms():
        if stored.bundle != bundle.name or stored.clip is None:
            unused += 1
            continue
        try:
            trace = measure(ClipSource(Clip.load(stored.clip), stored.event.source), backend, bundle.decision)
        except UserError:
            unused += 1
            continue
        if len(trace.scores_db):
            traces.append(trace)
        else:
            unused += 1  # shorter than a window
    if watched_hours is None:
        times = [stored.happened_at for stored in store.list(limit=None) if stored.bundle == bundle.name]
        watched_hours = (max(times) - min(times)) / 3600 if times else 0.0
    return MarkedEvents(FalseAlarms(traces, max(watched_hours, sum(trace.hours for trace in traces))), unused)
