"""Weights of an ONNX graph in fewer bytes: ONNX Runtime unfolds them once as it loads, and computes as fast as before.

A weight becomes int8 with one scale for every output channel, or half precision, and a Cast behind it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from callm_edge import atomic

SMALL = 1024  # values: below it is nothing to gain
LARGE = 40_000  # values of what 8 bits are worth it for: the small layers of an EfficientNet bear no rounding


def shrink(path: Path, eight_bits: bool) -> None:
    """Rewrite the graph. eight_bits: of the large matrices and dense convolutions; all else is in half precision."""
    model = onnx.load(str(path))
    nodes, kept = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALL:
            kept.append(tensor)
            continue
        name = tensor.name
        by_depth = values.ndim == 4 and values.shape[1] == 1
        if eight_bits and values.size >= LARGE and not by_depth:
            whole, scales = _eight_bits(values)
            kept += [numpy_helper.from_array(whole, f"{name}.int8"), numpy_helper.from_array(scales, f"{name}.scale")]
            nodes += [
                helper.make_node("Cast", [f"{name}.int8"], [f"{name}.whole"], to=onnx.TensorProto.FLOAT),
                helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name]),
            ]
        else:
            kept.append(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    graph = model.graph
    nodes += list(graph.node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    onnx.checker.check_model(model)
    with atomic.replacing(path) as temporary:
        onnx.save(model, str(temporary))


def _eight_bits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A convolution's (out, in, h, w) or a matrix (in, out) -> int8 of the same shape, and float32 scales."""
    channel = 0 if values.ndim == 4 else values.ndim - 1
    rest = tuple(axis for axis in range(values.ndim) if axis != channel)
    scales = np.maximum(np.abs(values).max(rest, keepdims=True) / 127, np.finfo(np.float32).tiny)
    return np.rint(values / scales).astype(np.int8), scales.astype(np.float32)
