"""The int8 graph: what is quantized, that TensorRT's rules hold, and that its scores stay near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
onnx = pytest.importorskip("onnx")

from rich.console import Console  # noqa: E402

from callm_edge.bundle import AUTOENCODER_INT8, Bundle  # noqa: E402
from callm_edge.errors import UserError  # noqa: E402
from callm_edge.stage1.scorer import OrtScorer  # noqa: E402
from callm_export import int8_export  # noqa: E402
from callm_export.autoencoder import Autoencoder  # noqa: E402
from callm_export.int8_graph import int8_graph, quantized_names  # noqa: E402
from callm_export.onnx_graph import score_graph  # noqa: E402


@pytest.fixture(scope="module")
def half() -> onnx.ModelProto:
    torch.manual_seed(0)
    return score_graph(Autoencoder((8, 8, 16, 16)).eval(), half=True)


@pytest.fixture
def windows(walkers: np.ndarray) -> list[np.ndarray]:
    return [walkers[start : start + 16] for start in (0, 15, 30, 44)]


def test_three_convolutions_take_int8_on_both_sides(half: onnx.ModelProto, windows: list[np.ndarray]) -> None:
    graph = int8_graph(half, windows).graph
    makers = {output: node for node in graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    quantized = [node for node in graph.node if node.name.startswith("int8_")]
    assert [node.op_type for node in quantized] == ["Conv"] * 3
    assert [node.output[0] for node in quantized] == quantized_names(half.graph)
    for node in quantized:
        for name in node.input[:2]:
            dequantize = makers[name]
            quantize = makers[dequantize.input[0]]
            assert (quantize.op_type, dequantize.op_type) == ("QuantizeLinear", "DequantizeLinear")
            # TensorRT: symmetric, and the same scale on both sides
            assert list(quantize.input[1:]) == list(dequantize.input[1:])
            zero = onnx.numpy_helper.to_array(weights[quantize.input[2]])
            assert zero.dtype == np.int8
            assert not zero.any()
            scale = onnx.numpy_helper.to_array(weights[quantize.input[1]])
            assert scale.dtype == np.float16
            assert (scale > 0).all()
        assert scale.ndim == 1, "of the weights, per output channel"
    untouched = [n for n in graph.node if n.op_type in ("Conv", "ConvTranspose") and n not in quantized]
    assert len(untouched) == 5
    assert not any(name.endswith(".rounded") for node in untouched for name in node.input)


def test_scores_stay_near_those_of_the_half_graph(
    half: onnx.ModelProto, windows: list[np.ndarray], tmp_path: Path
) -> None:
    onnx.save(half, str(tmp_path / "half.onnx"))
    onnx.save(int8_graph(half, windows), str(tmp_path / "int8.onnx"))
    batch = np.stack(windows)
    ours, theirs = (OrtScorer(tmp_path / f"{name}.onnx").score(batch) for name in ("int8", "half"))
    assert 0 < np.abs(ours.psnr_db - theirs.psnr_db).max() < 0.05
    assert np.abs(ours.patch_psnr_db - theirs.patch_psnr_db).max() < 0.05


def test_clipping_points_have_less_error_than_the_largest_value_where_there_are_outliers() -> None:
    from callm_export.int8_graph import LEVELS, _best_step

    rng = np.random.default_rng(0)
    magnitudes = np.append(np.abs(rng.normal(size=10_000)), 40.0).astype(np.float32)
    step = _best_step(magnitudes)
    assert step < 40.0 / LEVELS

    def error(step: float) -> float:
        return float(np.mean((np.minimum(np.round(magnitudes / step), LEVELS) * step - magnitudes) ** 2))

    assert error(float(step)) < error(40.0 / LEVELS)


def test_nothing_to_quantize_on_is_told(half: onnx.ModelProto) -> None:
    with pytest.raises(UserError, match="nothing to quantize on"):
        int8_graph(half, [])


SOURCE = "test:plaza?seed=3&seconds=1.2"


def test_a_bundle_gets_its_int8_graph_only_where_flags_hold(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(quiet=True)
    bundle = int8_export.add_int8(tiny_bundle.folder, [SOURCE], 0, console)
    assert AUTOENCODER_INT8 in bundle.manifest.files
    assert Bundle.load(tiny_bundle.folder).decision == tiny_bundle.decision
    # a threshold in the midst of the scores, and scores that differ: flags must flip
    (bundle.folder / AUTOENCODER_INT8).unlink()
    tiny_bundle = Bundle.write(
        bundle.folder,
        **tiny_bundle.manifest.model_dump(exclude={"schema_version", "files", "decision"}),
        decision=tiny_bundle.decision.model_copy(update={"threshold_psnr_db": _median_score(tiny_bundle)}),
    )
    shifted = OrtScorer.score

    def worse(self: OrtScorer, windows: np.ndarray) -> object:
        scores = shifted(self, windows)
        if self.path.name.startswith("."):  # type: ignore[attr-defined]
            scores.patch_mse[:] *= 1.2
        return scores

    made = OrtScorer.__init__

    def remember(self: OrtScorer, path: Path, threads: int = 0) -> None:
        made(self, path, threads)
        self.path = path  # type: ignore[attr-defined]

    monkeypatch.setattr(OrtScorer, "__init__", remember)
    monkeypatch.setattr(OrtScorer, "score", worse)
    with pytest.raises(UserError, match=r"refused: \d+ of \d+ flags flip"):
        int8_export.add_int8(tiny_bundle.folder, [SOURCE], 0, console)
    assert AUTOENCODER_INT8 not in Bundle.load(tiny_bundle.folder).manifest.files
    assert not list((tiny_bundle.folder / "stage1").glob(".*")), "no half-made file stays"


def _median_score(bundle: Bundle) -> float:
    from callm_edge.sources import open_source

    stream = OrtScorer(bundle.score_path).stream()
    scores = []
    with open_source(SOURCE) as source:
        for frame in source:
            stream.push(frame.image)
            if (got := stream.score()) is not None:
                scores.append(float(got.patch_psnr_db[0]))
    return float(np.median(scores))
