"""The trained part is read back from the graph that a bundle ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")
onnx = pytest.importorskip("onnx", reason="the extra 'train' is not installed")

from callm_edge.errors import UserError  # noqa: E402
from callm_edge.stage2.spec import Stage2Spec  # noqa: E402
from callm_edge.stage2.torch_model.config import VideoFormerConfig  # noqa: E402
from callm_edge.stage2.torch_model.video_former import MiniVideoFormer  # noqa: E402
from callm_export.vlm.former_weights import load_former, load_start  # noqa: E402
from callm_export.vlm.vision_export import export_former  # noqa: E402

from .test_tuning import tiny_mini  # noqa: E402


@pytest.mark.parametrize("crops", [1, 3])
def test_all_weights_come_back(crops: int, tmp_path: Path) -> None:
    taught = tiny_mini(crops)
    with torch.no_grad():
        for at, parameter in enumerate(taught.video_former.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(at)))
    export_former(taught, tmp_path / "former.onnx")
    Stage2Spec(crops=crops).write(tmp_path)
    other = tiny_mini(3)
    load_former(other, tmp_path)
    for name, weight in taught.video_former.state_dict().items():
        assert torch.allclose(other.video_former.state_dict()[name], weight, rtol=1e-3, atol=1e-3), name


def test_a_branch_that_was_never_told_of_motion(tmp_path: Path) -> None:
    taught, other = tiny_mini(), tiny_mini()
    with torch.no_grad():
        for at, parameter in enumerate(taught.video_former.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(at)))
    path = tmp_path / "former.onnx"
    export_former(taught, path)
    Stage2Spec(crops=3).write(tmp_path)
    weights = taught.video_former.state_dict()
    motion = {"from_motion.weight", "from_motions.weight", "to_queries.weight"}
    graph = onnx.load(str(path))
    for tensor in list(graph.graph.initializer):
        values = torch.from_numpy(onnx.numpy_helper.to_array(tensor).astype(np.float32))
        if any(
            values.shape == weights[one].t().shape and torch.allclose(values, weights[one].t(), atol=1e-2)
            for one in motion
        ):
            graph.graph.initializer.remove(tensor)
    onnx.save(graph, str(path))
    load_former(other, tmp_path)
    for name, value in other.video_former.state_dict().items():
        if name not in motion:
            assert torch.allclose(value, weights[name], rtol=1e-3, atol=1e-3), name
    features = torch.randn((1, 32, 53, 338), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(other.video_queries(features), other.video_queries(features[..., :320])), (
            "it says nothing yet"
        )
    other.video_former.train()
    other.video_queries(features).square().sum().backward()
    for name in ("from_motion", "from_motions"):
        assert getattr(other.video_former, name).weight.grad.abs().max() > 0, "but it can be learnt"


def test_what_is_another_network_is_refused(tmp_path: Path) -> None:
    Stage2Spec().write(tmp_path)
    (tmp_path / "former.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match="cannot be read"):
        load_former(tiny_mini(), tmp_path)
    narrow = tiny_mini(1)
    narrow.video_former = MiniVideoFormer(
        VideoFormerConfig(hidden=16, layers=1, heads=2, positions=8), 32, 49, 1
    ).eval()
    export_former(narrow, tmp_path / "former.onnx")
    with pytest.raises(UserError, match="of another network"):
        load_former(tiny_mini(), tmp_path)


def test_a_bundle_without_a_branch() -> None:
    with pytest.raises(UserError, match="has no stage 2 to go on from"):
        load_start(tiny_mini(), "ped2")
