"""Reading weights of the autoencoder: our own safetensors, and the published checkpoints in their original form."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from callm_edge.errors import UserError
from callm_export.autoencoder import PRESETS, Autoencoder


def load_autoencoder(path: Path, allow_pickle: bool = False) -> Autoencoder:
    """The network whose weights lie in `path`; its channels are read from the shapes.

    .safetensors, or a torch checkpoint with the keys `[module.]encoder.encoder.N.*`, `[module.]decoder.decoder.N.*` at
    its top, under 'model_statedict' or 'state_dict', or in a pickled 'model'. A pickled model runs code of whoever made
    the file, so it is refused unless `allow_pickle`.
    Raises UserError, naming every missing, unexpected or misshapen tensor.
    """
    if not path.is_file():
        raise UserError(f"There are no weights at {path}", "no such file")
    state = _state(path, allow_pickle)
    state = {_renamed(key): value for key, value in state.items()}
    model = Autoencoder(_channels(state, path))
    wanted = model.state_dict()
    missing = sorted(key for key in wanted.keys() - state.keys() if not key.endswith("num_batches_tracked"))
    unexpected = sorted(state.keys() - wanted.keys())
    misshapen = sorted(key for key in wanted.keys() & state.keys() if wanted[key].shape != state[key].shape)
    problems = [
        f"{what}: {', '.join(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
        if keys
    ]
    if problems:
        raise UserError(f"{path} does not fit the autoencoder", "; ".join(problems))
    model.load_state_dict(state, strict=False)
    return model.eval()


def preset_of(model: Autoencoder) -> str:
    """Name of the preset with this network's channels, or '16-32-48-64' where there is none."""
    return next(
        (name for name, channels in PRESETS.items() if channels == model.channels), "-".join(map(str, model.channels))
    )


def _state(path: Path, allow_pickle: bool) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(str(path))
        except SafetensorError as error:
            raise UserError(f"{path} cannot be read as safetensors", str(error)) from error
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not allow_pickle:
            raise UserError(
                f"{path} holds a pickled model, not only weights",
                "loading it would run code from that file",
                "If you trust whoever made it, give --allow-pickle",
            ) from error
        content = torch.load(path, map_location="cpu", weights_only=False)
    except (OSError, RuntimeError, EOFError) as error:
        raise UserError(
            f"{path} cannot be read as a torch checkpoint", str(error).splitlines()[0] if str(error) else ""
        ) from error
    if isinstance(content, Mapping):
        content = next((content[key] for key in ("model_statedict", "state_dict", "model") if key in content), content)
    if isinstance(content, torch.nn.Module):
        content = content.state_dict()
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(
            f"{path} holds no weights that this program knows",
            "neither a state dict nor one under 'model_statedict' or 'model'",
        )
    return dict(content)


def _renamed(key: str) -> str:
    return key.removeprefix("module.")


def _channels(state: Mapping[str, Tensor], path: Path) -> list[int]:
    keys = [f"encoder.encoder.{n}.weight" for n in (0, 3, 6, 9)]
    if any(key not in state for key in keys):
        absent = ", ".join(key for key in keys if key not in state)
        raise UserError(f"{path} does not fit the autoencoder", f"missing: {absent}")
    return [int(state[key].shape[0]) for key in keys]
