"""Work is counted as by hand, and bounds follow from it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from callm_bench.limits import Work, achieved, boards, peaks, stage2_works, work_of  # noqa: E402
from callm_bench.multiply_adds import multiply_adds  # noqa: E402
from callm_bench.peers.full_graph import full_graph  # noqa: E402
from callm_edge.bundle import Bundle  # noqa: E402
from callm_export.autoencoder import Autoencoder  # noqa: E402


def test_a_convolution_and_a_product_by_hand() -> None:
    weights = [
        numpy_helper.from_array(np.zeros((8, 3, 3, 3), np.float32), "w"),
        numpy_helper.from_array(np.zeros((8, 5), np.float32), "m"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4),
        helper.make_node("ReduceMean", ["y"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "m"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 5])],
        weights,
    )
    work = work_of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), batch=2)
    assert work.flop == 2 * 2 * (8 * 27 * 256 + 8 * 5)
    ends, values = 4 * 2 * (3 * 256 + 5), 8 * 27 + 40
    assert work.bytes_moved == 4 * values + ends
    assert work.half_bytes == 2 * values + ends


def test_convolutions_are_those_that_multiply_adds_counts() -> None:
    model = full_graph(Autoencoder((2, 3, 4, 5)).eval())
    assert work_of(model).flop == 2 * sum(multiply_adds(model).values())


def test_work_that_cannot_be_told_is_not_guessed() -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("a", "b")],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)],
    )
    with pytest.raises(ValueError, match="cannot be told"):
        work_of(helper.make_model(graph))


def test_a_branch_is_counted_step_by_step(tiny_cascade: Bundle) -> None:
    works = stage2_works(tiny_cascade)
    assert set(works) == {"vision encode", "Q-Former", "prefill", "decode"}
    assert works["Q-Former"].flop == 2 * 3 * 32 * 64
    assert works["prefill"].flop > works["decode"].flop > 0


def test_shares_and_bounds() -> None:
    counted = {"a": Work(2e9, 1e6, 5e5), "not timed": Work(1.0, 1.0, 1.0)}
    (row,) = achieved({"a": {"p50_ms": 20.0}}, counted, {"gflops": 200.0, "gbps": 10.0})
    assert row["gflops"] == pytest.approx(100.0)
    assert row["share_of_flops"] == pytest.approx(0.5)
    assert row["gbps"] == pytest.approx(0.05)
    bounds = boards(counted)[0]["computed"]["Orin Nano 8GB"]
    assert bounds == {"ms": pytest.approx(0.2), "bound": "compute"}


def test_peaks_are_measured() -> None:
    found = peaks(rounds=1)
    assert found["gflops"] > 1
    assert found["gbps"] > 0.1
