"""The trained autoencoder as ONNX graphs, built node by node.

score.onnx, for ONNX Runtime:
    windows (B, 16, 256, 256) uint8 -> mse, psnr_db, patch_mse (B,), error_map (B, 128, 128), float32
autoencoder.fp16.onnx, for a strongly typed TensorRT network:
    the same, and reconstruction (B, 256, 256) float16.
    Convolutions are float16 in the graph itself; the score, a reduction, is float32.

BatchNorm is folded into the convolutions, normalisation and score stand inside the graph, and the decoder computes only
the slices that reach frame 9 (see Decoder.scored_frame). Building the graph ourselves keeps it free of what an exporter
adds, and the same for every version of torch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from callm_edge.stage1.scores import MAP_SIZE, PEAK, TILE, TILE_STEP
from callm_export.autoencoder import SCORED, SIZE, WINDOW, Autoencoder

OPSET = 17  # read by ONNX Runtime 1.13 and later and by TensorRT 10 and later


def score_graph(model: Autoencoder, half: bool = False) -> onnx.ModelProto:
    """The graph of `model` in evaluation mode; `half` makes the float16 variant."""
    return _Builder(half).build(model)


class _Builder:
    def __init__(self, half: bool) -> None:
        self.half = half
        self.dtype = np.float16 if half else np.float32
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def build(self, model: Autoencoder) -> onnx.ModelProto:
        x = self.add("Cast", "windows", to=TensorProto.FLOAT16 if self.half else TensorProto.FLOAT)
        # (B, 16, H, W) is the frame stack; the network wants one channel before time.
        x = self.add("Unsqueeze", x, self.constant("channel_axis", np.array([1], np.int64)))
        x = self.normalise(x, self.dtype)
        encoder, decoder = model.encoder.encoder, model.decoder.decoder
        for at in (0, 3, 6, 9):
            x = self.convolution(x, f"encoder.{at}", encoder[at], encoder[at + 1])
        for at in (0, 3, 6, 9):
            x = self.transposed(x, f"decoder.{at}", decoder[at], decoder[at + 1] if at < 9 else None, first=at == 0)
        picture = self.add("Tanh", x)
        axes = self.constant("picture_axes", np.array([1, 2], np.int64))
        picture = self.add("Squeeze", picture, axes, output="reconstruction" if self.half else None)
        self.score(picture)
        outputs = [
            helper.make_tensor_value_info("mse", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("psnr_db", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("patch_mse", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("error_map", TensorProto.FLOAT, ["B", MAP_SIZE, MAP_SIZE]),
        ]
        if self.half:
            outputs.append(helper.make_tensor_value_info("reconstruction", TensorProto.FLOAT16, ["B", SIZE, SIZE]))
        graph = helper.make_graph(
            self.nodes,
            "callm_stage1",
            [helper.make_tensor_value_info("windows", TensorProto.UINT8, ["B", WINDOW, SIZE, SIZE])],
            outputs,
            self.weights,
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="callm-edge")
        proto.ir_version = 8
        onnx.checker.check_model(proto, full_check=True)
        return proto

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"{name}_node", **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        if all(known.name != name for known in self.weights):
            self.weights.append(numpy_helper.from_array(value, name))
        return name

    def normalise(self, x: str, dtype: type) -> str:
        kind = np.dtype(dtype).name
        x = self.add("Div", x, self.constant(f"half_range_{kind}", np.array(127.5, dtype)))
        return self.add("Sub", x, self.constant(f"one_{kind}", np.array(1.0, dtype)))

    def convolution(self, x: str, name: str, layer: torch.nn.Module, norm: torch.nn.Module) -> str:
        weight, bias = _folded(layer, norm, axis=0)
        w, b = (
            self.constant(f"{name}.weight", weight.astype(self.dtype)),
            self.constant(f"{name}.bias", bias.astype(self.dtype)),
        )
        x = self.add("Conv", x, w, b, kernel_shape=[3] * 3, strides=list(layer.stride), pads=[1] * 6)  # type: ignore[arg-type]
        return self.add("LeakyRelu", x, alpha=0.2)

    def transposed(self, x: str, name: str, layer: torch.nn.Module, norm: torch.nn.Module | None, first: bool) -> str:
        weight, bias = _folded(layer, norm, axis=1)
        w, b = (
            self.constant(f"{name}.weight", weight.astype(self.dtype)),
            self.constant(f"{name}.bias", bias.astype(self.dtype)),
        )
        # Time padding of 2 before cuts output frame 0; after, 2 cuts the last of 3 input frames' outer half. The first
        # layer has 2 input frames and keeps outputs 1..3.
        pads = [2, 1, 1, 0 if first else 2, 1, 1]
        strides = list(layer.stride)  # type: ignore[arg-type]
        x = self.add(
            "ConvTranspose", x, w, b, kernel_shape=[3] * 3, strides=strides, pads=pads, output_padding=[0, 1, 1]
        )
        return self.add("LeakyRelu", x, alpha=0.2) if norm is not None else x

    def score(self, picture: str) -> None:
        """The score of callm_export.score.score_frame, in float32 whatever the convolutions are."""
        frame = self.add("Gather", "windows", self.constant("scored", np.array(SCORED, np.int64)), axis=1)
        frame = self.normalise(self.add("Cast", frame, to=TensorProto.FLOAT), np.float32)
        if self.half:
            picture = self.add("Cast", picture, to=TensorProto.FLOAT)
        difference = self.add("Sub", picture, frame)
        squared = self.add("Mul", difference, difference)
        squared = self.add("Unsqueeze", squared, self.constant("channel_axis", np.array([1], np.int64)))
        halved = self.add("AveragePool", squared, kernel_shape=[2, 2], strides=[2, 2])
        error_map = self.add(
            "Squeeze", halved, self.constant("channel_axis", np.array([1], np.int64)), output="error_map"
        )
        mse = self.add("ReduceMean", error_map, output="mse", axes=[1, 2], keepdims=0)
        tiles = self.add("AveragePool", halved, kernel_shape=[TILE // 2] * 2, strides=[TILE_STEP // 2] * 2)
        self.add("ReduceMax", tiles, output="patch_mse", axes=[1, 2, 3], keepdims=0)
        floor = self.add("Max", mse, self.constant("mse_floor", np.array(1e-10, np.float32)))
        ratio = self.add("Div", self.constant("peak_squared", np.array(PEAK**2, np.float32)), floor)
        scale = self.constant("db_per_neper", np.array(10 / math.log(10), np.float32))
        self.add("Mul", self.add("Log", ratio), scale, output="psnr_db")


def _folded(layer: torch.nn.Module, norm: torch.nn.Module | None, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of `layer` followed by `norm`, float64; `axis` of the weight counts the output channels."""
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
