"""From a bundle to a backend on TensorRT."""

from __future__ import annotations

from callm_edge.bundle import AUTOENCODER_FP16, AUTOENCODER_INT8, Bundle
from callm_edge.errors import BundleError
from callm_edge.stage1.tensorrt import library
from callm_edge.stage1.tensorrt.cuda import Cuda
from callm_edge.stage1.tensorrt.engine_cache import EngineCache
from callm_edge.stage1.tensorrt.engine_key import BuildFlags
from callm_edge.stage1.tensorrt.progress import BuildProgress
from callm_edge.stage1.tensorrt.ready import ReadyEngine, ready_engine
from callm_edge.stage1.tensorrt.runtime import TensorRTBackend

GRAPHS = {"fp16": AUTOENCODER_FP16, "int8": AUTOENCODER_INT8}


def open_tensorrt(bundle: Bundle, precision: str = "fp16", progress: BuildProgress | None = None) -> TensorRTBackend:
    """The backend; its engine is built first where the cache has none. Raises UserError where a part is missing."""
    cuda = Cuda.load()
    return TensorRTBackend(library.load(), engine_of(bundle, precision, progress, cuda), cuda)


def engine_of(
    bundle: Bundle, precision: str = "fp16", progress: BuildProgress | None = None, cuda: Cuda | None = None
) -> ReadyEngine:
    """The proven engine of a bundle for the GPU at hand. Raises UserError where a part is missing."""
    graph = GRAPHS[precision]
    if graph not in bundle.manifest.files:
        what = "Export it again" if precision == "fp16" else "Run callm-edge export --int8"
        raise BundleError(f"The bundle '{bundle.name}' has no {precision} graph", f"'{graph}' is not in it", what)
    trt = library.load()
    device = (cuda or Cuda.load()).device()
    return ready_engine(
        trt,
        bundle.folder / graph,
        device.compute_capability,
        EngineCache.beside(bundle.folder),
        BuildFlags(precision=precision),
        progress,
    )
