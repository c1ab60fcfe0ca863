"""Whether the backend that runs is the one the threshold was calibrated on."""

from __future__ import annotations

from pathlib import Path

import pytest

from callm_edge.bundle import Bundle
from callm_edge.decision.calibrated_backend import calibration_mismatch, graph_sha256
from callm_edge.decision.calibration import Calibrated
from callm_edge.stage1.choose import open_backend


class Engine:
    """Stands for TensorRTBackend where only its name and hash matter."""

    def __init__(self, name: str = "tensorrt-fp16 10.3.0 sm_87", graph_sha256: str = "a" * 64) -> None:
        self.name, self.graph_sha256 = name, graph_sha256

    def stream(self) -> object:
        raise AssertionError


def calibrated_on(bundle: Bundle, backend: object) -> Bundle:
    found = Calibrated(5.0, False, 1.0, 0.1)
    record = found.record(backend.name, graph_sha256(backend, bundle.folder), ["x.mp4"], 1.0)  # type: ignore[attr-defined, arg-type]
    return bundle.with_decision(bundle.decision, record)


@pytest.mark.parametrize("name", ["shared", "onnxruntime"])
def test_the_backend_of_the_calibration_matches(tiny_bundle: Bundle, name: str) -> None:
    backend = open_backend(tiny_bundle, name)
    bundle = calibrated_on(tiny_bundle, backend)
    assert calibration_mismatch(bundle, open_backend(bundle, name)) is None
    assert len(bundle.manifest.calibration["graph_sha256"]) == 64


def test_another_backend_is_told(tiny_bundle: Bundle) -> None:
    bundle = calibrated_on(tiny_bundle, open_backend(tiny_bundle, "shared"))
    sentence = calibration_mismatch(bundle, Engine())  # type: ignore[arg-type]
    assert sentence is not None
    assert sentence.startswith("The threshold was calibrated on shared-cpu onnxruntime")
    assert "this is tensorrt-fp16 10.3.0 sm_87" in sentence
    assert "callm-edge verify" in sentence
    int8 = Engine("tensorrt-int8 10.3.0 sm_87")
    assert calibration_mismatch(calibrated_on(tiny_bundle, Engine()), int8) is not None  # type: ignore[arg-type]


def test_another_engine_of_the_same_kind_is_told(tiny_bundle: Bundle) -> None:
    bundle = calibrated_on(tiny_bundle, Engine())
    assert calibration_mismatch(bundle, Engine()) is None  # type: ignore[arg-type]
    sentence = calibration_mismatch(bundle, Engine(graph_sha256="b" * 64))  # type: ignore[arg-type]
    assert sentence is not None
    assert "another engine of tensorrt-fp16" in sentence


def test_other_weights_under_an_old_record_are_told(tiny_bundle: Bundle) -> None:
    backend = open_backend(tiny_bundle, "onnxruntime")
    bundle = calibrated_on(tiny_bundle, backend)
    with bundle.score_path.open("ab") as file:
        file.write(b"\0")
    sentence = calibration_mismatch(bundle, backend)
    assert sentence is not None
    assert "another graph" in sentence


def test_a_bundle_that_was_never_calibrated_says_so(tiny_bundle: Bundle) -> None:
    sentence = calibration_mismatch(tiny_bundle, open_backend(tiny_bundle, "shared"))
    assert sentence is not None
    assert "never calibrated" in sentence


def test_a_record_of_before_the_hash_is_judged_by_its_name(tiny_bundle: Bundle) -> None:
    backend = open_backend(tiny_bundle, "onnxruntime")
    bundle = tiny_bundle.with_decision(tiny_bundle.decision, {"backend": "onnxruntime-cpu 1.18.0", "hours": 1})
    assert calibration_mismatch(bundle, backend) is None


def test_the_hash_is_that_of_the_graph(tiny_bundle: Bundle, tmp_path: Path) -> None:
    assert (
        graph_sha256(open_backend(tiny_bundle, "onnxruntime"), tiny_bundle.folder)
        == tiny_bundle.manifest.files["stage1/score.onnx"]
    )
    shared = graph_sha256(open_backend(tiny_bundle, "shared"), tiny_bundle.folder)
    assert shared not in tiny_bundle.manifest.files.values()
