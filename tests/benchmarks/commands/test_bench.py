"""`callm-edge bench` as a user calls it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_bench.commands.bench import bench  # noqa: E402
from callm_edge.errors import UsageError  # noqa: E402


def test_stage_1_beside_the_usual_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.callback is not None
    bench.callback(part=None, presets=("nano",), rounds=1, as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert {"nano, shared", "nano, full graph", "nano, plain torch loop"} <= set(report["stages"])


def test_computed_bounds_need_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.callback is not None
    bench.callback(part="roofline", presets=("edge",), rounds=1, as_json=True)
    assert "roofline_computed" in json.loads(capsys.readouterr().out)


def test_unknown_presets_are_named() -> None:
    assert bench.callback is not None
    with pytest.raises(UsageError, match="nano"):
        bench.callback(part=None, presets=("nanno",), rounds=1, as_json=False)
    assert CliRunner().invoke(bench, ["--help"]).exit_code == 0
