"""The network against the outputs of the original code, and its short way to frame 9 against the long one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_edge.errors import UsageError  # noqa: E402
from callm_export.autoencoder import PRESETS, SCORED, Autoencoder, normalise  # noqa: E402
from callm_export.published import load_autoencoder  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "goldens" / "stage1"


def small() -> Autoencoder:
    return load_autoencoder(GOLDEN / "small_convAE.safetensors")


def test_keys_shapes_and_size_are_those_of_the_published_network() -> None:
    model = Autoencoder.preset("reference")
    info = json.loads((GOLDEN / "info.json").read_text())
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == info["full_keys"]
    assert sum(p.numel() for p in model.parameters()) == info["full_params"] == 5_980_801


@torch.inference_mode()
def test_reference_network_reproduces_the_original_forward_pass() -> None:
    golden = np.load(GOLDEN / "full_convAE_seed7.npz")
    model = Autoencoder.preset("reference").eval()
    model.load_state_dict(_seeded(model, 7))
    x = normalise(torch.from_numpy(golden["clip_uint8"]))[None, None]
    code = model.encoder(x)
    output = model.decoder(code)[0, 0].numpy()
    np.testing.assert_allclose(code[0, :8, :, :4, :4].numpy(), golden["latent_slice"], atol=1e-4)
    np.testing.assert_allclose(float(code.double().abs().sum()), golden["latent_abs_sum"], rtol=1e-5)
    np.testing.assert_allclose(output[SCORED, ::16, ::16], golden["out_frame8_16x16"], atol=1e-4)
    np.testing.assert_allclose(output[SCORED, :16, :16], golden["out_frame8_corner"], atol=1e-4)
    np.testing.assert_allclose(((output - x[0, 0].numpy()) ** 2).mean(axis=(1, 2)), golden["mse_per_frame"], rtol=1e-5)
    np.testing.assert_allclose(model.decoder.scored_frame(code)[0, 0, 0].numpy(), output[SCORED], atol=1e-5)


@torch.inference_mode()
def test_small_network_reproduces_the_original_outputs() -> None:
    golden = np.load(GOLDEN / "small_convAE_io.npz")
    model = small()
    x = normalise(torch.from_numpy(golden["clips_uint8"]))[:, None]
    np.testing.assert_array_equal(x.numpy(), golden["input"])
    np.testing.assert_allclose(model.encoder(x).numpy(), golden["latent"], atol=1e-5)
    np.testing.assert_allclose(model(x).numpy(), golden["output"], atol=1e-5)


def test_three_training_steps_reproduce_the_original_losses() -> None:
    golden = np.load(GOLDEN / "small_convAE_train3.npz")
    clips = np.load(GOLDEN / "small_convAE_io.npz")["clips_uint8"]
    model = small().train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    x = normalise(torch.from_numpy(clips))[:, None]
    losses = []
    for _ in range(3):
        loss = torch.nn.functional.mse_loss(model(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    np.testing.assert_allclose(losses, golden["losses"], rtol=1e-5)
    with torch.inference_mode():
        # Adam divides by the gradient's own size, so the rounding noise in the biases before BatchNorm, whose gradient
        # is 0, moves them by +- the learning rate.
        np.testing.assert_allclose(model.eval()(x).numpy(), golden["out_after"], atol=5e-3)


@torch.inference_mode()
@pytest.mark.parametrize("channels", [PRESETS["nano"], (3, 5, 7, 4)])
def test_scored_frame_is_frame_9_of_the_whole_reconstruction(channels: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    model = Autoencoder(channels).eval()
    x = torch.rand(2, 1, 16, 64, 96) * 2 - 1
    torch.testing.assert_close(model.scored_frame(x), model(x)[:, :, SCORED : SCORED + 1], atol=1e-6, rtol=1e-5)


def test_training_under_bf16_gives_the_gradients_of_float32() -> None:
    # torch's bf16 gradient of the one-channel transposed convolution is infinite on the CPU; the model works around it.
    x = torch.rand(2, 1, 16, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gradients = []
    for enabled in (False, True):
        torch.manual_seed(0)
        model = Autoencoder(PRESETS["nano"]).to(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = model.scored_frame(x.contiguous(memory_format=torch.channels_last_3d))
        torch.nn.functional.mse_loss(output.float(), x[:, :, SCORED : SCORED + 1]).backward()
        gradients.append({key: p.grad for key, p in model.named_parameters() if p.dim() == 5})
    for key, wanted in gradients[0].items():
        assert wanted is not None
        assert gradients[1][key].norm().item() == pytest.approx(wanted.norm().item(), rel=0.1), key


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="edge"):
        Autoencoder.preset("egde")


def _seeded(model: Autoencoder, seed: int) -> dict[str, torch.Tensor]:
    """The weights that the golden was made with; they are too large to ship but follow from the seed."""
    r = np.random.RandomState(seed)
    state = {}
    for key, value in model.state_dict().items():
        shape = tuple(value.shape)
        if key.endswith("num_batches_tracked"):
            state[key] = value
            continue
        if key.endswith("running_var"):
            drawn = r.uniform(0.5, 1.5, shape)
        elif key.endswith("running_mean"):
            drawn = r.normal(0, 0.1, shape)
        elif len(shape) == 5:
            fan = np.prod(shape[1:]) if "encoder" in key.split(".")[0] else shape[0] * 27 / 8
            drawn = r.normal(0, 1, shape) * 1.4 / np.sqrt(fan)
        elif key.endswith(".weight"):
            drawn = r.uniform(0.5, 1.5, shape)
        else:
            drawn = r.normal(0, 0.05, shape)
        state[key] = torch.from_numpy(drawn.astype(np.float32))
    return state
