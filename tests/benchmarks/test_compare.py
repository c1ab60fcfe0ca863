"""Noise is not called a regression, a slowdown of 20 % is, and a busier machine is not."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra 'train' is not installed")

from callm_bench.compare import change, compare, read_report  # noqa: E402
from callm_edge.errors import UsageError, UserError  # noqa: E402


def timed(rng: np.random.Generator, ms: float, rounds: int = 20, noise: float = 0.05, load: float = 1.0) -> dict:
    """Rounds of a stage on a machine whose speed wanders, now and then by a lot, and hits the yardstick alike."""
    machine = load * np.exp(rng.normal(0, noise, rounds)) * np.where(rng.random(rounds) < 0.1, 1.8, 1.0)
    own = np.exp(rng.normal(0, noise / 3, rounds))
    return {"rounds_ms": list(ms * machine * own), "yardstick_ms": list(2.0 * machine)}


def test_noise_alone_is_no_regression() -> None:
    rng = np.random.default_rng(0)
    verdicts = [change(timed(rng, 10.0), timed(rng, 10.0)).verdict for _ in range(500)]
    assert not {"slower", "faster"} & set(verdicts)
    assert verdicts.count("same") > 450


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_a_slowdown_of_20_percent_is_seen(noise: float) -> None:
    rng = np.random.default_rng(1)
    found = [change(timed(rng, 10.0, noise=noise), timed(rng, 12.0, noise=noise)) for _ in range(200)]
    assert sum(one.verdict == "slower" for one in found) >= 196
    assert np.median([one.ratio for one in found]) == pytest.approx(1.2, abs=0.02)
    faster = [change(timed(rng, 12.0, noise=noise), timed(rng, 10.0, noise=noise)).verdict for _ in range(200)]
    assert faster.count("faster") >= 196


def test_a_busier_machine_is_no_regression() -> None:
    rng = np.random.default_rng(2)
    found = [change(timed(rng, 10.0), timed(rng, 10.0, load=1.6)) for _ in range(200)]
    assert all(one.verdict != "slower" for one in found)
    assert np.median([one.raw_ratio for one in found]) == pytest.approx(1.6, abs=0.05)


def test_few_or_wild_rounds_are_called_unclear() -> None:
    rng = np.random.default_rng(3)
    assert change(timed(rng, 10.0, rounds=2), timed(rng, 10.0, rounds=20)).verdict == "unclear"
    assert change(timed(rng, 10.0, rounds=2), timed(rng, 30.0, rounds=20)).verdict == "unclear"
    assert change(timed(rng, 10.0, rounds=5, noise=0.5), timed(rng, 12.0, rounds=5, noise=0.5)).verdict == "unclear"


def test_reports_are_compared_stage_by_stage(report: dict[str, Any]) -> None:
    new = copy.deepcopy(report)
    slow = new["stages"]["decode"]
    slow["rounds_ms"] = [1.3 * ms for ms in slow["rounds_ms"]]
    new["stages"]["brand new"] = new["stages"].pop("glass to verdict")
    new["environment"]["cores"] = 4
    found = compare(report, new).to_dict()
    assert found["regressions"] == ["decode"]
    assert found["only_old"] == ["glass to verdict"]
    assert found["only_new"] == ["brand new"]
    assert "cores was 2 and is 4" in found["machines"]


def test_what_is_no_report_is_named(tmp_path: Path, report: dict[str, Any]) -> None:
    path = tmp_path / "old.json"
    with pytest.raises(UsageError, match=r"old\.json"):
        read_report(path)
    for text in ("{", "[]", json.dumps({"stages": []})):
        path.write_text(text)
        with pytest.raises(UserError, match="no report"):
            read_report(path)
    path.write_text(json.dumps(report))
    assert read_report(path) == report
