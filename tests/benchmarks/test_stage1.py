"""The benchmark measures what it says and prints what programs read."""

from __future__ import annotations

import json
import sys
import time

import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_bench import stage1  # noqa: E402


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["stage1", "--rounds", "2", "--presets", "nano", "--json"])
    stage1.main()
    report = json.loads(capsys.readouterr().out)
    assert report["stages"]["ingest"]["n"] == 6
    for row in report["stages"].values():
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
    assert report["ratios"]
    assert report["environment"]["cores"] >= 1


class Steady:
    """10 W, always."""

    name, scope = "steady", "module"

    def watts(self) -> float:
        return 10.0


def test_joules_are_those_of_one_call() -> None:
    assert stage1.joules(Steady(), lambda: time.sleep(0.02), least_s=0.4) == pytest.approx(0.2, rel=0.3)
