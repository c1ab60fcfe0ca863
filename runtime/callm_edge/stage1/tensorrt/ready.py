"""A proven engine, ready to run: from the cache, or built now."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callm_edge import atomic
from callm_edge.bundle import sha256
from callm_edge.errors import UserError
from callm_edge.stage1.tensorrt.builder import INPUT, build, combine_timing_caches
from callm_edge.stage1.tensorrt.engine_cache import CachedEngine, EngineCache
from callm_edge.stage1.tensorrt.engine_key import BuildFlags, EngineKey
from callm_edge.stage1.tensorrt.library import make_logger
from callm_edge.stage1.tensorrt.precision_proof import MislabelledEngineError, prove
from callm_edge.stage1.tensorrt.progress import BuildProgress, Quiet

log = logging.getLogger(__name__)

DEFAULT_FLAGS = BuildFlags()


@dataclass(frozen=True)
class ReadyEngine:
    """engine: tensorrt.ICudaEngine. sha256: of its file. built: by this call. proof: precision by convolution."""

    engine: Any
    key: EngineKey
    path: Path
    sha256: str
    proof: dict[str, str]
    built: bool


def ready_engine(
    trt: Any,
    onnx_path: Path,
    compute_capability: str,
    cache: EngineCache,
    flags: BuildFlags = DEFAULT_FLAGS,
    progress: BuildProgress | None = None,
) -> ReadyEngine:
    """The engine of a graph for this device; builds it where the cache has none, or none that can be used.

    compute_capability: of the GPU, '8.7'.
    Raises UserError where it cannot be built, MislabelledEngineError where it would not run as it says.
    """
    key = EngineKey(sha256(onnx_path), trt.__version__, compute_capability, flags)
    if ready := _from_cache(trt, cache, key):
        return ready
    with cache.lock(waiting=lambda: log.warning("Another process is building engines in %s; waiting", cache.folder)):
        # Whoever held the lock may have built this very engine.
        return _from_cache(trt, cache, key) or _built(trt, onnx_path, cache, key, progress or Quiet())


def _from_cache(trt: Any, cache: EngineCache, key: EngineKey) -> ReadyEngine | None:
    cached = cache.load(key)
    if cached is None:
        return None
    try:
        return _deserialized(trt, cache, key, cached, built=False)
    except UserError as error:
        log.warning("The engine %s is built again: %s", cache.engine_path(key).name, error)
        return None


def _built(trt: Any, onnx_path: Path, cache: EngineCache, key: EngineKey, progress: BuildProgress) -> ReadyEngine:
    timings = cache.timing_cache_path(key)
    known = timings.read_bytes() if timings.exists() else b""
    began = time.monotonic()
    built = build(trt, onnx_path, key.flags, known, progress)
    seconds = time.monotonic() - began
    # Proven before it is stored: an engine that is refused never gets a name.
    ready = _deserialized(trt, cache, key, CachedEngine(built.data, "", built.convolutions), built=True)
    stored = cache.store(key, built.data, ready.proof, seconds)
    if built.timing_cache:
        now = timings.read_bytes() if timings.exists() else b""
        atomic.write_bytes(timings, combine_timing_caches(trt, built.timing_cache, now))
    log.info("Built %s in %.0f s", ready.path.name, seconds)
    return ReadyEngine(ready.engine, key, ready.path, stored.sha256, ready.proof, built=True)


def _deserialized(trt: Any, cache: EngineCache, key: EngineKey, cached: CachedEngine, built: bool) -> ReadyEngine:
    logger = make_logger(trt)
    engine = trt.Runtime(logger).deserialize_cuda_engine(cached.data)
    if engine is None:
        raise UserError("TensorRT cannot load the engine", logger.last_error, "It will be built again")
    if not cached.proof:
        raise MislabelledEngineError("The engine is refused: its sidecar names no convolution", "", "Build it again")
    expected = {name: wanted.split(" ")[0] for name, wanted in cached.proof.items()}
    proof = prove(layer_information(trt, engine), expected)
    return ReadyEngine(engine, key, cache.engine_path(key), cached.sha256, proof, built)


def layer_information(trt: Any, engine: Any) -> str:
    """The inspector's JSON, with the shapes set: without them it would say 'N/A due to dynamic shapes' for types."""
    context = engine.create_execution_context()
    if context is None:
        raise UserError("TensorRT cannot run the engine", "there is not enough GPU memory", "Close other programs")
    shape = tuple(engine.get_tensor_profile_shape(INPUT, 0)[1])
    context.set_input_shape(INPUT, shape)
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
