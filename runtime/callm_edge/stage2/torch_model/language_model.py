"""The frozen language model: a Hugging Face folder, plain or GPTQ-quantized, checked before anything trusts it."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any

import torch

from callm_edge.errors import MissingExtraError, UserError
from callm_edge.stage2.torch_model.weights import Misfits, first_line

CONFIG = "config.json"


def llm_settings(folder: Path) -> dict[str, Any]:
    """What config.json says. Raises UserError where there is none or it cannot be read."""
    path = folder / CONFIG
    try:
        settings = json.loads(path.read_text())
    except OSError as error:
        raise UserError(
            f"{folder} is no language model", f"{CONFIG}: {error.strerror}", "Give a Hugging Face model folder"
        ) from error
    except ValueError as error:
        raise UserError(f"{path} cannot be read", str(error), "Copy it again") from error
    if not isinstance(settings, dict) or "model_type" not in settings or "vocab_size" not in settings:
        raise UserError(f"{path} describes no language model", "it names no model_type and vocab_size")
    return settings


def load_llm(folder: Path, dtype: torch.dtype, misfits: Misfits) -> Any:
    """The model of `folder`, frozen, in evaluation mode, on the CPU (quantized ones: where gptqmodel puts them).

    What does not fit goes to `misfits`. Raises UserError where the folder is none, MissingExtraError where it is
    quantized and gptqmodel is not installed.
    """
    settings = llm_settings(folder)
    llm = _quantized(folder) if settings.get("quantization_config") else _plain(folder, dtype, misfits)
    return llm.requires_grad_(False).eval()


def _plain(folder: Path, dtype: torch.dtype, misfits: Misfits) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"The language model in {folder} cannot be read", first_line(error), "Copy it again") from error
    llm, report = loaded
    name = folder.name
    misfits.missing += [f"{key} ({name})" for key in sorted(report["missing_keys"])]
    # Old conversions of LLaMA hold tables that are computed now.
    unexpected = (key for key in sorted(report["unexpected_keys"]) if not key.endswith(".inv_freq"))
    misfits.unexpected += [f"{key} ({name})" for key in unexpected]
    for key, found, wanted in sorted(report["mismatched_keys"]):
        size = ["x".join(map(str, shape)) for shape in (found, wanted)]
        misfits.misshapen.append(f"{key} is {size[0]}, not {size[1]} ({name})")
    return llm


def _quantized(folder: Path) -> Any:
    # gptqmodel needs a worker for each of its pools, and takes them from the number of cores.
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    try:
        from gptqmodel import BACKEND, GPTQModel
    except ModuleNotFoundError as error:
        raise MissingExtraError("quantize", "A GPTQ-quantized language model", "gptqmodel") from error
    # On a GPU gptqmodel picks the kernel: Marlin and friends where the GPU allows. Its kernels for CPUs are compiled at
    # first use, for minutes, and refuse some shapes; a CPU that is to be fast runs the ONNX decoder.
    device, backend = ("cuda:0", BACKEND.AUTO) if torch.cuda.is_available() else ("cpu", BACKEND.TORCH)
    return GPTQModel.load(str(folder), device=device, backend=backend).model


def cache_arguments(llm: Any) -> dict[str, Any]:
    """Keyword arguments that give `llm` an empty KV cache, which it then fills in place, call after call."""
    from transformers import DynamicCache

    # transformers 5.24 calls it so; before, it was `past_key_values`.
    name = "cache" if "cache" in inspect.signature(llm.forward).parameters else "past_key_values"
    return {name: DynamicCache(config=llm.config), "use_cache": True}
