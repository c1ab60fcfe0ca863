"""Multiply-adds per frame, counted in the graphs themselves: `python -m callm_bench.multiply_adds`."""

from __future__ import annotations

import math
from collections import defaultdict

import onnx
from onnx import numpy_helper
from rich.console import Console
from rich.table import Table

from callm_bench.peers.full_graph import full_graph
from callm_export.autoencoder import PRESETS, Autoencoder
from callm_export.onnx_graph import score_graph
from callm_export.shared_graphs import shared_graphs


def multiply_adds(graph: onnx.ModelProto) -> dict[str, int]:
    """Of the convolutions for one window (B = 1), by layer.

    A convolution makes one for each output value and weight of its filter, a transposed one for each input value and
    weight; what padding or cropping cuts off is counted, as it is for everybody.
    """
    inferred = onnx.shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    weights = {w.name: numpy_helper.to_array(w) for w in graph.graph.initializer}
    counted: dict[str, int] = defaultdict(int)
    for node in inferred.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        weight = weights[node.input[1]]
        at = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
        layer = ".".join(node.input[1].split(".")[:2])
        counted[layer] += math.prod(at[2:]) * weight.size
    return dict(counted)


def per_frame(preset: str) -> dict[str, dict[str, int]]:
    """Of one frame at stride 1: of the whole window, of what of it reaches frame 9, and shared."""
    model = Autoencoder.preset(preset).eval()
    shared: dict[str, int] = defaultdict(int)
    for graph in shared_graphs(model).values():
        for layer, count in multiply_adds(graph).items():
            shared[layer] += count
    return {
        "whole window": multiply_adds(full_graph(model)),
        "what reaches frame 9": multiply_adds(score_graph(model)),
        "shared": dict(shared),
    }


def main() -> None:
    console = Console(highlight=False)
    for preset in PRESETS:
        counts = per_frame(preset)
        table = Table(title=f"{preset}: million multiply-adds per frame")
        for column in ("layer", *counts):
            table.add_column(column, justify="left" if column == "layer" else "right")
        for layer in counts["whole window"]:
            table.add_row(layer, *(f"{count[layer] / 1e6:,.1f}" for count in counts.values()))
        sums = [sum(count.values()) for count in counts.values()]
        table.add_row("sum", *(f"{s / 1e6:,.1f}" for s in sums), style="bold")
        table.add_row("less by", *(f"{sums[0] / s:.2f}x" for s in sums))
        console.print(table)


if __name__ == "__main__":
    main()
