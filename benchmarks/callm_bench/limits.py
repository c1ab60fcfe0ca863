"""How near to the machine a stage comes, and how fast it could be at best on a Jetson.

Measured, for this CPU: the largest rate of multiply-adds (a float32 matrix product) and of memory (STREAM's triad,
a = b + s c), on the threads that the stages have. A stage's work is counted in its graph: two FLOP for every
multiply-add of a convolution or matrix product, and the bytes that must move at least: weights, inputs and outputs of
the graph, once. Inner results may stay in caches, so the share of the bandwidth is a lower bound of what really moves.

Computed, for boards that nobody has measured: the larger of FLOP over the board's dense FP16 peak and bytes (FP16
weights) over its bandwidth. Nothing can be faster; how near a real engine comes is another matter.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from callm_bench.roofline import BANDWIDTH_GBPS
from callm_bench.setting import Setting
from callm_bench.stages import stage1
from callm_edge.bundle import Bundle
from callm_edge.stage2.decoder import GRAPH
from callm_edge.stage2.prompts import FRAMES, QUERIES, frames_message, template
from callm_edge.stage2.spec import FORMER, LLM, VISION, Stage2Spec
from callm_edge.stage2.text import TOKENIZER, Tokenizer

# Dense FP16 tensor peak of the GPU, TFLOP/s, from NVIDIA's data sheets, which give sparse INT8 (Orin: 40, 67 and, for
# the GPU alone, 170 TOPS) and sparse FP4 (Thor: 2070 TFLOPS): half for dense, half again for every doubling of width.
PEAK_TFLOPS = {
    "Orin Nano 8GB": 10.0,
    "Orin Nano 8GB Super": 16.7,
    "AGX Orin 64GB": 42.5,
    "Thor T5000": 259.0,
}


@dataclass(frozen=True)
class Work:
    """Of one unit of a stage. flop: 2 for a multiply-add. bytes_moved: at least; half_bytes: with FP16 weights."""

    flop: float
    bytes_moved: float
    half_bytes: float

    def __add__(self, other: Work) -> Work:
        return Work(self.flop + other.flop, self.bytes_moved + other.bytes_moved, self.half_bytes + other.half_bytes)


def work_of(graph: onnx.ModelProto, batch: int = 1, tokens: int = 1) -> Work:
    """Of one run of a graph. batch: for unnamed dimensions of inputs; tokens: rows of a decoder's products.

    Raises ValueError where the shape of a convolution or product cannot be told.
    """
    shapes = _shapes(graph, batch)
    constants = {weight.name: list(weight.dims) for weight in graph.graph.initializer}
    flop = 0.0
    for node in graph.graph.node:
        flop += 2 * _multiply_adds(node, shapes | constants, tokens)
    stored = sum(_bytes(weight) for weight in graph.graph.initializer)
    values = sum(math.prod(weight.dims) for weight in graph.graph.initializer if weight.data_type in _FLOATS)
    floats = sum(_bytes(weight) for weight in graph.graph.initializer if weight.data_type in _FLOATS)
    ends = 0.0
    for end in (*graph.graph.input, *graph.graph.output):
        if "past" not in end.name and "present" not in end.name:
            ends += math.prod(shapes.get(end.name, [0])) * _width(end.type.tensor_type.elem_type)
    return Work(flop, stored + ends, stored - floats + 2 * values + ends)


_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


def _multiply_adds(node: onnx.NodeProto, shapes: dict[str, list[int]], tokens: int) -> float:
    if node.op_type in ("Conv", "ConvTranspose"):
        weight = _shape(shapes, node.input[1])
        at = _shape(shapes, node.output[0] if node.op_type == "Conv" else node.input[0])
        return math.prod(weight) * math.prod(at[2:]) * at[0]
    if node.op_type in ("MatMul", "Gemm"):
        return math.prod(_shape(shapes, node.output[0])) * _shape(shapes, node.input[0])[-1]
    if node.op_type == "MatMulNBits":
        size = {a.name: a.i for a in node.attribute}
        # The last product, to the vocabulary, reads one token, whatever the prompt's length.
        rows = 1 if size["N"] > 8 * size["K"] else tokens
        return float(size["K"] * size["N"] * rows)
    return 0.0


def _shape(shapes: dict[str, list[int]], name: str) -> list[int]:
    if not shapes.get(name) or 0 in shapes[name]:
        raise ValueError(f"the shape of '{name}' cannot be told")
    return shapes[name]


def _shapes(graph: onnx.ModelProto, batch: int) -> dict[str, list[int]]:
    given = onnx.ModelProto()
    given.CopyFrom(graph)
    for end in given.graph.input:
        for dim in end.type.tensor_type.shape.dim:
            if not dim.dim_value:
                dim.dim_value = batch
    inferred = onnx.shape_inference.infer_shapes(given, data_prop=True).graph
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
    }


def _bytes(weight: onnx.TensorProto) -> float:
    return math.prod(weight.dims) * _width(weight.data_type)


def _width(kind: int) -> float:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)).itemsize


def works(setting: Setting) -> dict[str, Work]:
    """By name of stage, of those whose work can be counted."""
    found: dict[str, Work] = {}
    for preset in setting.presets:
        bundle = stage1.bundle_of(setting, preset)
        found[stage1.stage_name(preset, "onnxruntime")] = work_of(onnx.load(str(bundle.score_path)))
        if bundle.shared_path is not None:
            graphs = [work_of(onnx.load(str(path))) for path in sorted(bundle.shared_path.glob("*.onnx"))]
            found[stage1.stage_name(preset, "shared")] = sum(graphs[1:], graphs[0])
    return found | stage2_works(setting.bundle)


def stage2_works(bundle: Bundle) -> dict[str, Work]:
    """Of a bundle's branch; empty where it has none."""
    folder = bundle.stage2_path
    if folder is None:
        return {}
    decoder = onnx.load(str(folder / LLM / GRAPH), load_external_data=False)
    pictures = FRAMES * (1 + Stage2Spec.read(folder).crops)
    return {
        "vision encode": work_of(_folded(folder / VISION, pictures), pictures),
        "Q-Former": work_of(_folded(folder / FORMER, pictures), pictures),
        "prefill": work_of(decoder, tokens=_prompt_tokens(folder)),
        "decode": work_of(decoder),
    }


