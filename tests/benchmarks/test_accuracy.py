"""Accuracy beside speed, on a test set of two small clips: every backend, held against the FP32 graph."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_bench import accuracy  # noqa: E402
from callm_bench.setting import Setting  # noqa: E402
from callm_edge.bundle import Bundle  # noqa: E402

FRAMES = 40


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Noise, and in the second clip from frame 20 on a bright square."""
    folder = tmp_path / "two-clips"
    rng = np.random.default_rng(0)
    labels = {"a": np.zeros(FRAMES, np.uint8), "b": (np.arange(FRAMES) >= 20).astype(np.uint8)}
    for clip, abnormal in labels.items():
        (folder / "test" / clip).mkdir(parents=True)
        for index in range(FRAMES):
            picture = rng.integers(90, 110, (60, 80), np.uint8)
            if abnormal[index]:
                picture[20:40, 30:50] = 255
            cv2.imwrite(str(folder / "test" / clip / f"{index:03d}.png"), picture)
    np.savez(folder / "labels.npz", **labels)  # type: ignore[arg-type]
    return folder


def test_every_backend_gets_a_row(
    tiny_bundle: Bundle, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy, "BUNDLE", str(tiny_bundle.folder))
    found = accuracy.measure(Setting(tiny_bundle, tmp_path / "work", data=data, fps=25, threads=1))
    rows = {row["backend"]: row for row in found["rows"]}
    assert set(rows) == {"onnxruntime (FP32 reference)", "shared", "onnxruntime-fp16"}
    reference, shared = rows["onnxruntime (FP32 reference)"], rows["shared"]
    assert reference["flips"] == 0
    assert shared["windows"] == 2 * (FRAMES - 15)
    assert shared["auc_live"] == pytest.approx(reference["auc_live"], abs=1e-3)
    assert shared["auc_live"] > 0.9  # a white square stands out even to an untrained network
    assert shared["per_second"] > 0
    assert set(found["strides"]) == {f"stride {n}" for n in accuracy.STRIDES}
    assert "preset reference" in found["skipped"]
    table = next(iter(found["paper"].values()))
    assert [row["Ped2"] for row in table] == [
        91.19,
        99.7,
        round(100 * shared["auc_paper"], 2),
        round(100 * shared["auc_live"], 2),
    ]


@pytest.mark.parametrize("quick", [False, True])
def test_without_data_or_time_it_says_so(tiny_bundle: Bundle, data: Path, tmp_path: Path, quick: bool) -> None:
    found = accuracy.measure(Setting(tiny_bundle, tmp_path, quick=quick, data=data if quick else None))
    assert found["rows"] == []
    assert ("--quick" if quick else "--data") in found["skipped"]["Ped2"]
    assert len(found["paper"]) == 2
