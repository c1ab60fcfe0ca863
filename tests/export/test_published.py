"""Loading weights: the published forms are read, everything else is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_edge.errors import UserError  # noqa: E402
from callm_export.autoencoder import Autoencoder  # noqa: E402
from callm_export.published import load_autoencoder, preset_of  # noqa: E402


@pytest.fixture
def model() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder((3, 4, 5, 6)).eval()


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("under", ["model_statedict", "state_dict", None])
def test_published_forms_are_read(tmp_path: Path, model: Autoencoder, prefix: str, under: str | None) -> None:
    state = {prefix + key: value for key, value in model.state_dict().items()}
    torch.save({under: state} if under else state, tmp_path / "a.pth")
    loaded = load_autoencoder(tmp_path / "a.pth")
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_pickled_model_is_refused_unless_asked_for(tmp_path: Path, model: Autoencoder) -> None:
    torch.save({"model": model}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="--allow-pickle"):
        load_autoencoder(tmp_path / "a.pth")
    loaded = load_autoencoder(tmp_path / "a.pth", allow_pickle=True)
    assert loaded.channels == model.channels


def test_every_tensor_that_does_not_fit_is_named(tmp_path: Path, model: Autoencoder) -> None:
    state = dict(model.state_dict())
    del state["decoder.decoder.9.bias"]
    state["decoder.decoder.0.bias"] = torch.zeros(17)
    state["memory.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UserError) as caught:
        load_autoencoder(tmp_path / "a.pth")
    text = str(caught.value)
    assert "missing: decoder.decoder.9.bias" in text
    assert "misshapen: decoder.decoder.0.bias" in text
    assert "unexpected: memory.weight" in text


@pytest.mark.parametrize(
    ("name", "content"), [("a.pth", b""), ("a.pth", b"no checkpoint"), ("a.safetensors", b"x" * 64)]
)
def test_damaged_files_are_sentences(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="a\\."):
        load_autoencoder(tmp_path / name)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_autoencoder(tmp_path / "none.pth")


def test_preset_of() -> None:
    assert preset_of(Autoencoder.preset("nano")) == "nano"
    assert preset_of(Autoencoder((3, 4, 5, 6))) == "3-4-5-6"
