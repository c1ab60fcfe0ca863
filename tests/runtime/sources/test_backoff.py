from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callm_edge.sources.backoff import Backoff


@given(st.integers(0, 100_000))
def test_waits_double_within_their_bounds(failures: int) -> None:
    delay = Backoff().delay_s(failures)
    doubled = 2.0 ** min(failures, 60)
    assert min(20.0, doubled) <= delay <= min(30.0, doubled * 1.5)


def test_jitter_spreads_devices() -> None:
    for failures in (2, 1000):
        assert len({Backoff().delay_s(failures) for _ in range(20)}) > 10, "also where the waits grow no more"
