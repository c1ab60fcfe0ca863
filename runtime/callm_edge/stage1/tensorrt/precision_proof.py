"""Proof, from the engine's own layer list, that its convolutions run in the precision that its name promises.

A builder that is asked for half precision in a way its version no longer knows writes a single precision engine and
reports success. So the finished engine is asked: its inspector lists the layers with the format of each tensor. Each
convolution of the network must be found in a layer all of whose tensors are of the promised type. Where the builder
fused layers under names of its own, so that a convolution is not found by name, it counts as proven only if no tensor
in the whole engine is single precision.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from callm_edge.errors import UserError

# Words of the inspector's "Format/Datatype", such as "Channel major FP16 format where channel % 8 == 0" or "Half".
WORDS = {
    "fp32": ("fp32", "float", "tf32"),
    "fp16": ("fp16", "half"),
    "int8": ("int8",),
    "bf16": ("bf16", "bfloat16"),
    "fp8": ("fp8",),
}
# Bookkeeping: they move or make tensors and compute no convolution, whatever names they carry.
MOVERS = frozenset({"Reformat", "NoOp", "Constant", "Shuffle", "Identity", "Cast"})


class MislabelledEngineError(UserError):
    """An engine does not run in the precision it is meant to run in, or cannot be shown to."""


def prove(information: str, expected: Mapping[str, str]) -> dict[str, str]:
    """The proven precision of each convolution.

    information: the inspector's JSON of an engine built with detailed profiling verbosity.
    expected: convolution of the network -> 'fp16' or 'int8'.
    Raises MislabelledEngineError where a convolution is of another precision or cannot be accounted for.
    """
    layers = _layers(information)
    proof: dict[str, str] = {}
    unnamed: list[str] = []
    for name, wanted in expected.items():
        carriers = [layer for layer in layers if _carries(layer, name) and layer.get("LayerType") not in MOVERS]
        if not carriers:
            unnamed.append(name)
            continue
        found = {precision for layer in carriers for precision in _computes_in(layer, wanted)}
        if found != {wanted}:
            raise MislabelledEngineError(
                f"The engine is refused: its convolution '{name}' does not run in {wanted}",
                f"the engine's layer list says {', '.join(sorted(found)) or 'nothing'}",
                "Build it again; if this repeats, report it with the versions of TensorRT and the GPU",
            )
        proof[name] = wanted
    if unnamed:
        single = [layer.get("Name", "?") for layer in layers if "fp32" in _tensor_types(layer)]
        int8_lost = [name for name in unnamed if expected[name] == "int8"]
        if single or int8_lost or not any(_tensor_types(layer) for layer in layers):
            raise MislabelledEngineError(
                f"The engine is refused: the precision of {', '.join(unnamed)} cannot be shown",
                "the layer list does not name them" + (f", and has single precision in {single[0]}" if single else ""),
                "Report this with the versions of TensorRT and the GPU",
            )
        proof.update({name: f"{expected[name]} (no single precision tensor in the engine)" for name in unnamed})
    return proof


def precision_of(tensor_format: str) -> str | None:
    """'fp16' for "Row major linear FP16 format"; None where the text names no type we know (integers, bool)."""
    text = tensor_format.lower()
    for precision in ("bf16", "fp16", "int8", "fp8", "fp32"):  # 'bfloat16' holds 'float'
        if any(word in text for word in WORDS[precision]):
            # "uint8" holds "int8", and is the network's input, which no convolution computes in.
            return None if precision == "int8" and "uint8" in text else precision
    return None


def _layers(information: str) -> Sequence[Mapping[str, Any]]:
    try:
        layers = json.loads(information)["Layers"]
        assert isinstance(layers, list)
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise MislabelledEngineError(
            "The engine is refused: its layer list cannot be read", str(error), "Build it again"
        ) from error
    if not layers or not all(isinstance(layer, dict) for layer in layers):
        raise MislabelledEngineError(
            "The engine is refused: its layer list has no types",
            "it was built without detailed profiling verbosity",
            "Build it with callm-edge export --engine",
        )
    return layers


def _carries(layer: Mapping[str, Any], name: str) -> bool:
    """Whether a layer holds the named convolution: by its own name, fused ones joined by ' + ', or by its metadata."""
    own = str(layer.get("Name", ""))
    names = {part.strip() for part in own.replace("||", "+").split("+")}
    return name in names or f"[ONNX Layer: {name}]" in str(layer.get("Metadata", ""))


def _computes_in(layer: Mapping[str, Any], wanted: str) -> Iterable[str]:
    """Precisions that a layer's weights and tensors show.

    An int8 convolution takes int8 and may give half. The weights' type, where it is listed, is the surest sign.
    """
    weights = layer.get("Weights")
    shown = set()
    if isinstance(weights, dict) and (of_weights := precision_of(str(weights.get("Type", "")))):
        shown.add(of_weights)
    if wanted == "int8":
        return shown | (_tensor_types(layer, outputs=False) or {"nothing"})
    return shown | (_tensor_types(layer) or {"nothing"})


def _tensor_types(layer: Mapping[str, Any], outputs: bool = True) -> set[str]:
    tensors = [*layer.get("Inputs", ()), *(layer.get("Outputs", ()) if outputs else ())]
    formats = (str(t.get("Format/Datatype", t.get("Datatype", ""))) for t in tensors if isinstance(t, dict))
    return {precision for text in formats if (precision := precision_of(text))}
