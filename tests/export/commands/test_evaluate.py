"""`callm-edge evaluate` from the command line to the JSON line, with an untrained network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("sklearn", reason="the extra 'train' is not installed")
import onnx  # noqa: E402

from callm_edge.bundle import SCORE, Bundle, Decision  # noqa: E402
from callm_edge.decision.measure import measure  # noqa: E402
from callm_edge.sources import open_source  # noqa: E402
from callm_edge.stage1.scorer import OrtScorer  # noqa: E402
from callm_export import ground_truth  # noqa: E402
from callm_export.autoencoder import Autoencoder  # noqa: E402
from callm_export.commands.evaluate import evaluate  # noqa: E402
from callm_export.onnx_graph import score_graph  # noqa: E402

CONTRACT = {
    "dataset": str,
    "bundle": str,
    "auc_paper": float,
    "auc_live": float,
    "eer_live": float,
    "false_alarms_per_hour": float,
    "localisation_hit_rate": float,
    "scored_frames": int,
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / SCORE).parent.mkdir(parents=True)
    onnx.save(score_graph(Autoencoder((2, 2, 2, 2)).eval()), str(folder / SCORE))
    Bundle.write(
        folder,
        name="tiny",
        preset="none",
        training={"fps": 10},
        decision=Decision(threshold_psnr_db=0.0, smoothing=1),
        calibration={"backend": "test"},
        licences={},
    )
    return folder


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Black clips of 30 and 24 frames; in frames 12..17 of the first, a white square, which is masked and labelled.

    An untrained network reconstructs gray, so black and white are equally wrong to it, and where the square's edge is
    blurred to gray it is less wrong: what it scores is known only to differ.
    """
    folder = tmp_path / "squares"
    frames = np.zeros((30, 96, 120), np.uint8)
    frames[12:18, 30:60, 40:70] = 255
    for clip, pictures in (("01", frames), ("02", frames[:12].repeat(2, axis=0))):
        (folder / "test" / clip).mkdir(parents=True)
        for index, picture in enumerate(pictures):
            cv2.imwrite(str(folder / "test" / clip / f"{index:03d}.png"), picture)
    mask = frames > 0
    labels = {"01": mask.any(axis=(1, 2)).astype(np.uint8), "02": np.zeros(24, np.uint8)}
    np.savez(folder / "labels.npz", **labels)  # type: ignore[arg-type]
    np.savez(folder / "masks.npz", **{"01": np.packbits(mask, axis=-1)})  # type: ignore[arg-type]
    return folder


def run(*arguments: str | Path) -> tuple[str, str]:
    result = CliRunner().invoke(evaluate, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_json_is_one_line_and_keeps_the_contract(bundle: Path, data_set: Path, tmp_path: Path) -> None:
    stdout, _ = run("--data", data_set, "--bundle", bundle, "--out", tmp_path / "out", "--json")
    assert stdout.count("\n") == 1
    got = json.loads(stdout)
    assert {key: type(got[key]) for key in CONTRACT} == CONTRACT
    assert (got["dataset"], got["bundle"], got["scored_frames"]) == ("squares", "tiny", 15 + 9)
    assert got["localised_frames"] == got["stretches"] * 6 == 6
    assert got["normal_hours"] == pytest.approx((24 - 6) / 10 / 3600, rel=1e-3), "the bundle's fps"
    assert got["clip_auc"]["02"] is None
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"roc.png", "clips.png"}


def test_live_scores_are_those_of_a_run(bundle: Path, data_set: Path, tmp_path: Path) -> None:
    opened = Bundle.load(bundle)
    scorer = OrtScorer(opened.score_path)
    traces = [
        measure(open_source(str(data_set / "test" / clip)), scorer, opened.decision).scores_db for clip in ("01", "02")
    ]
    normal = np.concatenate([traces[0][:4], traces[0][10:], traces[1]])
    abnormal = traces[0][4:10]
    pairs = (abnormal[:, None] < normal).mean() + 0.5 * (abnormal[:, None] == normal).mean()
    stdout, _ = run("--data", data_set, "--bundle", bundle, "--out", tmp_path / "out", "--json")
    assert json.loads(stdout)["auc_live"] == pytest.approx(pairs, abs=1e-6)


def test_fps_changes_the_hours(bundle: Path, data_set: Path, tmp_path: Path) -> None:
    stdout, _ = run("--data", data_set, "--bundle", bundle, "--out", tmp_path / "out", "--json", "--fps", "20")
    assert json.loads(stdout)["normal_hours"] == pytest.approx((24 - 6) / 20 / 3600, rel=1e-3)


def test_table_for_people(bundle: Path, data_set: Path, tmp_path: Path) -> None:
    stdout, stderr = run("--data", data_set, "--bundle", bundle, "--out", tmp_path / "out")
    for text in ("AUC, paper", "AUC, live", "EER, live", "False alarms per hour", "Localisation", "01", "one class"):
        assert text in stdout
    assert "roc.png" in stderr
    assert "not calibrated" not in stderr


def test_warns_of_a_bundle_without_calibration(bundle: Path, data_set: Path, tmp_path: Path) -> None:
    Bundle.load(bundle).with_decision(Decision(), {})
    _, stderr = run("--data", data_set, "--bundle", bundle, "--out", tmp_path / "out", "--json")
    assert "not calibrated" in stderr


def test_plaza(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = ground_truth.plaza_clips(2, 9.5)
    monkeypatch.setattr(ground_truth, "plaza_clips", lambda: short)
    stdout, _ = run("--data", "plaza", "--bundle", bundle, "--out", tmp_path / "out", "--json")
    got = json.loads(stdout)
    assert (got["dataset"], got["scored_frames"]) == ("plaza", 2 * (round(9.5 * 25) - 15))
    assert got["localised_frames"] > 0
    assert 0 <= got["localisation_hit_rate"] <= 1


def test_a_mistake_is_a_sentence_and_not_a_traceback(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code = "from callm_edge.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "evaluate", "--data", str(tmp_path / "empty"), "--bundle", str(bundle)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 1
    assert "labels.npz" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; import callm_export.commands.evaluate as e; e.evaluate(['--help'], standalone_mode=False);"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'onnxruntime', 'cv2'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "--data" in result.stdout


def test_judging_does_not_load_torch() -> None:
    code = "import sys, callm_export.evaluation, callm_export.evaluation_plots; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
