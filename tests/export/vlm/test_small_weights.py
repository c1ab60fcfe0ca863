"""Graphs with small weights compute nearly the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra 'train' is not installed")

from onnx import helper, numpy_helper  # noqa: E402

from callm_edge.stage1.ort_session import cpu_session  # noqa: E402
from callm_export.vlm.small_weights import shrink  # noqa: E402

CHANNELS = np.geomspace(0.01, 10, 700)  # how large each output is


def graph(path: Path) -> None:
    """A dense convolution, a convolution by depth, a matrix and a bias."""
    rng = np.random.default_rng(0)
    weights = {
        "dense": rng.standard_normal((64, 80, 3, 3)) * np.geomspace(0.01, 10, 64)[:, None, None, None],
        "deep": rng.standard_normal((64, 1, 5, 5)),
        "matrix": rng.standard_normal((64, 700)) * CHANNELS,
        "bias": rng.standard_normal(700) * CHANNELS,
    }
    nodes = [
        helper.make_node("Conv", ["x", "dense"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "deep"], ["b"], group=64),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "matrix"], ["e"]),
        helper.make_node("Add", ["e", "bias"], ["y"]),
    ]
    body = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 80, 9, 9])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 700])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))


@pytest.mark.parametrize(("eight_bits", "share", "error"), [(True, 0.3, 0.03), (False, 0.55, 2e-3)])
def test_smaller_and_nearly_the_same(tmp_path: Path, eight_bits: bool, share: float, error: float) -> None:
    path = tmp_path / "graph.onnx"
    graph(path)
    x = {"x": np.random.default_rng(1).standard_normal((2, 80, 9, 9)).astype(np.float32)}
    size, [wanted] = path.stat().st_size, cpu_session(path, 1).run(None, x)
    shrink(path, eight_bits)
    [found] = cpu_session(path, 1).run(None, x)
    assert path.stat().st_size < share * size
    # Of every channel by itself: a scale for all of them would lose the small ones.
    off = np.sqrt((((found - wanted) / CHANNELS) ** 2).mean())
    assert 0 < off <= error * np.sqrt(((wanted / CHANNELS) ** 2).mean())