def _prompt_tokens(folder: Path) -> int:
    """Of the first question, as the stage reads it."""
    spec, tokenizer = Stage2Spec.read(folder), Tokenizer(folder / LLM / TOKENIZER)
    message = frames_message([at / 4 for at in range(8)]) if spec.message else ""
    prompt = template(spec.template).prompt(tokenizer, spec.abnormal_question, message)
    return len(prompt.before) + QUERIES + len(prompt.after)


def _folded(path: Path, batch: int) -> onnx.ModelProto:
    """A graph with its constants folded by ONNX Runtime: shapes that it computes on the way are then known."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    graph = onnx.load(str(path))
    for end in graph.graph.input:
        for dim in end.type.tensor_type.shape.dim:
            if dim.dim_param:
                options.add_free_dimension_override_by_name(dim.dim_param, batch)
    with tempfile.TemporaryDirectory() as temporary:
        options.optimized_model_filepath = str(Path(temporary) / "folded.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def peaks(rounds: int = 8) -> dict[str, float]:
    """What this CPU reaches at best, of several rounds: GFLOP/s in float32 and GB/s, the better of numpy and torch."""
    import torch

    side, length = 1024, 1 << 24
    a = np.random.default_rng(0).random((side, side), np.float32)
    ta, out = torch.from_numpy(a), torch.empty(side, side)
    b, c, d = torch.ones(length), torch.ones(length), torch.empty(length)
    product = min(_best(lambda: np.matmul(a, a), rounds), _best(lambda: torch.mm(ta, ta, out=out), rounds))
    triad = _best(lambda: torch.add(b, c, alpha=3.0, out=d), rounds)
    return {"gflops": round(2 * side**3 / product / 1e9, 1), "gbps": round(3 * 4 * length / triad / 1e9, 1)}


def _best(call: Callable[[], object], rounds: int) -> float:
    call()
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return min(took)


def achieved(
    stages: dict[str, dict[str, Any]], counted: dict[str, Work], best: dict[str, float]
) -> list[dict[str, Any]]:
    """Of each stage that was both timed and counted: rates at its median, and their share of the peaks."""
    rows = []
    for name, work in counted.items():
        if name not in stages:
            continue
        seconds = stages[name]["p50_ms"] / 1000
        gflops, gbps = work.flop / seconds / 1e9, work.bytes_moved / seconds / 1e9
        rows.append(
            {
                "stage": name,
                "mflop": round(work.flop / 1e6, 2),
                "mb": round(work.bytes_moved / 1e6, 3),
                "gflops": round(gflops, 2),
                "share_of_flops": round(gflops / best["gflops"], 4),
                "gbps": round(gbps, 2),
                "share_of_bandwidth": round(gbps / best["gbps"], 4),
            }
        )
    return rows


def boards(counted: dict[str, Work]) -> list[dict[str, Any]]:
    """COMPUTED least milliseconds of each stage by board, and what binds it there."""
    rows = []
    for name, work in counted.items():
        bounds = {}
        for board, gbps in BANDWIDTH_GBPS.items():
            compute_ms = work.flop / PEAK_TFLOPS[board] / 1e9
            memory_ms = work.half_bytes / gbps / 1e6
            bound = "compute" if compute_ms > memory_ms else "memory"
            bounds[board] = {"ms": round(max(compute_ms, memory_ms), 4), "bound": bound}
        rows.append({"stage": name, "computed": bounds})
    return rows


def limits(setting: Setting, stages: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """For the report: `cpu` measured, `boards` computed."""
    best, counted = peaks(3 if setting.quick else 8), works(setting)
    return {"peaks": best, "cpu": achieved(stages, counted, best), "boards_computed": boards(counted)}
