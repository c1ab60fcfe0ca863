"""A whole stage 2 in a few kilobytes: real graphs, a tiny random language model, meaningless words."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from callm_edge.stage2.spec import FORMER, LLM, VISION, Stage2Spec

GOLDENS = Path(__file__).resolve().parent / "goldens" / "tiny_decoder"


def write_branch(folder: Path, width: int, threshold: float = 0.5) -> Path:
    """stage2/ of a bundle whose vision encoder takes mean colours."""
    onnx = pytest.importorskip("onnx", reason="the extra 'train' is not installed")
    helper, types = onnx.helper, onnx.TensorProto
    shutil.copytree(GOLDENS, folder / LLM)

    def save(name: str, nodes: list, inputs: list, outputs: list, weights: list) -> None:
        graph = helper.make_graph(nodes, name, inputs, outputs, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.save(model, str(folder / name))

    save(
        VISION,
        [
            helper.make_node("Cast", ["pictures"], ["float"], to=types.FLOAT),
            helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("ReduceMean", ["mean"], ["features"], axes=[1], keepdims=1),
        ],
        [helper.make_tensor_value_info("pictures", types.UINT8, ["N", 224, 224, 3])],
        [helper.make_tensor_value_info("features", types.FLOAT, ["N", 1, 3])],
        [],
    )
    rng = np.random.default_rng(0)
    weights = [
        onnx.numpy_helper.from_array(rng.normal(0, 0.002, (3, 32 * width)).astype(np.float32), "w"),
        onnx.numpy_helper.from_array(np.array([1, 32, width], np.int64), "shape"),
    ]
    save(
        FORMER,
        [
            helper.make_node("ReduceMean", ["features"], ["clip"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["clip", "w"], ["flat"]),
            helper.make_node("Reshape", ["flat", "shape"], ["video"]),
        ],
        [helper.make_tensor_value_info("features", types.FLOAT, [1, "P", 1, 3])],
        [helper.make_tensor_value_info("video", types.FLOAT, [1, 32, width])],
        weights,
    )
    # Short questions, since the tiny model reads 128 tokens.
    Stage2Spec(threshold=threshold, max_tokens=4, abnormal_question="Odd?", explain_question="Why?").write(folder)
    return folder
