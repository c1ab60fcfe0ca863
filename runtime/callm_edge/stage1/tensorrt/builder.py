"""ONNX graph -> serialized TensorRT engine, strongly typed: the types in the graph are the types of the engine."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callm_edge.errors import UserError
from callm_edge.stage1.tensorrt.engine_key import BuildFlags
from callm_edge.stage1.tensorrt.library import make_logger
from callm_edge.stage1.tensorrt.progress import BuildProgress, make_monitor

log = logging.getLogger(__name__)

INPUT = "windows"
INT8_PREFIX = "int8_"  # how the quantized graph names the convolutions that are to run in int8
ENOUGH_ERRORS = 5


@dataclass(frozen=True)
class Built:
    """data: the engine. timing_cache: the kernels' timings, old ones included; empty where there is none.

    convolutions: name -> 'fp16' or 'int8', what each must turn out to run in.
    """

    data: bytes
    timing_cache: bytes
    convolutions: dict[str, str]


def build(trt: Any, onnx_path: Path, flags: BuildFlags, timing_cache: bytes, progress: BuildProgress) -> Built:
    """Build an engine for the GPU at hand.

    Raises UserError where the graph is not what `flags` says or TensorRT cannot build it; KeyboardInterrupt where the
    user stops it.
    """
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    # TensorRT 11 has only strongly typed networks, and takes the flag all the same.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx_path.read_bytes()):
        errors = [parser.get_error(i).desc() for i in range(min(parser.num_errors, ENOUGH_ERRORS))]
        raise UserError(f"TensorRT cannot read {onnx_path}", "; ".join(errors), "Export the bundle again")
    _keep_outputs(network, flags.outputs, onnx_path)
    convolutions = _convolutions(trt, network, flags, onnx_path)

    config = builder.create_builder_config()
    # Without detailed verbosity the layer list names no types, and nothing could be proven.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # A Jetson's memory is shared with the rest of the system, and the default would be all of it.
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, flags.workspace_mb << 20)
    shape = (flags.batch, *tuple(network.get_input(0).shape)[1:])
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, shape, shape, shape)
    if config.add_optimization_profile(profile) < 0:
        raise UserError(f"TensorRT refuses the shape {shape} of {onnx_path}", logger.last_error, "Export again")
    cache = _timing_cache(config, timing_cache)
    monitor = make_monitor(trt, progress)
    config.progress_monitor = monitor

    serialized = builder.build_serialized_network(network, config)
    if monitor.interrupted is not None:
        raise monitor.interrupted
    if serialized is None:
        raise UserError(
            f"TensorRT cannot build an engine from {onnx_path}", logger.last_error, "The log has the details"
        )
    return Built(bytes(serialized), bytes(cache.serialize()) if cache is not None else b"", convolutions)


def combine_timing_caches(trt: Any, ours: bytes, others: bytes) -> bytes:
    """Both caches in one; ours where the other is of another TensorRT or damaged."""
    if not others or not ours:
        return ours or others
    config = trt.Builder(make_logger(trt)).create_builder_config()
    mine, theirs = config.create_timing_cache(ours), config.create_timing_cache(others)
    if mine is None or theirs is None or not mine.combine(theirs, False):
        return ours
    return bytes(mine.serialize())


def _keep_outputs(network: Any, wanted: tuple[str, ...], path: Path) -> None:
    """Unmark all outputs but the wanted: what only they need is then not built. The fused kernel scores instead."""
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    missing = set(wanted) - {tensor.name for tensor in outputs}
    if missing:
        raise UserError(
            f"{path} is of an older version",
            f"it gives no {', '.join(sorted(missing))}",
            "Export the bundle again",
        )
    for tensor in outputs:
        if tensor.name not in wanted:
            network.unmark_output(tensor)


def _convolutions(trt: Any, network: Any, flags: BuildFlags, path: Path) -> dict[str, str]:
    """The network's convolutions and what they are to run in. Raises UserError where the graph's own types differ."""
    found: dict[str, str] = {}
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        if layer.type not in (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION):
            continue
        if layer.get_output(0).dtype != trt.DataType.HALF:
            raise UserError(
                f"{path} is not a half precision graph",
                f"its convolution '{layer.name}' gives {layer.get_output(0).dtype}",
                "Export the bundle again",
            )
        found[layer.name] = "int8" if layer.name.startswith(INT8_PREFIX) else "fp16"
    if not found:
        raise UserError(f"{path} has no convolutions", "it is no autoencoder", "Export the bundle again")
    if flags.precision == "int8" and "int8" not in found.values():
        raise UserError(f"{path} is not quantized", "none of its convolutions is int8", "Run callm-edge export --int8")
    return found


def _timing_cache(config: Any, stored: bytes) -> Any:
    cache = config.create_timing_cache(stored)
    if cache is None or not config.set_timing_cache(cache, False):
        log.warning("The timing cache is of another device or damaged; a new one is begun")
        cache = config.create_timing_cache(b"")
        if cache is None or not config.set_timing_cache(cache, False):
            return None
    return cache
