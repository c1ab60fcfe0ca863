"""An event, a verdict and a camera to report of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from callm_edge.bundle import Decision
from callm_edge.cascade import Counts
from callm_edge.events.event import Event
from callm_edge.events.verdict import Verdict
from callm_edge.sources import SourceState


@pytest.fixture
def event() -> Event:
    return Event("ab12", "gate", 10, 20, 15, 1.0, 2.0, 18.0, 21.5, (1, 2, 3, 4))


@pytest.fixture
def verdict() -> Verdict:
    return Verdict("ab12", True, 0.97, "A man rides a bicycle.", "device", "no server", {"encode": 40.0, "decode": 900})


@pytest.fixture
def camera() -> Any:
    source = SimpleNamespace(name="gate", state=SourceState.LIVE, waiting=0, dropped=3, live=True)
    counts = Counts(frames=100, windows=80, skipped=5, events=1)
    counts.stage1.add(0.02)
    return SimpleNamespace(
        source=source, counts=counts, active=False, bundle="plaza", decision=Decision(threshold_psnr_db=21.5)
    )
