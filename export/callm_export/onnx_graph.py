"""The trained autoencoder as an ONNX graph of the whole window.

score.onnx, for ONNX Runtime:
    windows (B, 16, 256, 256) uint8 -> mse, psnr_db, patch_mse (B,), error_map (B, 128, 128), float32
autoencoder.fp16.onnx, for a strongly typed TensorRT network:
    the same, and reconstruction (B, 256, 256) float16.
    Convolutions are float16 in the graph itself; the score, a reduction, is float32. Two detours suit the GPU
    libraries: TensorRT casts uint8 and does nothing else with it, and older cuDNN pads both sides of a transposed
    convolution alike.

BatchNorm is folded into the convolutions, normalisation and score stand inside the graph, and the decoder computes only
the slices that reach frame 9 (see Decoder.scored_frame).
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from callm_export.autoencoder import SCORED, SIZE, WINDOW, Autoencoder
from callm_export.graph_builder import GraphBuilder, folded


def score_graph(model: Autoencoder, half: bool = False) -> onnx.ModelProto:
    """The graph of `model` in evaluation mode; `half` makes the float16 variant."""
    g = GraphBuilder(np.float16 if half else np.float32)
    x = windows = g.add("Cast", "windows", to=TensorProto.FLOAT16 if half else TensorProto.FLOAT)
    # (B, 16, H, W) is the frame stack; the network wants one channel before time.
    x = g.normalise(g.add("Unsqueeze", x, g.axes(1)), g.dtype)
    encoder, decoder = model.encoder.encoder, model.decoder.decoder
    for at in (0, 3, 6, 9):
        x = _convolution(g, x, f"encoder.{at}", encoder[at], encoder[at + 1])
    for at in (0, 3, 6, 9):
        x = _transposed(g, x, f"decoder.{at}", decoder[at], decoder[at + 1] if at < 9 else None, first=at == 0)
    picture = g.add("Squeeze", g.add("Tanh", x), g.axes(1, 2), output="reconstruction" if half else None)
    # Grays up to 255 are exact in float16.
    frame = g.add("Gather", windows if half else "windows", g.constant("scored", np.array(SCORED, np.int64)), axis=1)
    outputs = g.score(picture, frame)
    if half:
        outputs.append(helper.make_tensor_value_info("reconstruction", TensorProto.FLOAT16, ["B", SIZE, SIZE]))
    grays = helper.make_tensor_value_info("windows", TensorProto.UINT8, ["B", WINDOW, SIZE, SIZE])
    return g.model("callm_stage1", [grays], outputs)


def _convolution(g: GraphBuilder, x: str, name: str, layer: torch.nn.Module, norm: torch.nn.Module) -> str:
    w, b = _weights(g, name, layer, norm, axis=0)
    x = g.add("Conv", x, w, b, kernel_shape=[3] * 3, strides=list(layer.stride), pads=[1] * 6)  # type: ignore[arg-type]
    return g.leaky(x)


def _transposed(
    g: GraphBuilder, x: str, name: str, layer: torch.nn.Module, norm: torch.nn.Module | None, first: bool
) -> str:
    w, b = _weights(g, name, layer, norm, axis=1)
    # Time padding of 2 before cuts output frame 0; after, 2 cuts the last of 3 input frames' outer half. The first
    # layer has 2 input frames and keeps outputs 1..3.
    pads = [2, 1, 1, 0 if first else 2, 1, 1]
    cut = first and g.dtype == np.float16
    if cut:
        pads[0] = 0
    strides = list(layer.stride)  # type: ignore[arg-type]
    x = g.add("ConvTranspose", x, w, b, kernel_shape=[3] * 3, strides=strides, pads=pads, output_padding=[0, 1, 1])
    if cut:
        bounds = (g.constant(name, np.array([at], np.int64)) for name, at in (("cut_from", 2), ("cut_to", 5)))
        x = g.add("Slice", x, *bounds, g.axes(2))
    return g.leaky(x) if norm is not None else x


def _weights(
    g: GraphBuilder, name: str, layer: torch.nn.Module, norm: torch.nn.Module | None, axis: int
) -> tuple[str, str]:
    weight, bias = folded(layer, norm, axis)
    return g.constant(f"{name}.weight", weight.astype(g.dtype)), g.constant(f"{name}.bias", bias.astype(g.dtype))
