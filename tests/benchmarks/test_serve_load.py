"""The load drill on the tiny branch: its numbers are those of what it counted."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from callm_bench.serve_load import load, overhead


def test_overhead_and_load_of_a_tiny_branch(tiny_cascade: Any) -> None:
    found = overhead(str(tiny_cascade.folder), rounds=2, question="Odd?", tokens=2)
    assert found.tokens == 2
    assert found.model_ms > 0
    assert found.request_ms > 0
    under = load(str(tiny_cascade.folder), clients=3, seconds=1.0, question="Odd?", tokens=2)
    assert set(under.statuses) == {200}
    assert under.statuses[200] >= 3
    assert 0 < under.p50_ms <= under.p95_ms <= under.p99_ms
    assert len(under.rss_mb) == 4
    assert min(under.rss_mb) > 10
