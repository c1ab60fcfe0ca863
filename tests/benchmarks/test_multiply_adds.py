"""What is counted, and that the graph ours is held against computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

import onnx  # noqa: E402

from callm_bench.multiply_adds import multiply_adds, per_frame  # noqa: E402
from callm_bench.peers.full_graph import full_graph  # noqa: E402
from callm_edge.stage1.scorer import OrtScorer  # noqa: E402
from callm_export.autoencoder import Autoencoder  # noqa: E402
from callm_export.onnx_graph import score_graph  # noqa: E402


def test_the_first_layer_by_hand() -> None:
    counts = multiply_adds(full_graph(Autoencoder((2, 3, 4, 5)).eval()))
    assert counts["encoder.0"] == 16 * 128 * 128 * 2 * 27
    assert counts["decoder.9"] == 16 * 128 * 128 * 2 * 27
    assert len(counts) == 8


def test_sharing_saves_what_the_documentation_says() -> None:
    sums = {name: sum(count.values()) for name, count in per_frame("reference").items()}
    assert sums["whole window"] / sums["shared"] == pytest.approx(3.45, abs=0.01)


def test_the_full_graph_gives_the_same_scores(tmp_path: Path) -> None:
    model = Autoencoder((2, 3, 4, 5)).eval()
    windows = np.random.default_rng(0).integers(0, 256, (1, 16, 256, 256), np.uint8)
    scores = []
    for name, graph in (("full", full_graph(model)), ("score", score_graph(model))):
        onnx.save(graph, str(tmp_path / f"{name}.onnx"))
        scores.append(OrtScorer(tmp_path / f"{name}.onnx").score(windows))
    np.testing.assert_allclose(scores[0].error_map, scores[1].error_map, atol=1e-5)
