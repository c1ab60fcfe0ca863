"""The branch on disk. The trained part is a small file of its own: tuning again does not write the rest again.

A folder: `model.json` (sizes, template), `frame_encoder.safetensors`, `video_former.safetensors`, and `llm/`, a Hugging
Face folder that may be exchanged for its GPTQ-quantized form.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save_file
from torch import nn

from callm_edge import atomic
from callm_edge.errors import UserError
from callm_edge.stage2.torch_model.config import BranchConfig
from callm_edge.stage2.torch_model.weights import Misfits, read_safetensors, shapes

if TYPE_CHECKING:
    from callm_edge.stage2.torch_model.model import VideoLanguageModel

MODEL, ENCODER, FORMER, LLM = "model.json", "frame_encoder.safetensors", "video_former.safetensors", "llm"
SCHEMA = 1
TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


class ModelRecord(BaseModel):
    """What model.json holds. template: name of the prompt template."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int
    template: str
    config: BranchConfig


def read_record(folder: Path) -> ModelRecord:
    """Raises UserError where model.json is absent, damaged, or of another schema."""
    path = folder / MODEL
    try:
        record = ModelRecord.model_validate_json(path.read_text())
    except OSError as error:
        raise UserError(f"{folder} holds no video-language model", f"{MODEL}: {error.strerror}") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read", str(error), "Copy the folder again") from error
    if record.schema_version != SCHEMA:
        raise UserError(f"{path} has schema {record.schema_version}", f"this version reads schema {SCHEMA}")
    return record


def save_model(model: VideoLanguageModel, folder: Path, llm_folder: Path | None) -> None:
    """Write everything. llm_folder: where the language model came from; its tokenizer files are copied from there."""
    folder.mkdir(parents=True, exist_ok=True)
    save_module(model.frame_encoder, folder / ENCODER, {})
    save_trained(model, folder / FORMER)
    _save_llm(model.llm, folder / LLM, llm_folder)
    record = ModelRecord(schema_version=SCHEMA, template=model.template.name, config=model.config)
    atomic.write_text(folder / MODEL, record.model_dump_json(indent=1) + "\n")


def save_trained(model: VideoLanguageModel, path: Path) -> None:
    """Write the trained part alone, with the sizes that it was trained for."""
    save_module(model.video_former, path, {"config": model.config.model_dump_json()})


def load_trained(model: VideoLanguageModel, path: Path, to_begin_with: bool = False) -> None:
    """Fill the trained part of `model`. Raises UserError that names all that does not fit.

    to_begin_with: training goes on from there, so that it may have been taught another number of crops.
    """
    state, metadata = _existing(path)
    _check_config(path, metadata, model.config.model_dump(mode="json"), {"crops"} if to_begin_with else set())
    fill(model.video_former, path, state)


def fill(module: nn.Module, path: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Load a module's weights from `path`. Raises UserError that names all that does not fit."""
    if state is None:
        state, _ = _existing(path)
    misfits = Misfits()
    misfits.compare(path.name, shapes(module.state_dict()), state)
    misfits.check("this model")
    module.load_state_dict(state)


def save_module(module: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """A module's weights, atomically."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    with atomic.replacing(path) as temporary:
        save_file(tensors, str(temporary), metadata)


def _existing(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    if not path.is_file():
        raise UserError(f"There are no weights at {path}", "no such file")
    return read_safetensors(path)


def _check_config(path: Path, metadata: dict[str, str], wanted: dict[str, Any], free: set[str]) -> None:
    # Same shapes do not make the same model: with and without crops, the tensors look alike.
    try:
        found = json.loads(metadata["config"])
    except (KeyError, ValueError):
        raise UserError(
            f"{path} is no trained part of this program", "it does not say for what it was trained"
        ) from None
    keys = (wanted.keys() | found.keys()) - free
    if differing := sorted(key for key in keys if wanted.get(key) != found.get(key)):
        told = ", ".join(f"{key} is {found.get(key)}, not {wanted.get(key)}" for key in differing)
        raise UserError(f"{path} was trained for another model", told, "Use the model that it was trained for")


def _save_llm(llm: Any, folder: Path, source: Path | None) -> None:
    if getattr(llm.config, "quantization_config", None) is not None:
        # Quantized weights are packed for the kernel in use; only the folder they came from is the portable form.
        if source is None:
            raise UserError("A quantized language model cannot be saved", "the folder that it came from is not known")
        shutil.copytree(source, folder, dirs_exist_ok=True)
        return
    llm.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if source is not None and (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
