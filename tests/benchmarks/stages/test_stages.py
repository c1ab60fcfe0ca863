"""All stages, on a bundle of a few kilobytes: each is measured, or says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from callm_bench import footage  # noqa: E402
from callm_bench.setting import Setting  # noqa: E402
from callm_bench.stages import every_stage, stage1  # noqa: E402
from callm_bench.timing import measure  # noqa: E402
from callm_edge.bundle import Bundle  # noqa: E402
from callm_edge.stage1 import gpu  # noqa: E402
from callm_edge.stage1.choose import open_backend  # noqa: E402

OF_STAGE2 = {"vision encode", "Q-Former", "prefill", "decode", "verdict on the device", "offload, yes or no"}


def setting(bundle: Bundle, folder: Path) -> Setting:
    return Setting(bundle, folder, presets=(bundle.manifest.preset,), quick=True, rounds=1, threads=1)


def test_with_a_branch_every_stage_of_it_is_measured(tiny_cascade: Bundle, tmp_path: Path) -> None:
    every = every_stage(setting(tiny_cascade, tmp_path))
    assert len({stage.name for stage in every}) == len(every)
    measured = measure(every, rounds=1, slice_s=0.0)
    assert {stage.name for stage in every} == set(measured.rows) | set(measured.skipped)
    assert set(measured.rows) >= OF_STAGE2 | {
        f"decode, H.264 {footage.PICTURE}",
        "ingest, 1920x1080",
        "ring",
        "decision",
        "evidence, JPEG",
        "clip packing",
        "motion",
        "stage 1, 2-2-2-2, shared",
        "stage 1 at stride 8, 2-2-2-2, shared",
        "stage 1 in batches of 4, 2-2-2-2, onnxruntime",
        "offload, way there and back",
        "offload, yes or no, embeddings only",
    }
    assert measured.rows["stage 1 at stride 8, 2-2-2-2, shared"]["count"] == 8
    if not gpu.present():
        assert {name for name in measured.skipped if "parity" not in name} == {
            "score kernel, CUDA",
            *(f"stage 1, 2-2-2-2, {name}" for name in stage1.GPU_BACKENDS),
        }


def test_without_a_branch_its_stages_are_skipped_with_the_reason(tiny_bundle: Bundle, tmp_path: Path) -> None:
    every = [stage for stage in every_stage(setting(tiny_bundle, tmp_path)) if stage.name in OF_STAGE2]
    measured = measure(every, rounds=1, slice_s=0.0)
    assert measured.rows == {}
    assert set(measured.skipped.values()) == {"the bundle 'tiny' has no stage 2"}


def test_other_presets_are_exported_once(tiny_bundle: Bundle, tmp_path: Path) -> None:
    where = setting(tiny_bundle, tmp_path)
    assert stage1.bundle_of(where, "2-2-2-2") is tiny_bundle
    nano = stage1.bundle_of(where, "nano")
    assert nano is stage1.bundle_of(where, "nano")
    assert nano.manifest.preset == "nano"


def test_rolling_scores_the_newest_window(tiny_bundle: Bundle) -> None:
    calls = [stage1.rolling(open_backend(tiny_bundle, name, threads=1), 3) for name in ("shared", "onnxruntime")]
    for _ in range(2):
        shared, whole = (call() for call in calls)
        np.testing.assert_allclose(shared.psnr_db, whole.psnr_db, atol=1e-3)  # type: ignore[attr-defined]


def test_looped_pictures_never_jump() -> None:
    pictures = tuple(np.full((1, 1, 3), value, np.uint8) for value in range(3))
    seen = [int(picture[0, 0, 0]) for picture, _ in zip(footage.looped(pictures), range(9), strict=False)]
    assert seen == [0, 1, 2, 1, 0, 1, 2, 1, 0]
