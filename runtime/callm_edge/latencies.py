"""How long a step takes, counted into buckets: a histogram that costs a microsecond to add to."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Latencies:
    """Written by one thread, read by any.

    counts: how many took at most BOUNDS_S[i] and longer than the bound before; the last is of those beyond all bounds.
    seconds: of all together.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many took at most that) as Prometheus writes them, the last bound being +Inf."""
        total, found = 0, []
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), list(self.counts), strict=True):
            total += count
            found.append((bound, float(total)))
        return found
