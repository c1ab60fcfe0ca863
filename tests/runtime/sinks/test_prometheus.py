"""What Prometheus's own parser reads from a real request."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from callm_edge.errors import UsageError, UserError
from callm_edge.events.verdict import Verdict
from callm_edge.sinks.prometheus import Prometheus
from callm_edge.stage2.breaker import CircuitBreaker


def test_metrics(camera: Any, verdict: Verdict) -> None:
    breaker = CircuitBreaker(failures=1)
    breaker.failed()
    sink = Prometheus(
        port=0,
        waiting_verdicts=lambda: 2,
        breaker=lambda: breaker,
        failing=lambda: {"Mqtt": 1},
        given_up=lambda: {"size": 0, "age": 4},
    )
    try:
        sink.started([camera])
        sink.verdict(verdict)
        sink.failed("gate", UserError("dark"))
        with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        with pytest.raises(UsageError, match="cannot be served"):
            Prometheus(port=sink.port)
    finally:
        sink.close()
    samples = {
        (s.name.removeprefix("callm_edge_"), *sorted(s.labels.values())): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    assert samples["frames_total", "gate"] == 100
    assert samples["dropped_total", "gate", "reader_late"] == 3
    assert samples["dropped_total", "gate", "stage1_late"] == 5
    assert samples["camera_state", "gate", "live"] == 1
    assert samples["camera_state", "gate", "stalled"] == 0
    assert samples["stage_seconds_bucket", "0.01", "gate", "stage1"] == 0
    assert samples["stage_seconds_bucket", "0.025", "gate", "stage1"] == 1
    assert samples["stage_seconds_count", "gate", "stage1"] == 1
    assert samples["verdicts_total", "device", "yes"] == 1
    assert samples["verdict_step_seconds_sum", "decode"] == pytest.approx(0.9)
    assert samples[("verdicts_waiting",)] == 2
    assert samples["verdicts_given_up_total", "age"] == 4
    assert samples["breaker_state", "open"] == 1
    assert samples["failures_total", "gate"] == 1
    assert samples["report_failures_total", "Mqtt"] == 1
