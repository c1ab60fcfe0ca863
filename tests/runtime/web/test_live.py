"""The counts that the page shows are those of the cameras, over the time since it last looked."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from callm_edge.cascade import Camera
from callm_edge.web import live as live_module
from callm_edge.web.live import Live


def test_rates_are_of_the_time_since_the_last_status(
    camera: Callable[..., Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [50.0]
    monkeypatch.setattr(live_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    watched = camera()
    live = Live([watched], lambda: 3)
    live.status()
    counts = watched.counts
    counts.frames, counts.windows, counts.stage1_seconds, counts.skipped = 50, 40, 0.8, 7
    for seconds in (0.4, 0.6):
        counts.behind.add(seconds)
    watched.source.dropped = 5
    now[0] += 2
    status = live.status()
    (one,) = status["cameras"]
    assert (one["fps"], one["stage1_ms"], one["behind_ms"]) == (25.0, 20.0, 500.0)
    assert (one["dropped"], one["unscored"], one["frames"]) == (5, 7, 50)
    assert status["verdicts_waiting"] == 3
    now[0] += 0.5
    assert live.status() is status, "made once a second, whoever asks"
    now[0] += 1
    (one,) = live.status()["cameras"]
    assert (one["fps"], one["stage1_ms"], one["behind_ms"]) == (0.0, None, None)


def test_over_a_stored_database_there_is_no_camera() -> None:
    live = Live()
    assert (live.running, live.describe(), live.status()["cameras"]) == (False, [], [])
