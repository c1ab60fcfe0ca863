"""Which backend of stage 1 a bundle runs with on this machine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from callm_edge.bundle import AUTOENCODER_FP16, AUTOENCODER_INT8, Bundle
from callm_edge.errors import BundleError, UsageError, UserError
from callm_edge.names import nearest
from callm_edge.stage1.backend import Backend

if TYPE_CHECKING:
    from callm_edge.stage1.ort_cuda import OrtCuda
    from callm_edge.stage1.tensorrt.progress import BuildProgress

log = logging.getLogger(__name__)

BACKENDS = ("auto", "shared", "onnxruntime", "tensorrt", "tensorrt-int8", "cuda")


def open_backend(
    bundle: Bundle,
    name: str = "auto",
    threads: int = 0,
    progress: BuildProgress | None = None,
    batch: int = 1,
) -> Backend:
    """Open a backend by name; 'auto' takes the fastest that is here.

    shared: CPU, work shared between neighbouring windows. onnxruntime: CPU, every window anew.
    tensorrt: GPU, the FP16 engine, which is built now if it is not in the cache (minutes on a Jetson).
    tensorrt-int8: the quantized engine, where the bundle holds its graph. cuda: GPU, ONNX Runtime.
    auto: tensorrt, then cuda, then shared, then onnxruntime; where a GPU is there and its backend fails, says why.
    threads: of one call on the CPU; 0 is one per core. progress: hears of an engine build.
    batch: windows of several cameras in one call, with cuda or onnxruntime; auto is then one of these.
    Raises UsageError for an unknown name, BundleError or UserError where a named backend lacks a part.
    """
    if name not in BACKENDS:
        raise UsageError(
            f"There is no backend '{name}'", f"backends are {', '.join(BACKENDS)}", nearest(name, BACKENDS)
        )
    if batch > 1:
        return _batched(bundle, name, threads, batch)
    if name == "tensorrt":
        return _tensorrt(bundle, "fp16", progress)
    if name == "tensorrt-int8":
        return _tensorrt(bundle, "int8", progress)
    if name == "cuda":
        return _cuda(bundle)
    if name == "auto" and (found := _on_gpu(bundle, progress)):
        return found
    return _on_cpu(bundle, name, threads)


def present(bundle: Bundle) -> list[str]:
    """Names of the backends that this machine and bundle have the parts for, the fastest first."""
    from callm_edge.stage1 import gpu, ort_cuda
    from callm_edge.stage1.tensorrt import library

    found = []
    if gpu.present():
        if library.installed():
            found += ["tensorrt"] if AUTOENCODER_FP16 in bundle.manifest.files else []
            found += ["tensorrt-int8"] if AUTOENCODER_INT8 in bundle.manifest.files else []
        if ort_cuda.installed() and AUTOENCODER_FP16 in bundle.manifest.files:
            found.append("cuda")
    return [*found, *(["shared"] if bundle.shared_path else []), "onnxruntime"]


def _on_gpu(bundle: Bundle, progress: BuildProgress | None) -> Backend | None:
    for name in present(bundle):
        if name not in ("tensorrt", "cuda"):
            continue
        try:
            return _tensorrt(bundle, "fp16", progress) if name == "tensorrt" else _cuda(bundle)
        except UserError as error:
            # A camera is better watched slowly than not at all.
            log.warning("Stage 1 does not run on %s: %s", name, error)
    return None


def _on_cpu(bundle: Bundle, name: str, threads: int) -> Backend:
    shared = bundle.shared_path
    if name == "shared" and shared is None:
        raise BundleError(
            f"The bundle '{bundle.name}' has no shared graphs", "it was exported by an older version", "Export it again"
        )
    if name != "onnxruntime" and shared is not None:
        from callm_edge.stage1.shared import SharedWork

        return SharedWork(shared, threads)
    from callm_edge.stage1.scorer import OrtScorer

    return OrtScorer(bundle.score_path, threads)


def _batched(bundle: Bundle, name: str, threads: int, most: int) -> Backend:
    from callm_edge.stage1.batched import Batched
    from callm_edge.stage1.scorer import OrtScorer

    if name not in ("auto", "cuda", "onnxruntime"):
        raise UsageError(
            f"The backend '{name}' takes one window at a time",
            "it keeps what it knows of each camera apart",
            "Leave --batch away, or take --backend cuda or onnxruntime",
        )
    if name == "cuda" or (name == "auto" and "cuda" in present(bundle)):
        return Batched(_cuda(bundle), most)
    return Batched(OrtScorer(bundle.score_path, threads), most)


def _tensorrt(bundle: Bundle, precision: str, progress: BuildProgress | None) -> Backend:
    from callm_edge.stage1.tensorrt.open import open_tensorrt

    return open_tensorrt(bundle, precision, progress)


def _cuda(bundle: Bundle) -> OrtCuda:
    from callm_edge.stage1.ort_cuda import OrtCuda

    if AUTOENCODER_FP16 not in bundle.manifest.files:
        raise BundleError(f"The bundle '{bundle.name}' has no graph for the GPU", "", "Export it again")
    return OrtCuda(bundle.folder / AUTOENCODER_FP16)
