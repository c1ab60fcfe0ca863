"""The float16 graph of stage 1 with int8 convolutions, by explicit Q/DQ nodes: the way TensorRT 10 and 11 both take.

Quantized are the convolutions of the encoder but the first. The first sees the gray picture itself, one channel, where
little is to be gained; transposed convolutions in 3D have no int8 kernels in TensorRT. Weights are int8 per output
channel, activations per tensor, both symmetric (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", 2018). Each activation is clipped where the squared error of rounding and
clipping together is least on the calibration windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from callm_edge.errors import UserError
from callm_edge.stage1.tensorrt.builder import INT8_PREFIX

OPSET, IR_VERSION = 19, 9  # the first opset whose QuantizeLinear takes float16; both read by TensorRT 10.3
LEVELS = 127
SAMPLES = 50_000  # values kept of each tensor and window
CLIPS = np.linspace(0.2, 1.0, 41)  # of the largest magnitude, tried as clipping points


def quantized_names(graph: onnx.GraphProto) -> list[str]:
    """Outputs of the convolutions that are quantized."""
    return [node.output[0] for node in graph.node if node.op_type == "Conv"][1:]


def int8_graph(half: onnx.ModelProto, windows: Iterable[np.ndarray]) -> onnx.ModelProto:
    """`half` (see callm_export.onnx_graph) with Q/DQ nodes around the weights and inputs of the quantized convolutions.

    windows: (16, 256, 256) uint8 each, of normal footage; some tens are enough. Raises UserError where there are none.
    """
    model = onnx.ModelProto()
    model.CopyFrom(half)
    graph = model.graph
    wanted = quantized_names(graph)
    convolutions = {node.output[0]: node for node in graph.node if node.output[0] in wanted}
    scales = activation_scales(half, [node.input[0] for node in convolutions.values()], windows)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output[0] in convolutions:
            x, w = node.input[0], node.input[1]
            channel_scale = np.abs(weights[w].astype(np.float32)).max(axis=(1, 2, 3, 4)) / LEVELS
            channel_scale = np.maximum(channel_scale, np.finfo(np.float16).tiny)
            node.input[0] = _round_trip(graph, nodes, x, np.float16(scales[x]))
            node.input[1] = _round_trip(graph, nodes, w, channel_scale.astype(np.float16))
            node.name = f"{INT8_PREFIX}{node.output[0]}"
        nodes.append(_in_opset_19(graph, node))
    del graph.node[:]
    graph.node.extend(nodes)
    model.opset_import[0].version = OPSET
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def activation_scales(
    model: onnx.ModelProto, names: Sequence[str], windows: Iterable[np.ndarray]
) -> dict[str, np.float32]:
    """The step of int8 for each tensor: its clipping point over 127."""
    import onnxruntime

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for window in windows:
        for name, value in zip(names, session.run(list(names), {"windows": window[None]}), strict=True):
            magnitudes = np.abs(value.astype(np.float32)).ravel()
            few = magnitudes[rng.integers(0, len(magnitudes), SAMPLES)]
            # The largest must not be missed by the sampling: it says how far clipping could have to reach.
            kept[name].append(np.append(few, magnitudes.max()))
    if not kept[names[0]]:
        raise UserError("There is nothing to quantize on", "the footage gave no window", "Give some seconds of it")
    return {name: _best_step(np.concatenate(values)) for name, values in kept.items()}


def _best_step(magnitudes: np.ndarray) -> np.float32:
    largest = max(float(magnitudes.max()), 1e-4)
    steps = (largest / LEVELS * CLIPS).astype(np.float32)
    errors = [
        np.mean((np.minimum(np.round(magnitudes / step), LEVELS) * step - magnitudes) ** 2, dtype=np.float64)
        for step in steps
    ]
    return np.float32(steps[int(np.argmin(errors))])


def _round_trip(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], name: str, scale: np.ndarray) -> str:
    """Append Q and DQ of the tensor `name`; per output channel where there are several scales. Returns DQ's output."""
    step, zero = f"{name}.step", f"{name}.zero"
    graph.initializer.append(numpy_helper.from_array(np.asarray(scale), step))
    graph.initializer.append(numpy_helper.from_array(np.zeros(np.shape(scale), np.int8), zero))
    for op, source, target in (
        ("QuantizeLinear", name, f"{name}.int8"),
        ("DequantizeLinear", f"{name}.int8", f"{name}.rounded"),
    ):
        node = helper.make_node(op, [source, step, zero], [target], name=f"{target}_node")
        if np.ndim(scale):
            node.attribute.append(helper.make_attribute("axis", 0))
        nodes.append(node)
    return f"{name}.rounded"


def _in_opset_19(graph: onnx.GraphProto, node: onnx.NodeProto) -> onnx.NodeProto:
    """Reductions take their axes as an input since opset 18."""
    if node.op_type not in ("ReduceMean", "ReduceMax"):
        return node
    moved = onnx.NodeProto()
    moved.CopyFrom(node)
    axes = next(a for a in node.attribute if a.name == "axes")
    moved.attribute.remove(axes)
    name = f"{node.output[0]}.axes"
    graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(axes.ints)], list(axes.ints)))
    moved.input.append(name)
    return moved
