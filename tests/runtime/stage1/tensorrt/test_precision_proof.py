"""The layer list decides: proven, refuted, or not to be shown, which is refused as well."""

from __future__ import annotations

import json
from typing import Any

import pytest

from callm_edge.stage1.tensorrt.precision_proof import MislabelledEngineError, precision_of, prove

HALF = "Channel major FP16 format where channel % 8 == 0"
SINGLE = "Row major linear FP32 format"
INT8 = "Thirty-two wide channel vectorized row major Int8 format"


def layer(
    name: str, source: str, target: str | None = None, kind: str = "CaskConvolution", **more: Any
) -> dict[str, Any]:
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": [{"Name": "in", "Format/Datatype": source}],
        "Outputs": [{"Name": "out", "Format/Datatype": target or source}],
        **more,
    }


def information(*layers: dict[str, Any] | str) -> str:
    return json.dumps({"Layers": list(layers), "Bindings": []})


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        (HALF, "fp16"),
        (SINGLE, "fp32"),
        (INT8, "int8"),
        ("Half", "fp16"),
        ("Float", "fp32"),
        ("BFloat16", "bf16"),
        ("Row major linear BF16 format", "bf16"),
        ("Row major linear UINT8 format", None),
        ("Row major Int32 format", None),
        ("N/A due to dynamic shapes", None),
        ("", None),
    ],
)
def test_formats_as_the_inspector_writes_them(text: str, precision: str | None) -> None:
    assert precision_of(text) == precision


def test_half_convolutions_are_proven_by_name() -> None:
    found = prove(
        information(layer("conv_4_node + leakyrelu_5_node", HALF), layer("conv_6_node", HALF)),
        {"conv_4_node": "fp16", "conv_6_node": "fp16"},
    )
    assert found == {"conv_4_node": "fp16", "conv_6_node": "fp16"}


def test_a_name_is_found_in_the_metadata_of_a_fused_layer() -> None:
    fused = layer("__myl_Conv", HALF, kind="kgen", Metadata="[ONNX Layer: conv_4_node]\x1e[ONNX Layer: leakyrelu_5]")
    assert prove(information(fused), {"conv_4_node": "fp16"}) == {"conv_4_node": "fp16"}


@pytest.mark.parametrize(
    "wrong",
    [
        layer("conv_4_node", SINGLE),
        layer("conv_4_node", HALF, SINGLE),
        layer("conv_4_node", SINGLE, HALF),
        layer("conv_4_node", HALF, Weights={"Type": "Float", "Count": 432}),
        layer("conv_4_node", "Row major linear BF16 format"),
        layer("conv_4_node", "N/A due to dynamic shapes"),
    ],
)
def test_anything_but_half_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(MislabelledEngineError, match="'conv_4_node' does not run in fp16"):
        prove(information(wrong, layer("conv_6_node", HALF)), {"conv_4_node": "fp16", "conv_6_node": "fp16"})


def test_a_reformat_that_carries_the_name_proves_nothing_and_refutes_nothing() -> None:
    reformat = layer("conv_4_node", SINGLE, HALF, kind="Reformat")
    assert prove(information(reformat, layer("conv_4_node", HALF)), {"conv_4_node": "fp16"}) == {"conv_4_node": "fp16"}
    with pytest.raises(MislabelledEngineError, match="cannot be shown"):
        prove(information(reformat), {"conv_4_node": "fp16"})


def test_a_name_that_is_part_of_another_is_not_that_one() -> None:
    with pytest.raises(MislabelledEngineError, match="cannot be shown"):
        prove(information(layer("conv_4_node", HALF), layer("x", SINGLE)), {"conv_4": "fp16"})


def test_unnamed_convolutions_are_proven_only_without_any_single_precision() -> None:
    found = prove(information(layer("__myl_1", HALF), layer("__myl_2", HALF)), {"conv_4_node": "fp16"})
    assert found["conv_4_node"].startswith("fp16 (no single precision")
    with pytest.raises(MislabelledEngineError, match="__myl_2"):
        prove(information(layer("__myl_1", HALF), layer("__myl_2", SINGLE)), {"conv_4_node": "fp16"})


def test_int8_is_shown_by_what_goes_in() -> None:
    assert prove(information(layer("int8_conv_6", INT8, HALF)), {"int8_conv_6": "int8"}) == {"int8_conv_6": "int8"}
    with pytest.raises(MislabelledEngineError, match="does not run in int8"):
        prove(information(layer("int8_conv_6", HALF)), {"int8_conv_6": "int8"})
    with pytest.raises(MislabelledEngineError, match="cannot be shown"):
        prove(information(layer("__myl", INT8, HALF)), {"int8_conv_6": "int8"})


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"Layers": 3}'])
def test_no_layer_list_no_proof(text: str) -> None:
    with pytest.raises(MislabelledEngineError, match="cannot be read"):
        prove(text, {"conv": "fp16"})


def test_names_alone_are_no_layer_list() -> None:
    with pytest.raises(MislabelledEngineError, match="has no types"):
        prove(information("conv_4_node"), {"conv_4_node": "fp16"})
