"""A whole stage 2 in a few kilobytes: real graphs, a tiny random language model, meaningless words.

`python tests/tiny_branch.py DIR` writes a bundle of it and the plaza's stage 1: a model that costs nothing, for drills.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from callm_edge.stage2.prompts import NO, YES
from callm_edge.stage2.spec import FORMER, LLM, VISION, Stage2Spec

GOLDENS = Path(__file__).resolve().parent / "goldens" / "tiny_decoder"


def write_branch(folder: Path, width: int, threshold: float = 0.5) -> Path:
    """stage2/ of a bundle whose vision encoder takes mean colours."""
    onnx = pytest.importorskip("onnx", reason="the extra 'train' is not installed")
    helper, types = onnx.helper, onnx.TensorProto
    shutil.copytree(GOLDENS, folder / LLM)
    _favour_yes_and_no(folder / LLM)

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
    # Short questions, since the tiny model reads 256 tokens, hardly more than letters.
    Stage2Spec(threshold=threshold, max_tokens=4, abnormal_question="Odd?", explain_question="Why?").write(folder)
    return folder


def _favour_yes_and_no(llm: Path) -> None:
    """Lift both answers into the 20 likeliest tokens, all that a server tells: a random model says anything."""
    import onnx

    vocabulary = json.loads((llm / "tokenizer.json").read_text())["model"]["vocab"]
    model = onnx.load(str(llm / "decoder.onnx"), load_external_data=False)
    last = model.graph.node[-1]
    assert list(last.output) == ["logits"]
    favour = np.zeros(model.graph.output[0].type.tensor_type.shape.dim[1].dim_value, np.float32)
    favour[[vocabulary[YES], vocabulary[NO]]] = 6
    model.graph.initializer.append(onnx.numpy_helper.from_array(favour, "favour"))
    model.graph.node[-1].CopyFrom(onnx.helper.make_node("Add", [last.input[0], "favour"], ["logits"]))
    onnx.save(model, str(llm / "decoder.onnx"))


def write_bundle(folder: Path) -> None:
    """The plaza's stage 1 with this branch, whose every answer is yes."""
    from callm_edge.bundle import BUILT_IN, Bundle

    shutil.copytree(BUILT_IN / "plaza", folder)
    shutil.rmtree(folder / "stage2", ignore_errors=True)
    write_branch(folder / "stage2", width=64, threshold=0.0)
    Bundle.write(folder, **Bundle.load("plaza").manifest.model_dump(exclude={"schema_version", "files"}))


if __name__ == "__main__":
    write_bundle(Path(sys.argv[1]))
