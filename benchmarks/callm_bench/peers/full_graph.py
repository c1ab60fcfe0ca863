"""The autoencoder as anybody would export it: the whole window, all 16 frames decoded. Ours is held against it."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from callm_export.autoencoder import SCORED, SIZE, WINDOW, Autoencoder
from callm_export.graph_builder import GraphBuilder, folded


def full_graph(model: Autoencoder) -> onnx.ModelProto:
    """windows (B, 16, 256, 256) uint8 -> scores, as score.onnx, with every frame decoded and then 15 thrown away."""
    g = GraphBuilder()
    x = g.normalise(g.add("Unsqueeze", g.add("Cast", "windows", to=TensorProto.FLOAT), g.axes(1)), np.float32)
    encoder, decoder = model.encoder.encoder, model.decoder.decoder
    for at in (0, 3, 6, 9):
        x = g.leaky(_layer(g, "Conv", x, f"encoder.{at}", encoder[at], encoder[at + 1]))
    for at in (0, 3, 6):
        x = g.leaky(_layer(g, "ConvTranspose", x, f"decoder.{at}", decoder[at], decoder[at + 1]))
    x = g.add("Tanh", _layer(g, "ConvTranspose", x, "decoder.9", decoder[9], None))
    picture = g.add("Gather", x, g.constant("scored", np.array(SCORED, np.int64)), axis=2)
    frame = g.add("Gather", "windows", "scored", axis=1)
    outputs = g.score(g.add("Squeeze", picture, g.axes(1)), frame)
    return g.model(
        "full", [helper.make_tensor_value_info("windows", TensorProto.UINT8, ["B", WINDOW, SIZE, SIZE])], outputs
    )


def _layer(g: GraphBuilder, op: str, x: str, name: str, layer: torch.nn.Module, norm: torch.nn.Module | None) -> str:
    weight, bias = folded(layer, norm, axis=0 if op == "Conv" else 1)
    w, b = (
        g.constant(f"{name}.{part}", value.astype(np.float32)) for part, value in (("weight", weight), ("bias", bias))
    )
    more = {"output_padding": list(layer.output_padding)} if op == "ConvTranspose" else {}  # type: ignore[arg-type]
    return g.add(op, x, w, b, kernel_shape=[3] * 3, strides=list(layer.stride), pads=[1] * 6, **more)  # type: ignore[arg-type]
