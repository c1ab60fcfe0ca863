"""Reading a GPTQ checkpoint in its standard layout (AutoGPTQ, gptqmodel): LLaMA architecture, 4 or 8 bit.

Per linear layer: qweight int32 (in * bits / 32, out), values packed along the input, lowest bits first; qzeros int32
(groups, out * bits / 32); scales (groups, out); g_idx int32 (in), the group of each input.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from callm_edge.errors import UserError


@dataclass(frozen=True)
class QuantizedLinear:
    """A linear layer y = x W^T with W = scales * (values - zeros), group by group along the input.

    values: (out, in) uint8. scales: (out, groups) float32. zeros: (out, groups) uint8. bits: of a value, 4 or 8.
    """

    values: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    bits: int

    @property
    def group(self) -> int:
        """Inputs that share a scale."""
        return self.values.shape[1] // self.scales.shape[1]

    def dequantized(self) -> np.ndarray:
        """(out, in) float32."""
        out, size = self.values.shape
        values = self.values.reshape(out, -1, self.group).astype(np.float32) - self.zeros[:, :, None]
        return (values * self.scales[:, :, None]).reshape(out, size)

    @staticmethod
    def stacked(layers: list[QuantizedLinear]) -> QuantizedLinear:
        """One layer whose outputs are those of all, in order: the same arithmetic in one kernel."""
        return QuantizedLinear(
            np.concatenate([layer.values for layer in layers]),
            np.concatenate([layer.scales for layer in layers]),
            np.concatenate([layer.zeros for layer in layers]),
            layers[0].bits,
        )


def round_to_nearest(weight: np.ndarray, bits: int, group: int) -> QuantizedLinear:
    """Quantize (out, in) without calibration: per group the range, shrunk where that lowers the squared error.

    The scales are values that float16 holds, so that storing them as such changes nothing.
    """
    out, size = weight.shape
    blocks = weight.astype(np.float32).reshape(out, size // group, group)
    low, high = np.minimum(blocks.min(axis=2), 0), np.maximum(blocks.max(axis=2), 0)
    top = (1 << bits) - 1
    least = np.full(low.shape, np.inf, np.float32)
    best_values, best_scales, best_zeros = np.zeros(blocks.shape, np.uint8), np.ones_like(low), np.zeros_like(low)
    for shrink in np.linspace(1.0, 0.7, 13) if bits < 8 else (1.0,):
        scales = np.maximum((high - low) * np.float32(shrink / top), 1e-7).astype(np.float16).astype(np.float32)
        zeros = np.clip(np.round(-low * np.float32(shrink) / scales), 0, top)
        values = np.clip(np.round(blocks / scales[:, :, None]) + zeros[:, :, None], 0, top)
        error = np.square((values - zeros[:, :, None]) * scales[:, :, None] - blocks).sum(axis=2)
        better = error < least
        least[better], best_scales[better], best_zeros[better] = error[better], scales[better], zeros[better]
        best_values[better] = values[better].astype(np.uint8)
    return QuantizedLinear(best_values.reshape(out, size), best_scales, best_zeros.astype(np.uint8), bits)


class GptqCheckpoint:
    """A folder with config.json and safetensors. config: the model's; quantization: bits, group_size, sym ...

    Raises UserError where the folder is no such checkpoint, or one of a form that the device's graph has no kernel for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = _json(folder / "config.json")
        self.quantization: dict[str, Any] = self.config.get("quantization_config") or (
            _json(folder / "quantize_config.json") if (folder / "quantize_config.json").is_file() else {}
        )
        if self.config.get("model_type") != "llama":
            raise UserError(
                f"{folder} is a model of type {self.config.get('model_type')!r}",
                "the device's graph is of the LLaMA architecture",
                "Quantize a LLaMA model, such as SmolLM2",
            )
        if self.quantization.get("quant_method") != "gptq":
            raise UserError(
                f"{folder} is not a GPTQ checkpoint",
                f"its quant_method is {self.quantization.get('quant_method')!r}",
                "Quantize it first: callm-edge quantize --llm " + str(folder),
            )
        self.bits = int(self.quantization["bits"])
        if self.bits not in (4, 8):
            raise UserError(
                f"{folder} has {self.bits} bits", "ONNX Runtime multiplies 4 and 8 bits", "Quantize with --bits 4"
            )
        # The first layout stored zero points less one; the second stores them as they are.
        layout = self.quantization.get("checkpoint_format") or self.quantization.get("format") or "gptq"
        if layout not in ("gptq", "gptq_v2"):
            raise UserError(
                f"{folder} is in the format {layout!r}", "'gptq' and 'gptq_v2' are read", "Quantize it again"
            )
        self._zero_offset = 0 if layout == "gptq_v2" else 1
        self._files = self._index()

    def _index(self) -> dict[str, Path]:
        found = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                with safe_open(path, "pt") as file:
                    found.update(dict.fromkeys(file.keys(), path))
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path} cannot be read", str(error), "Copy or quantize it again") from error
        return found

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor by name. Raises UserError where it is missing."""
        path = self._files.get(name)
        if path is None:
            raise UserError(f"{self.folder} lacks the tensor {name!r}", "", "Copy or quantize it again")
        with safe_open(path, "pt") as file:
            return file.get_tensor(name)

    def names(self) -> list[str]:
        """Of all tensors."""
        return sorted(self._files)

    def has(self, name: str) -> bool:
        return name in self._files

    def array(self, name: str) -> np.ndarray:
        """One float tensor as float32."""
        return self.tensor(name).float().numpy()

    def linear(self, name: str) -> QuantizedLinear:
        """The quantized layer `name`. Raises UserError where its tensors are missing or do not fit each other."""
        packed, zeros = self.tensor(f"{name}.qweight").numpy(), self.tensor(f"{name}.qzeros").numpy()
        scales = self.array(f"{name}.scales")
        per_word = 32 // self.bits
        groups, out = scales.shape
        size = packed.shape[0] * per_word
        if packed.shape[1] != out or zeros.shape != (groups, out // per_word) or size % groups:
            raise UserError(
                f"The tensors of {name} in {self.folder} do not fit each other",
                f"qweight {packed.shape}, qzeros {zeros.shape}, scales {scales.shape}",
                "Quantize it again",
            )
        order = self.tensor(f"{name}.g_idx").numpy()
        if not np.array_equal(order, np.arange(size) // (size // groups)):
            raise UserError(
                f"{name} in {self.folder} is quantized in activation order",
                "the device's kernels read groups in sequence",
                "Quantize with desc_act off, as callm-edge quantize does",
            )
        values = _unpacked(packed.T, self.bits)
        unpacked_zeros = (_unpacked(zeros, self.bits).T + self._zero_offset) & ((1 << self.bits) - 1)
        return QuantizedLinear(
            np.ascontiguousarray(values),
            np.ascontiguousarray(scales.T),
            np.ascontiguousarray(unpacked_zeros),
            self.bits,
        )


def _unpacked(words: np.ndarray, bits: int) -> np.ndarray:
    """(N, M) int32 -> (N, M * 32 / bits) uint8, lowest bits first."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    values = np.ascontiguousarray(words).view(np.uint32)[:, :, None] >> shifts & np.uint32((1 << bits) - 1)
    return values.astype(np.uint8).reshape(words.shape[0], -1)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read", str(error), "Give the folder of a model") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no object", "", "Give the folder of a model")
    return content
