"""The bounds of the queue before stage 2: so many events may wait for a verdict, and each only so long.

The queue itself is the event store. What is past a bound is given up, that which waited longest first: the event, its
clip and the reason stay in the store. How long something waited is counted while a run has the store open, by a clock
that nobody can set: a device without a battery for its clock, whose date jumps by years, gives nothing up for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from callm_edge.errors import UserError
from callm_edge.events.store import EventStore

EVERY_S = 60.0  # how often it is written down how long events have waited: a crash loses less than this


@dataclass(frozen=True)
class QueueBounds:
    """events: that may wait at a time. age_s: seconds that each may."""

    events: int = 10_000
    age_s: float = 7 * 86400.0


class VerdictQueue:
    """See the module. Used by the thread of the run.

    clock: monotonic seconds. given_up: how many events were, so far, by reason: 'size', 'age', or 'disk', which had no
    room for what there was to judge.
    """

    def __init__(
        self, store: EventStore, bounds: QueueBounds | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._bounds, self._clock = store, bounds or QueueBounds(), clock
        self._next = 0.0
        self.given_up = {"size": 0, "age": 0, "disk": 0}

    def tidy(self, added: bool = False) -> list[UserError]:
        """Give up what is past a bound; returns what to tell people. Does something once a minute and after `added`.

        Raises UserError where the store cannot be written.
        """
        now = self._clock()
        if now < self._next and not added:
            return []
        if now >= self._next:
            self._next = now + EVERY_S
            self._store.count_waiting()
        hours = f"{self._bounds.age_s / 3600:g}"
        limit = {"size": f"more than {self._bounds.events} waited", "age": f"waited longer than {hours} h"}
        found = {
            "size": self._store.give_up_oldest(self._bounds.events, f"given up: {limit['size']}"),
            "age": self._store.give_up_older(self._bounds.age_s, f"given up: {limit['age']}"),
        }
        said = []
        for reason, count in found.items():
            self.given_up[reason] += count
            if count:
                what = f"{count} event{'s were' if count > 1 else ' was'} given up without a verdict"
                said.append(UserError(what, limit[reason], "See --queue-events and --queue-age-hours"))
        return said
