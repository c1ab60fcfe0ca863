"""`callm-edge bench` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_bench.commands.bench import bench  # noqa: E402
from callm_edge.bundle import Bundle  # noqa: E402
from callm_edge.errors import UsageError, UserError  # noqa: E402

SHORT = ("--quick", "--rounds", "5", "--part", "limits", "--preset", "nano")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(bench, arguments, catch_exceptions=False)


def test_everything_within_one_json_object(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    arguments = ["--quick", "--rounds", "1", "--preset", "nano", "--bundle", str(tiny_bundle.folder)]
    result = call(*arguments, "--report", str(folder), "--json")
    report = json.loads(result.stdout)
    assert {"decision", "ring", "stage 1, nano, shared", "glass to score"} <= set(report["stages"])
    for row in report["stages"].values():
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["per_second"] > 0
        assert row["n"] >= 1
    assert {"plain torch loop", "shared (ours)"} <= set(report["peers"]["network"]["nano"]["rows"])
    assert report["ratios"]["nano: plain torch loop / shared"] > 1
    assert set(report["scaling"]) == {"cameras", "stride", "batch", "threads"}
    assert report["limits"]["peaks"]["gflops"] > 1
    assert "no stage 2" in report["skipped"]["vision encode"]
    assert report["environment"]["cores"] >= 1
    assert "/" not in report["environment"]["cpu"]
    assert json.loads((folder / "report.json").read_text()) == report
    assert "plain torch loop" in (folder / "report.html").read_text()


def test_against_an_older_report(tiny_bundle: Bundle, tmp_path: Path, report: dict) -> None:
    old = tmp_path / "old.json"
    old.write_text(json.dumps(report))
    result = call(*SHORT, "--bundle", str(tiny_bundle.folder), "--against", str(old))
    assert result.exit_code == 0
    assert "Nothing became slower beyond noise." in result.output
    old.write_text("{}")
    with pytest.raises(UserError, match="no report"):
        call("--against", str(old))


def test_computed_bounds_need_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    result = call("--roofline", "--json")
    assert "roofline_computed" in json.loads(result.output or capsys.readouterr().out)


@pytest.mark.parametrize(("option", "name", "hint"), [("--preset", "nanno", "nano"), ("--part", "peer", "peers")])
def test_unknown_names_are_named(option: str, name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        call(option, name)
    assert call("--help").exit_code == 0
