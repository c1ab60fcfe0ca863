"""The end of a tuning run: what lies in stage2/, and by whose answers its threshold was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")
pytest.importorskip("onnx", reason="the extra 'train' is not installed")

from rich.console import Console  # noqa: E402

from callm_edge.events.clip import Clip  # noqa: E402
from callm_edge.stage2.spec import FORMER, LLM, Stage2Spec  # noqa: E402
from callm_export.vlm import tune_run  # noqa: E402
from callm_export.vlm.clip_set import ClipSet  # noqa: E402
from callm_export.vlm.lessons import Lesson  # noqa: E402

from .conftest import MakeClips  # noqa: E402
from .test_tuning import Drawn, tuning  # noqa: E402


class Known(Drawn):
    """Features of clips that exist."""

    def __init__(self, clips: ClipSet) -> None:
        super().__init__()
        self.clips = clips


class Device:
    """Answers by the clip's name, as a device might."""

    def __init__(self, folder: Path, threads: int) -> None:
        assert (folder / LLM / "decoder.bin").read_bytes() == b"int4"
        assert (folder / FORMER).exists()
        assert Stage2Spec.read(folder).threshold == 0.5

    def probability(self, clip: Clip) -> float:
        return {"a": 0.31, "b": 0.35, "c": 0.21, "d": 0.11}[clip.event_id]


def test_the_device_s_own_answers_set_the_threshold(
    tmp_path: Path, make_clips: MakeClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune_run, "DeviceBranch", Device)
    clips = make_clips({"a": "cyclist", "b": "runner", "c": None, "d": None})
    run = tuning(tmp_path / "run")
    features: Any = Known(clips)
    run.validation = [(Lesson(record, ()), features) for record in clips.records()]
    decoder = tmp_path / "int4"
    decoder.mkdir()
    (decoder / "decoder.bin").write_bytes(b"int4")
    report = tune_run.finish(run, ["clips"], "tiny", Console(quiet=True), decoder)
    assert 0.21 < report["threshold"] <= 0.31
    assert report["validation_balanced_accuracy"] == 1.0
    spec = Stage2Spec.read(tmp_path / "run" / "stage2")
    assert round(spec.threshold, 6) == report["threshold"]
    assert spec.training["calibration"] == {"clips": 4, "by": "device", "balanced_accuracy": 1.0}


def test_normal_clips_alone_set_the_threshold_too(
    tmp_path: Path, make_clips: MakeClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = make_clips({"c": None, "d": None})
    run = tuning(tmp_path)
    features: Any = Known(clips)
    run.validation = [(Lesson(record, ()), features) for record in clips.records()]
    report = tune_run.finish(run, ["clips"], "tiny", Console(quiet=True))
    _, probability = run.probabilities(run.validation)
    assert probability.max() < report["threshold"] == pytest.approx((probability.max() + 1) / 2, abs=1e-6)
    assert Stage2Spec.read(tmp_path / "stage2").training["calibration"]["normal_let_pass"] == 0.9
    assert report["validation_balanced_accuracy"] is None


def test_nothing_to_calibrate_on(tmp_path: Path) -> None:
    run = tuning(tmp_path)
    run.validation = []
    assert tune_run.finish(run, ["clips"], "tiny", Console(quiet=True))["threshold"] == 0.5


def test_without_a_decoder_torch_answers(tmp_path: Path) -> None:
    run = tuning(tmp_path)
    report = tune_run.finish(run, ["clips"], "tiny", Console(quiet=True))
    truth, probability = run.probabilities(run.validation)
    spec = Stage2Spec.read(tmp_path / "stage2")
    assert spec.training["calibration"]["by"] == "torch"
    right = (probability >= spec.threshold) == truth
    assert np.isclose(
        report["validation_balanced_accuracy"], (right[truth].mean() + right[~truth].mean()) / 2, atol=1e-4
    )
    assert not (tmp_path / "stage2" / LLM).exists()
