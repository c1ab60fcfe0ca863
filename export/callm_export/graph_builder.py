"""Building ONNX graphs of the autoencoder node by node.

Building the graph ourselves keeps it free of what an exporter adds, and the same for every version of torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from callm_edge.stage1.scores import MAP_SIZE, PEAK, TILE, TILE_STEP

OPSET = 17  # read by ONNX Runtime 1.13 and later and by TensorRT 10 and later
SLOPE = 0.2  # of LeakyReLU


class GraphBuilder:
    """Nodes and weights of one graph. dtype: of the convolutions, float32 or float16."""

    def __init__(self, dtype: type = np.float32) -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node with one output; returns the output's name."""
        name = output or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"{name}_node", **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        """A weight; one name is stored once."""
        if all(known.name != name for known in self.weights):
            self.weights.append(numpy_helper.from_array(value, name))
        return name

    def axes(self, *axes: int) -> str:
        """Axes of Squeeze and Unsqueeze."""
        return self.constant("axes_" + "_".join(str(axis) for axis in axes), np.array(axes, np.int64))

    def normalise(self, x: str, dtype: type) -> str:
        """Gray of type `dtype` -> [-1, 1]: x / 127.5 - 1."""
        kind = np.dtype(dtype).name
        x = self.add("Div", x, self.constant(f"half_range_{kind}", np.array(127.5, dtype)))
        return self.add("Sub", x, self.constant(f"one_{kind}", np.array(1.0, dtype)))

    def leaky(self, x: str, output: str | None = None) -> str:
        return self.add("LeakyRelu", x, output=output, alpha=SLOPE)

    def score(self, picture: str, frame: str) -> list[onnx.ValueInfoProto]:
        """The score of callm_export.score.score_frame, float32 whatever the convolutions are; returns the outputs.

        picture: (B, 256, 256) reconstruction. frame: (B, 256, 256) uint8.
        """
        frame = self.normalise(self.add("Cast", frame, to=TensorProto.FLOAT), np.float32)
        if self.dtype != np.float32:
            picture = self.add("Cast", picture, to=TensorProto.FLOAT)
        difference = self.add("Sub", picture, frame)
        squared = self.add("Mul", difference, difference)
        squared = self.add("Unsqueeze", squared, self.axes(1))
        halved = self.add("AveragePool", squared, kernel_shape=[2, 2], strides=[2, 2])
        error_map = self.add("Squeeze", halved, self.axes(1), output="error_map")
        mse = self.add("ReduceMean", error_map, output="mse", axes=[1, 2], keepdims=0)
        tiles = self.add("AveragePool", halved, kernel_shape=[TILE // 2] * 2, strides=[TILE_STEP // 2] * 2)
        self.add("ReduceMax", tiles, output="patch_mse", axes=[1, 2, 3], keepdims=0)
        floor = self.add("Max", mse, self.constant("mse_floor", np.array(1e-10, np.float32)))
        ratio = self.add("Div", self.constant("peak_squared", np.array(PEAK**2, np.float32)), floor)
        scale = self.constant("db_per_neper", np.array(10 / math.log(10), np.float32))
        self.add("Mul", self.add("Log", ratio), scale, output="psnr_db")
        return [
            *(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B"])
                for name in ("mse", "psnr_db", "patch_mse")
            ),
            helper.make_tensor_value_info("error_map", TensorProto.FLOAT, ["B", MAP_SIZE, MAP_SIZE]),
        ]

    def model(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The finished graph, checked."""
        graph = helper.make_graph(self.nodes, name, list(inputs), list(outputs), self.weights)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="callm-edge")
        proto.ir_version = 8
        onnx.checker.check_model(proto, full_check=True)
        return proto


def folded(layer: torch.nn.Module, norm: torch.nn.Module | None, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of `layer` followed by BatchNorm `norm`, float64; `axis` of the weight counts output channels."""
    weight, bias = _float64(layer.weight), _float64(layer.bias)
    if norm is None:
        return weight, bias
    assert isinstance(norm, torch.nn.BatchNorm3d)
    scale = _float64(norm.weight) / np.sqrt(_float64(norm.running_var) + norm.eps)
    shape = [1] * weight.ndim
    shape[axis] = -1
    return weight * scale.reshape(shape), (bias - _float64(norm.running_mean)) * scale + _float64(norm.bias)


def _float64(values: object) -> np.ndarray:
    assert isinstance(values, torch.Tensor)
    return values.detach().cpu().numpy().astype(np.float64)
