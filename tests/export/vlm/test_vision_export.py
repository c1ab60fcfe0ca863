"""The vision parts as ONNX, and features computed with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")
pytest.importorskip("onnx", reason="the extra 'train' is not installed")

from callm_edge.errors import UserError  # noqa: E402
from callm_edge.events.clip import Clip  # noqa: E402
from callm_edge.stage1.ort_session import cpu_session  # noqa: E402
from callm_edge.stage2.clip_encoder import encoded, with_motion  # noqa: E402
from callm_edge.stage2.torch_model import VideoLanguageModel  # noqa: E402
from callm_edge.stage2.view import ClipView  # noqa: E402
from callm_export.vlm.features import Features  # noqa: E402
from callm_export.vlm.vision_export import export_encoder, export_former, export_vision  # noqa: E402

from .conftest import MakeClips  # noqa: E402
from .test_tuning import tiny_mini  # noqa: E402


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vision") / "vision.onnx"
    export_encoder(awake(), path)
    return path


def awake() -> VideoLanguageModel:
    """With an encoder whose norms have seen pictures: an untrained one's features are all but 0."""
    model = tiny_mini()
    pictures = torch.randint(0, 256, (4, 224, 224, 3), generator=torch.Generator().manual_seed(0))
    encoder = model.frame_encoder.train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    encoder(pictures)
    model.eval()
    return model


def test_contract(tmp_path: Path) -> None:
    differences = export_vision(tiny_mini(), tmp_path)
    assert differences.keys() == {"vision.onnx", "former.onnx"}
    assert differences["vision.onnx"] < 0.1
    assert differences["former.onnx"] < 3e-3
    session = cpu_session(tmp_path / "vision.onnx", 1)
    [found] = session.run(None, {"pictures": np.zeros((3, 224, 224, 3), np.uint8)})
    assert (found.shape, found.dtype) == ((3, 53, 320), np.float32)
    session = cpu_session(tmp_path / "former.onnx", 1)
    [found] = session.run(None, {"features": np.zeros((1, 32, 53, 338), np.float32)})
    assert (found.shape, found.dtype) == ((1, 32, 32), np.float32)


def test_the_same_again(tmp_path: Path, vision: Path) -> None:
    export_encoder(awake(), tmp_path / "vision.onnx")
    assert (tmp_path / "vision.onnx").read_bytes() == vision.read_bytes()  # features are known by its hash


def test_a_graph_that_computes_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callm_export.vlm.vision_export.TOLERANCE", 0.0)
    with pytest.raises(UserError, match="former.onnx"):
        export_former(tiny_mini(), tmp_path / "former.onnx")


def test_features(make_clips: MakeClips, vision: Path) -> None:
    clips = make_clips({"a": "cyclist", "b": None})
    features = Features(clips, vision)
    for record in clips.records():
        features.prepare(record)
    record, normal = clips.records()
    found = features.load(record)
    assert (found.shape, found.dtype) == ((40, 53, 338), np.float16)
    view = ClipView(Clip.load(clips.path("a")))
    wanted = with_motion(encoded(cpu_session(vision, 1), view.pictures()), view.motion())
    assert np.abs(found[:32] - wanted).max() <= 2e-3 * np.abs(wanted).max()
    # Guided where all of stage 1's crops miss it, in the first two frames only.
    assert [bool(found[32 + at].any()) for at in range(8)] == [True, True, *[False] * 6]
    assert not features.load(normal)[32:].any()


def test_damaged_features_are_named(make_clips: MakeClips, vision: Path) -> None:
    clips = make_clips({"a": None})
    features = Features(clips, vision)
    [record] = clips.records()
    features.prepare(record)
    (features.folder / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match="a.npy"):
        features.load(record)


def test_a_share_is_seen_in_gray(make_clips: MakeClips, vision: Path) -> None:
    clips = make_clips({f"clip{at}": None for at in range(40)})
    features = Features(clips, vision, gray=0.5)
    gray = [features.in_gray(record) for record in clips.records()]
    assert 10 < sum(gray) < 30
    record = clips.records()[gray.index(True)]
    for one in (features, Features(clips, vision)):
        one.prepare(record)
    assert np.any(features.load(record) != Features(clips, vision).load(record))
