"""Buckets against the plainest count."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from callm_edge.latencies import BOUNDS_S, Latencies


@given(st.lists(st.floats(0, 100) | st.sampled_from(BOUNDS_S)))
def test_buckets(seconds: list[float]) -> None:
    latencies = Latencies()
    for one in seconds:
        latencies.add(one)
    bounds = [*map(float, BOUNDS_S), math.inf]
    assert [(float(bound), count) for bound, count in latencies.buckets()] == [
        (bound, sum(one <= bound for one in seconds)) for bound in bounds
    ]
    assert math.isclose(latencies.seconds, sum(seconds))
