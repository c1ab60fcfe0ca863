"""The device's language model in torch: the very weights of its int4 graph, so that tuning learns with their errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from callm_edge.errors import UserError
from callm_edge.stage2.decoder import GRAPH
from callm_edge.stage2.text import EMBEDDING
from callm_export.gptq_checkpoint import QuantizedLinear


def fill_from_decoder(llm: Any, folder: Path) -> None:
    """Fill a model of transformers, LLaMA architecture, with the weights of a decoder folder (`decoder_graph`).

    Raises UserError where the folder cannot be read or is of another model.
    """
    try:
        graph = _Graph(folder)
    except Exception as error:  # onnx and protobuf raise what they like
        raise UserError(f"{folder} cannot be read", str(error), "Name a folder llm/ of callm-edge quantize") from error
    wanted = llm.state_dict()
    try:
        found = _named(graph, {name: tensor.shape for name, tensor in wanted.items()})
        llm.load_state_dict({name: torch.from_numpy(array) for name, array in found.items()})
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{folder} is of another language model", str(error), "Name the model that it was quantized from with --llm"
        ) from error


def _named(graph: _Graph, shapes: dict[str, Any]) -> dict[str, np.ndarray]:
    """Weights by transformers' names. Raises KeyError, ValueError."""
    found = {}
    for name in shapes:
        if name.endswith("norm.weight"):
            found[name] = graph.arrays[name]
    for at in range(sum(name.endswith(".input_layernorm.weight") for name in shapes)):
        for joined, parts in (
            ("qkv", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
            ("o", ("self_attn.o_proj",)),
            ("gate_up", ("mlp.gate_proj", "mlp.up_proj")),
            ("down", ("mlp.down_proj",)),
        ):
            names = [f"model.layers.{at}.{part}.weight" for part in parts]
            ends = np.cumsum([shapes[name][0] for name in names])
            rows = np.split(graph.linear(f"layers.{at}.{joined}"), ends[:-1])
            found |= zip(names, rows, strict=True)
    table = graph.linear("table")
    found["lm_head.weight"] = table
    found["model.embed_tokens.weight"] = table if graph.embedding is None else graph.embedding
    return {name: np.array(found[name], np.float32) for name in shapes}


class _Graph:
    """arrays: of the graph, by name. embedding: the token table, where it is not the output layer too."""

    def __init__(self, folder: Path) -> None:
        model = onnx.load(str(folder / GRAPH))
        self.arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._products = {
            node.output[0].removesuffix(".out"): {attribute.name: attribute.i for attribute in node.attribute}
            for node in model.graph.node
            if node.op_type == "MatMulNBits"
        }
        embedding = np.load(folder / EMBEDDING, mmap_mode="r", allow_pickle=False)
        self.embedding = embedding if embedding.dtype == np.float16 else None

    def linear(self, name: str) -> np.ndarray:
        """(out, in) float32 of one MatMulNBits."""
        product = self._products[name]
        size, out, bits, group = (product[key] for key in ("K", "N", "bits", "block_size"))
        groups = size // group
        values = _unpacked(self.arrays[f"{name}.weight"].reshape(out, -1), bits)
        scales = self.arrays[f"{name}.scales"].astype(np.float32).reshape(out, groups)
        zeros = self.arrays.get(f"{name}.zeros")
        middle = np.full((out, groups), 1 << (bits - 1), np.uint8)
        zeros = middle if zeros is None else _unpacked(zeros.reshape(out, -1), bits)[:, :groups]
        return QuantizedLinear(values, scales, zeros, bits).dequantized()


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """The values of bytes along the last axis, low half first."""
    if bits == 8:
        return packed
    both = np.stack((packed & 15, packed >> 4), axis=-1)
    return both.reshape(*packed.shape[:-1], -1)
