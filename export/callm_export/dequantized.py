"""The device's language model as plain weights: what tuning should see, so that it learns with the device's own errors.

Read by transformers without gptqmodel, and by any torch.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from callm_edge import atomic
from callm_edge.stage2.text import TOKENIZER
from callm_export.decoder_graph import DecoderOptions, output_layer
from callm_export.gptq_checkpoint import GptqCheckpoint


def save_dequantized(checkpoint: GptqCheckpoint, folder: Path, options: DecoderOptions | None = None) -> None:
    """Write a Hugging Face folder in float32 whose weights are those that `export_decoder` gives the device."""
    tensors: dict[str, np.ndarray] = {}
    for name in checkpoint.names():
        if name.endswith(".qweight"):
            layer = name.removesuffix(".qweight")
            tensors[f"{layer}.weight"] = checkpoint.linear(layer).dequantized()
        elif not name.endswith((".qzeros", ".scales", ".g_idx")):
            tensors[name] = checkpoint.array(name)
    tied, table = output_layer(checkpoint, options or DecoderOptions())
    tensors["model.embed_tokens.weight" if tied else "lm_head.weight"] = table.dequantized()
    if tied:
        tensors.pop("lm_head.weight", None)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(folder / "model.safetensors") as temporary:
        save_file(tensors, str(temporary), metadata={"format": "pt"})
    config = {key: value for key, value in checkpoint.config.items() if key != "quantization_config"}
    config |= {"tie_word_embeddings": tied, "dtype": "float32"}
    config.pop("torch_dtype", None)
    atomic.write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    for name in (TOKENIZER, "tokenizer_config.json"):
        if (checkpoint.folder / name).is_file():
            shutil.copy(checkpoint.folder / name, folder / name)
