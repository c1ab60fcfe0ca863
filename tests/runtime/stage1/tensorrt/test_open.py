"""From a bundle to engines and a backend, as `export --engine` and `run` go."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from callm_edge.bundle import Bundle
from callm_edge.errors import UserError
from callm_edge.stage1 import gpu
from callm_edge.stage1.choose import open_backend
from callm_edge.stage1.tensorrt import library, runtime
from callm_edge.stage1.tensorrt.cuda import Cuda
from callm_edge.verify import verify


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, trt: ModuleType, cuda_api: Any, kernels: Any) -> None:
    """A machine with a GPU and TensorRT, both fake."""
    monkeypatch.setattr(gpu, "present", lambda: True)
    monkeypatch.setattr(library, "installed", lambda: True)
    monkeypatch.setattr(library, "load", lambda: trt)
    monkeypatch.setattr(Cuda, "load", classmethod(lambda cls: cls(cuda_api)))
    monkeypatch.setattr(runtime.TensorRTBackend.__init__, "__defaults__", (kernels,))


@pytest.mark.usefixtures("machine")
def test_export_engine_builds_into_the_bundle_and_tells_the_proof(tiny_bundle: Bundle) -> None:
    from callm_export.commands.export import export

    told = CliRunner().invoke(export, ["--engine", "--out", str(tiny_bundle.folder)], catch_exceptions=False)
    assert told.exit_code == 0
    assert "Built" in told.output
    assert "8 convolutions proven" in " ".join(told.output.split())
    (engine,) = (tiny_bundle.folder / "engines").glob("*.engine")
    sidecar = json.loads(engine.with_suffix(".json").read_text())
    assert sidecar["key"]["compute_capability"] == "8.7"
    assert Bundle.load(tiny_bundle.folder).hash == tiny_bundle.hash, "engines are no part of the bundle's hash"
    again = CliRunner().invoke(export, ["--engine", "--out", str(tiny_bundle.folder)], catch_exceptions=False)
    assert "Found" in again.output


@pytest.mark.usefixtures("machine")
def test_auto_takes_the_engine_and_verify_compares_it(tiny_bundle: Bundle, trt: ModuleType) -> None:
    """The fake engine runs the bundle's own FP16 graph, so its scores are those of the graph on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tiny_bundle.folder / "stage1/autoencoder.fp16.onnx"))
    trt.IExecutionContext.network = staticmethod(
        lambda windows: session.run(["reconstruction"], {"windows": windows})[0][0]
    )
    backend = open_backend(tiny_bundle)
    assert backend.name == "tensorrt-fp16 10.3.0 sm_87"
    from callm_edge.sources import open_source

    source = open_source("test:plaza?seed=1&seconds=0.8")
    parity = verify(tiny_bundle, {"tensorrt": backend}, [source]).parities["tensorrt"]
    assert parity.windows == 5
    assert parity.max_abs_diff_psnr_db < 0.01
    assert parity.max_abs_diff_patch_psnr_db < 0.02
    assert np.isfinite(parity.mean_abs_diff_psnr_db)


@pytest.mark.usefixtures("machine")
def test_a_bundle_without_the_gpus_graph_says_so(tiny_bundle: Bundle, tmp_path: Path) -> None:
    fields = tiny_bundle.manifest.model_dump(exclude={"schema_version", "files", "decision"})
    (tiny_bundle.folder / "stage1/autoencoder.fp16.onnx").unlink()
    bundle = Bundle.write(tiny_bundle.folder, **fields, decision=tiny_bundle.decision)
    assert open_backend(bundle).name.startswith("shared-cpu")
    with pytest.raises(UserError, match="no fp16 graph"):
        open_backend(bundle, "tensorrt")


def test_export_needs_something_to_do(tmp_path: Path) -> None:
    from callm_edge.errors import UsageError
    from callm_export.commands.export import export

    result = CliRunner().invoke(export, ["--out", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    result = CliRunner().invoke(export, ["--out", str(tmp_path), "--run", "a", "--weights", "b", "--engine"])
    assert isinstance(result.exception, UsageError)
