"""Training state on disk: tensors as safetensors, the rest as JSON; kill -9 at any moment loses one minute at most."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from callm_edge import atomic
from callm_edge.errors import UserError


@dataclass
class Progress:
    """Where a run stands: `step` steps of epoch `epoch` are done; history: one record per finished epoch."""

    epoch: int
    step: int
    history: list[dict[str, float]]


class Checkpoint:
    """The checkpoint of a run folder: `checkpoint.json` names the tensor file that belongs to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = folder / "checkpoint.json"

    def exists(self) -> bool:
        return self.index.exists()

    def save(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, record: dict[str, Any]
    ) -> None:
        """Write the tensors under a new name, then switch the index to them, then delete the old ones."""
        tensors = {f"model.{key}": value.contiguous() for key, value in model.state_dict().items()}
        for number, state in optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer.{number}.{key}": torch.as_tensor(v).contiguous() for key, v in state.items()})
        name = f"state-{progress.epoch:04d}-{progress.step:06d}.safetensors"
        with atomic.replacing(self.folder / name) as temporary:
            save_file(tensors, str(temporary))
        content = {
            "tensors": name,
            "epoch": progress.epoch,
            "step": progress.step,
            "history": progress.history,
            **record,
        }
        atomic.write_text(self.index, json.dumps(content, indent=1))
        for old in self.folder.glob("state-*.safetensors"):
            if old.name != name:
                old.unlink()

    def record(self) -> dict[str, Any]:
        """The JSON part. Raises UserError where it is damaged."""
        try:
            content = json.loads(self.index.read_text())
        except (OSError, ValueError) as error:
            raise UserError(
                f"The checkpoint {self.index} cannot be read", str(error), "Start again without --resume"
            ) from error
        if not isinstance(content, dict) or not {"tensors", "epoch", "step", "history"} <= content.keys():
            raise UserError(f"{self.index} is not a checkpoint of this program", "", "Start again without --resume")
        return content

    def load(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
        """Put the saved state into `model` and `optimizer`."""
        content = self.record()
        try:
            tensors = load_file(str(self.folder / content["tensors"]))
        except (OSError, SafetensorError) as error:
            raise UserError(f"The checkpoint's tensors in {self.folder} cannot be read", str(error)) from error
        model.load_state_dict({key[6:]: value for key, value in tensors.items() if key.startswith("model.")})
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, number, name = key.split(".", 2)
                state.setdefault(int(number), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return Progress(content["epoch"], content["step"], content["history"])


def save_weights(model: torch.nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write a model's weights alone, atomically. `metadata` goes into the file's header."""
    with atomic.replacing(path) as temporary:
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, str(temporary), metadata)
