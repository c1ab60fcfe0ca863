"""The vision parts as ONNX: the device runs what was tuned."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")
pytest.importorskip("onnx", reason="the extra 'train' is not installed")
import onnxruntime  # noqa: E402

from callm_edge.stage2.torch_model import VideoLanguageModel  # noqa: E402
from callm_edge.stage2.torch_model.config import MiniConfig  # noqa: E402
from callm_edge.stage2.torch_model.frame_encoder import LiteGrid  # noqa: E402
from callm_edge.stage2.torch_model.video_former import MiniVideoFormer  # noqa: E402

# The tracer warns of each shape that it takes as given, which is wanted.
pytestmark = pytest.mark.filterwarnings("ignore")


def agree(module: torch.nn.Module, traced: torch.Tensor, tried: torch.Tensor) -> None:
    """Export with `traced`, run with `tried` of another batch size, compare with torch."""
    file = io.BytesIO()
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    with torch.no_grad():
        torch.onnx.export(
            module, (traced,), file, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes
        )
        wanted = module(tried).numpy()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session: Any = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": tried.numpy()})[0]
    assert found.shape == wanted.shape
    assert float(np.abs(found - wanted).max()) <= 1e-4 * max(1.0, float(np.abs(wanted).max()))


def test_video_llama(tiny: VideoLanguageModel) -> None:
    pictures = torch.randint(0, 256, (3, 56, 56, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    agree(tiny.frame_encoder, pictures[:2], pictures)
    features = torch.randn(2, 8, 32, 48, generator=torch.Generator().manual_seed(0))
    agree(tiny.video_former, features[:1], features)


@pytest.mark.parametrize("crops", [0, 1, 3])
def test_mini(crops: int) -> None:
    torch.manual_seed(0)
    config = MiniConfig(crops=crops)
    encoder = LiteGrid().eval()
    former = MiniVideoFormer(config.video, 64, encoder.cells, crops).eval()
    features = torch.randn(2, config.pictures, encoder.tokens, former.WIDTH)
    agree(former, features[:1], features)
    if crops:
        pictures = torch.randint(0, 256, (2, 224, 224, 3)).to(torch.uint8)
        agree(encoder, pictures[:1], pictures)
