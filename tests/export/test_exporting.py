"""The exported graphs against torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
onnx = pytest.importorskip("onnx")

from callm_edge.bundle import AUTOENCODER_FP16, SCORE  # noqa: E402
from callm_edge.errors import UserError  # noqa: E402
from callm_edge.stage1.scorer import OrtScorer  # noqa: E402
from callm_export import exporting  # noqa: E402
from callm_export.autoencoder import PRESETS, SCORED, Autoencoder, normalise  # noqa: E402
from callm_export.onnx_graph import score_graph  # noqa: E402
from callm_export.score import score_frame  # noqa: E402


def model_with_statistics(channels: tuple[int, ...], seed: int = 0) -> Autoencoder:
    """Untrained, but with BatchNorm statistics that folding must get right."""
    torch.manual_seed(seed)
    model = Autoencoder(channels).eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, 0, 0.1)
    return model


@torch.inference_mode()
@pytest.mark.parametrize("channels", [PRESETS["nano"], PRESETS["edge"], (3, 5, 7, 4)])
def test_score_graph_equals_torch(tmp_path: Path, channels: tuple[int, ...]) -> None:
    model = model_with_statistics(channels)
    onnx.save(score_graph(model), str(tmp_path / "score.onnx"))
    windows = np.random.default_rng(0).integers(0, 256, (2, 16, 256, 256), np.uint8)
    got = OrtScorer(tmp_path / "score.onnx").score(windows)
    x = normalise(torch.from_numpy(windows))[:, None]
    # against the whole reconstruction, so that the slicing of the decoder is checked as well
    wanted = score_frame(model(x)[:, 0, SCORED], x[:, 0, SCORED])
    np.testing.assert_allclose(got.mse, wanted.mse, rtol=1e-5)
    np.testing.assert_allclose(got.psnr_db, wanted.psnr_db, atol=1e-4)
    np.testing.assert_allclose(got.patch_mse, wanted.patch_mse, rtol=1e-5)
    np.testing.assert_allclose(got.error_map, wanted.error_map, atol=1e-5)
    assert got.error_map.shape == (2, 128, 128)


@torch.inference_mode()
def test_score_matches_its_definition_in_numpy() -> None:
    rng = np.random.default_rng(1)
    picture, frame = rng.uniform(-1, 1, (2, 256, 256)).astype(np.float32)
    got = score_frame(torch.from_numpy(picture)[None], torch.from_numpy(frame)[None])
    squared = (picture - frame).astype(np.float64) ** 2
    tiles = [squared[y : y + 32, x : x + 32].mean() for y in range(0, 225, 8) for x in range(0, 225, 8)]
    assert float(got.mse) == pytest.approx(squared.mean(), rel=1e-5)
    assert float(got.psnr_db) == pytest.approx(10 * np.log10(4 / squared.mean()), abs=1e-4)
    assert float(got.patch_mse) == pytest.approx(max(tiles), rel=1e-5)


def test_half_graph_convolves_in_float16_and_scores_in_float32(tmp_path: Path) -> None:
    proto = score_graph(model_with_statistics((3, 4, 5, 6)), half=True)
    types = {
        v.name: v.type.tensor_type.elem_type
        for v in onnx.shape_inference.infer_shapes(proto, strict_mode=True).graph.value_info
    }
    types |= {w.name: w.data_type for w in proto.graph.initializer}
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for node in proto.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            assert {types[name] for name in node.input} == {half}, node.name
        if node.op_type in ("AveragePool", "ReduceMean", "ReduceMax", "Log"):
            assert types.get(node.input[0], single) == single, node.name
    assert "reconstruction" in [output.name for output in proto.graph.output]


@torch.inference_mode()
def test_half_graph_is_near_float32(tmp_path: Path) -> None:
    model = model_with_statistics((4, 6, 8, 8))
    differences = exporting.export_stage1(model, tmp_path)
    assert differences.fp32 <= 1e-5
    assert differences.shared <= 1e-5
    assert differences.fp16 <= 5e-3
    assert (tmp_path / SCORE).is_file()
    assert (tmp_path / AUTOENCODER_FP16).is_file()


def test_an_export_that_differs_is_an_error_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_with_statistics((2, 2, 2, 2))

    def other_weights(_: Autoencoder, half: bool = False) -> onnx.ModelProto:
        return score_graph(model_with_statistics((2, 2, 2, 2), seed=1), half)

    monkeypatch.setattr(exporting, "score_graph", other_weights)
    with pytest.raises(UserError, match="differs from torch"):
        exporting.export_stage1(model, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
