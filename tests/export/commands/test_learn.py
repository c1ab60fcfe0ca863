"""`callm-edge learn`: from a source to a bundle that runs, in one command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_edge.bundle import Bundle  # noqa: E402


def callm_edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from callm_edge.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_what_was_learned_runs(tmp_path: Path) -> None:
    out = str(tmp_path / "mine")
    learn = (
        "learn",
        "--source",
        "test:plaza?seed=5&seconds=4",
        "--minutes",
        "0.05",
        "--preset",
        "nano",
        "--epochs",
        "1",
    )
    result = callm_edge(*learn, "--out", out)
    assert result.returncode == 0, result.stderr
    manifest = Bundle.load(out).manifest
    assert (manifest.preset, manifest.training["frames"], manifest.training["fps"]) == ("nano", 60, 25.0)
    assert manifest.calibration["extrapolated"], "three seconds cannot show one alarm per hour"
    run = callm_edge(
        "run", "--source", "test:plaza?seconds=1", "--bundle", out, "--store", str(tmp_path / "s"), "--json"
    )
    assert json.loads(run.stdout.splitlines()[-1])["windows"] == 10
    again = callm_edge(*learn, "--out", out)
    assert again.returncode == 2
    assert "--resume" in again.stderr
