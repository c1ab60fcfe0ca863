"""The CUDA execution provider, through a fake of the documented interface that runs the graph on the CPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from callm_edge.bundle import AUTOENCODER_FP16, Bundle
from callm_edge.errors import BundleError, UserError
from callm_edge.stage1 import ort_cuda
from callm_edge.stage1.ort_cuda import OrtCuda
from callm_edge.stage1.scorer import OrtScorer


class Value:
    """OrtValue on the GPU: host code reaches it by update_inplace and numpy alone."""

    made = 0

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self._array = np.full(shape, 7, dtype)
        Value.made += 1

    @staticmethod
    def ortvalue_from_shape_and_type(
        shape: tuple[int, ...], element_type: Any, device_type: str = "cpu", device_id: int = 0
    ) -> Value:
        assert (device_type, device_id) == ("cuda", 0)
        return Value(shape, element_type)

    def update_inplace(self, np_arr: np.ndarray) -> None:
        assert np_arr.flags.c_contiguous
        assert np_arr.shape == self._array.shape
        self._array[...] = np_arr

    def numpy(self) -> np.ndarray:
        return self._array.copy()


class Binding:
    def __init__(self) -> None:
        self._inputs: dict[str, Value] = {}
        self._outputs: dict[str, Value] = {}

    def bind_ortvalue_input(self, name: str, ortvalue: Value) -> None:
        self._inputs[name] = ortvalue

    def bind_ortvalue_output(self, name: str, ortvalue: Value) -> None:
        self._outputs[name] = ortvalue

    def synchronize_inputs(self) -> None:
        pass

    def synchronize_outputs(self) -> None:
        pass


class Session:
    falls_back = False

    def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
        import onnxruntime

        ((name, settings),) = providers
        assert name == "CUDAExecutionProvider"
        assert settings["device_id"] == 0
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"] if self.falls_back else ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, iobinding: Binding) -> None:
        names = list(iobinding._outputs)
        found = self._session.run(names, {"windows": iobinding._inputs["windows"]._array})
        for name, value in zip(names, found, strict=True):
            assert value.dtype == np.float32
            iobinding._outputs[name].update_inplace(value)


@pytest.fixture
def ort() -> Any:
    Session.falls_back = False
    return SimpleNamespace(
        __version__="1.32.0",
        SessionOptions=SimpleNamespace,
        InferenceSession=Session,
        OrtValue=Value,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )


def test_the_fake_knows_only_what_onnx_runtime_has() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    for fake, real in ((Value, onnxruntime.OrtValue), (Binding, onnxruntime.IOBinding)):
        names = [name for name in vars(fake) if not name.startswith("_") and name != "made"]
        assert all(hasattr(real, name) for name in names)


def test_scores_are_those_of_the_half_graph_and_memory_is_bound_once(tiny_bundle: Bundle, ort: Any) -> None:
    path = tiny_bundle.folder / AUTOENCODER_FP16
    stream, wanted = OrtCuda(path, ort=ort).stream(), OrtScorer(path).stream()
    made = Value.made
    frames = np.random.default_rng(0).integers(0, 256, (20, 256, 256), np.uint8)
    kept = []
    for frame in frames:
        stream.push(frame)
        wanted.push(frame)
        got, reference = stream.score(), wanted.score()
        if reference is None:
            assert got is None
            continue
        assert got is not None
        kept.append((got, reference))
    assert len(kept) == 5
    for got, reference in kept:
        for field in ("mse", "psnr_db", "patch_mse", "error_map"):
            np.testing.assert_array_equal(getattr(got, field), getattr(reference, field))
    assert Value.made == made


def test_a_build_without_cuda_and_a_fall_back_to_the_cpu_are_errors(tiny_bundle: Bundle, ort: Any) -> None:
    path = tiny_bundle.folder / AUTOENCODER_FP16
    Session.falls_back = True
    with pytest.raises(UserError, match="fell back to CPUExecutionProvider"):
        OrtCuda(path, ort=ort)
    ort.get_available_providers = lambda: ["CPUExecutionProvider"]
    with pytest.raises(UserError, match="has no CUDA"):
        OrtCuda(path, ort=ort)


def test_a_damaged_graph_is_a_bundle_error(tiny_bundle: Bundle, ort: Any) -> None:
    (tiny_bundle.folder / AUTOENCODER_FP16).write_bytes(b"nonsense")
    with pytest.raises(BundleError, match="cannot load"):
        OrtCuda(tiny_bundle.folder / AUTOENCODER_FP16, ort=ort)


@pytest.mark.gpu
def test_on_a_real_gpu(tiny_bundle: Bundle) -> None:
    if not ort_cuda.installed():
        pytest.skip("the installed onnxruntime has no CUDA execution provider")
    path = tiny_bundle.folder / AUTOENCODER_FP16
    stream, wanted = OrtCuda(path).stream(), OrtScorer(path).stream()
    for frame in np.random.default_rng(0).integers(0, 256, (20, 256, 256), np.uint8):
        stream.push(frame)
        wanted.push(frame)
        got, reference = stream.score(), wanted.score()
        if got is not None and reference is not None:
            np.testing.assert_allclose(got.psnr_db, reference.psnr_db, atol=0.05)
