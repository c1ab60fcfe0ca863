"""`callm-edge verify` as a user and as a program meet it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
onnx = pytest.importorskip("onnx")

from callm_edge.bundle import AUTOENCODER_FP16, SCORE, Bundle  # noqa: E402
from callm_edge.sources import open_source  # noqa: E402
from callm_edge.stage1.scorer import OrtScorer  # noqa: E402
from callm_export.autoencoder import Autoencoder  # noqa: E402
from callm_export.onnx_graph import score_graph  # noqa: E402

SOURCE = ("--source", "test:plaza?seed=1&seconds=1")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from callm_edge.cli import main; main()"
    command = [sys.executable, "-c", code, "verify", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_json_names_every_backend_that_is_here(tiny_bundle: Bundle) -> None:
    result = run("--bundle", str(tiny_bundle.folder), *SOURCE, "--json", "--max-flips", "9")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert {"shared", "onnxruntime-fp16"} <= set(told["backends"])
    for parity in told["backends"].values():
        assert {"max_abs_diff_psnr_db", "flips", "windows"} <= set(parity)
        assert parity["windows"] == 10
    assert told["backends"]["shared"]["max_abs_diff_psnr_db"] < 0.01
    assert told["threshold_psnr_db"] == 5.0
    assert sum(row["windows"] for row in told["margins"]) == 10


def test_text_for_people(tiny_bundle: Bundle) -> None:
    result = run("--bundle", str(tiny_bundle.folder), *SOURCE, "--backend", "shared")
    assert result.returncode == 0, result.stderr
    assert "10 windows" in result.stdout
    assert "shared" in result.stdout
    assert "Margin to the threshold" in result.stdout
    assert "never calibrated" in result.stderr


def test_flips_beyond_the_limit_fail(tiny_bundle: Bundle) -> None:
    """Other weights under the name of the FP16 graph, and a threshold between the scores of the two."""
    torch.manual_seed(5)
    onnx.save(score_graph(Autoencoder((2, 2, 2, 2)).eval(), half=True), str(tiny_bundle.folder / AUTOENCODER_FP16))
    means = [_mean_patch_psnr(tiny_bundle.folder / name) for name in (SCORE, AUTOENCODER_FP16)]
    fields = tiny_bundle.manifest.model_dump(exclude={"schema_version", "files", "decision"})
    decision = tiny_bundle.decision.model_copy(update={"threshold_psnr_db": sum(means) / 2})
    bundle = Bundle.write(tiny_bundle.folder, **fields, decision=decision)
    arguments = ("--bundle", str(bundle.folder), *SOURCE, "--backend", "onnxruntime-fp16")
    result = run(*arguments, "--json")
    assert result.returncode == 1
    assert "flags flip" in result.stderr
    flips = json.loads(result.stdout)["backends"]["onnxruntime-fp16"]["flips"]
    assert flips > 0
    assert run(*arguments, "--max-flips", str(flips)).returncode == 0


def _mean_patch_psnr(graph: Path) -> float:
    stream = OrtScorer(graph).stream()
    scores = []
    with open_source(SOURCE[1]) as source:
        for frame in source:
            stream.push(frame.image)
            if (got := stream.score()) is not None:
                scores.append(got.patch_psnr_db[0])
    return float(np.mean(scores))


def test_a_backend_that_does_not_exist_is_wrong_usage(tiny_bundle: Bundle) -> None:
    result = run("--bundle", str(tiny_bundle.folder), "--backend", "sharde")
    assert result.returncode == 2
    assert "Did you mean 'shared'?" in result.stderr
