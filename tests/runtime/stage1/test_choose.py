"""Which backend is taken, and what is said where a part is missing."""

from __future__ import annotations

import logging

import pytest

from callm_edge.bundle import Bundle
from callm_edge.errors import BundleError, UsageError, UserError
from callm_edge.stage1 import choose, gpu, ort_cuda
from callm_edge.stage1.choose import BACKENDS, open_backend, present
from callm_edge.stage1.tensorrt import library
from callm_edge.stage1.tensorrt.open import engine_of


class OnGpu:
    def __init__(self, name: str) -> None:
        self.name = name

    def stream(self) -> object:
        raise AssertionError


@pytest.fixture
def gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "present", lambda: True)
    monkeypatch.setattr(library, "installed", lambda: True)
    monkeypatch.setattr(ort_cuda, "installed", lambda: True)
    monkeypatch.setattr(choose, "_tensorrt", lambda bundle, precision, progress: OnGpu(f"tensorrt-{precision}"))
    monkeypatch.setattr(choose, "_cuda", lambda bundle: OnGpu("cuda"))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "present", lambda: False)


@pytest.mark.usefixtures("gpu_here")
def test_auto_takes_tensorrt_where_all_of_it_is_here(tiny_bundle: Bundle) -> None:
    assert present(tiny_bundle) == ["tensorrt", "cuda", "shared", "onnxruntime"]
    assert open_backend(tiny_bundle).name == "tensorrt-fp16"
    assert open_backend(tiny_bundle, "tensorrt-int8").name == "tensorrt-int8"


@pytest.mark.usefixtures("gpu_here")
def test_auto_falls_down_step_by_step_and_says_why(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> object:
        raise UserError("The engine cannot be built", "no memory")

    monkeypatch.setattr(choose, "_tensorrt", broken)
    with caplog.at_level(logging.WARNING):
        assert open_backend(tiny_bundle).name == "cuda"
        monkeypatch.setattr(choose, "_cuda", broken)
        assert open_backend(tiny_bundle).name.startswith("shared-cpu")
    assert "does not run on tensorrt: The engine cannot be built: no memory" in caplog.text
    with pytest.raises(UserError, match="no memory"):
        open_backend(tiny_bundle, "tensorrt")


@pytest.mark.usefixtures("no_gpu")
def test_auto_without_a_gpu_shares_work_on_the_cpu(tiny_bundle: Bundle) -> None:
    assert present(tiny_bundle) == ["shared", "onnxruntime"]
    assert open_backend(tiny_bundle, "auto", threads=1).name.startswith("shared-cpu")
    assert open_backend(tiny_bundle, "onnxruntime").name.startswith("onnxruntime-cpu")


@pytest.mark.usefixtures("no_gpu")
def test_a_bundle_of_before_the_shared_graphs_still_runs(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundle, "shared_path", None)
    assert open_backend(tiny_bundle).name.startswith("onnxruntime-cpu")
    with pytest.raises(BundleError, match="no shared graphs"):
        open_backend(tiny_bundle, "shared")


def test_a_wrong_name_gets_a_hint(tiny_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="Did you mean 'tensorrt'") as caught:
        open_backend(tiny_bundle, "tensort")
    assert all(name in caught.value.why for name in BACKENDS)


def test_a_named_part_that_is_missing_is_an_error_with_a_remedy(tiny_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no int8 graph.*export --int8"):
        engine_of(tiny_bundle, "int8")
    if not gpu.present():
        with pytest.raises(UserError, match="no NVIDIA driver") as caught:
            open_backend(tiny_bundle, "tensorrt")
        assert caught.value.fix
    if not ort_cuda.installed():
        with pytest.raises(UserError, match="has no CUDA") as caught:
            open_backend(tiny_bundle, "cuda")
        assert "onnxruntime" in caught.value.fix


def test_tensorrt_that_is_absent_or_too_old_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import SimpleNamespace

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(UserError, match=r"not installed.*JetPack"):
        library.load()
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="8.6.1"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"8.6.1 is too old.*10\.3"):
        library.load()
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.3.0.26"))  # type: ignore[arg-type]
    assert library.load().__version__ == "10.3.0.26"
