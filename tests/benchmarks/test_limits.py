"""Work is counted right, shares are of the peaks, and bounds say what binds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

import onnx  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

from callm_bench import limits  # noqa: E402
from callm_bench.limits import Work, achieved, boards, folded, work_of  # noqa: E402
from callm_bench.multiply_adds import multiply_adds  # noqa: E402
from callm_bench.peers.full_graph import full_graph  # noqa: E402
from callm_edge.bundle import Bundle  # noqa: E402
from callm_export.autoencoder import Autoencoder  # noqa: E402


def graph(nodes: list, inputs: list, outputs: list, **weights: np.ndarray) -> onnx.ModelProto:
    stored = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, stored), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return model


def floats(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def test_a_product_by_hand() -> None:
    weight = np.ones((10, 20), np.float32)
    model = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [floats("x", "n", 10)], [floats("y", "n", 20)], w=weight
    )
    work = work_of(model, batch=3)
    assert work.flop == 2 * 3 * 10 * 20
    assert work.bytes_moved == 4 * (10 * 20 + 3 * 10 + 3 * 20)
    assert work.half_bytes == 2 * 10 * 20 + 4 * (3 * 10 + 3 * 20)


def test_convolutions_are_those_that_multiply_adds_counts() -> None:
    model = full_graph(Autoencoder((2, 3, 4, 5)).eval())
    assert work_of(model).flop == 2 * sum(multiply_adds(model).values())


def test_a_computed_padding_hides_nothing(tmp_path: Path) -> None:
    weight = np.ones((4, 3, 3, 3), np.float32)
    nodes = [
        helper.make_node("Concat", ["ends", "ends"], ["pads"], axis=0),
        helper.make_node("Pad", ["x", "pads"], ["wide"]),
        helper.make_node("Conv", ["wide", "w"], ["y"]),
    ]
    ends = np.array([0, 0, 1, 1], np.int64)
    inputs, outputs = [floats("x", 1, 3, 8, 8)], [floats("y", 1, 4, 8, 8)]
    onnx.save(graph(nodes, inputs, outputs, w=weight, ends=ends), str(tmp_path / "g.onnx"))
    assert work_of(folded(tmp_path / "g.onnx")).flop == 2 * 4 * 3 * 9 * 64


def test_of_a_branch(tiny_cascade: Bundle, tiny_bundle: Bundle) -> None:
    found = limits.stage2_works(tiny_cascade)
    assert set(found) == {"vision encode", "Q-Former", "prefill", "decode"}
    assert found["prefill"].flop > 32 * found["decode"].flop * 0.5  # the video alone is 32 tokens
    assert found["decode"].bytes_moved > 0


def test_shares_and_bounds() -> None:
    work = Work(flop=2e9, bytes_moved=1e9, half_bytes=0.5e9)
    (row,) = achieved({"a": {"p50_ms": 100.0}}, {"a": work, "not timed": work}, {"gflops": 40.0, "gbps": 20.0})
    assert row["share_of_flops"] == pytest.approx(0.5)
    assert row["share_of_bandwidth"] == pytest.approx(0.5)
    nano = boards({"a": work, "b": Work(1e13, 1, 1)})
    assert nano[0]["computed"]["Orin Nano 8GB"] == {"ms": round(0.5e9 / 68 / 1e6, 4), "bound": "memory"}
    assert nano[1]["computed"]["Orin Nano 8GB"] == {"ms": 1000.0, "bound": "compute"}


def test_peaks_of_this_machine() -> None:
    found = limits.peaks(rounds=1)
    assert found["gflops"] > 1
    assert found["gbps"] > 0.1
