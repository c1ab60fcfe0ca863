"""What the GPU libraries ask of the float16 graph, beyond being right."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
onnx = pytest.importorskip("onnx")

from callm_export.autoencoder import Autoencoder  # noqa: E402
from callm_export.onnx_graph import score_graph  # noqa: E402


@pytest.fixture(scope="module")
def graph() -> object:
    torch.manual_seed(0)
    return score_graph(Autoencoder((2, 3, 2, 3)).eval(), half=True).graph


def test_uint8_is_cast_and_nothing_else(graph: onnx.GraphProto) -> None:
    """TensorRT's ONNX parser refuses uint8 in Gather and most other operators."""
    assert [node.op_type for node in graph.node if "windows" in node.input] == ["Cast"]


def test_transposed_convolutions_pad_both_sides_alike(graph: onnx.GraphProto) -> None:
    transposed = [node for node in graph.node if node.op_type == "ConvTranspose"]
    assert len(transposed) == 4
    for node in transposed:
        pads = list(next(a.ints for a in node.attribute if a.name == "pads"))
        assert pads[:3] == pads[3:]


def test_every_convolution_is_half_and_the_score_single(graph: onnx.GraphProto) -> None:
    weights = {weight.name: weight.data_type for weight in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            assert {weights[name] for name in node.input[1:]} == {onnx.TensorProto.FLOAT16}
    types = {output.name: output.type.tensor_type.elem_type for output in graph.output}
    assert types.pop("reconstruction") == onnx.TensorProto.FLOAT16
    assert set(types) == {"mse", "psnr_db", "patch_mse", "error_map"}
    assert set(types.values()) == {onnx.TensorProto.FLOAT}


def test_the_scored_reconstruction_is_the_whole_decoders(graph: onnx.GraphProto) -> None:
    """The detour of the first transposed convolution cuts the same frames as asymmetric padding does."""
    ort = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = Autoencoder((2, 3, 2, 3)).eval()
    windows = np.random.default_rng(3).integers(0, 256, (2, 16, 256, 256), np.uint8)
    session = ort.InferenceSession(score_graph(model, half=True).SerializeToString())
    (got,) = session.run(["reconstruction"], {"windows": windows})
    with torch.inference_mode():
        wanted = model(torch.from_numpy(windows).float()[:, None] / 127.5 - 1)[:, 0, 8].numpy()
    np.testing.assert_allclose(got.astype(np.float32), wanted, atol=4e-3)
