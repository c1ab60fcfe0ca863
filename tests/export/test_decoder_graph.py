"""GPTQ checkpoint -> device folder: the golden is what this code makes, and every form of checkpoint is read alike."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_edge.errors import UserError  # noqa: E402
from callm_edge.stage2.decoder import Decoder  # noqa: E402
from callm_edge.stage2.text import EmbeddingTable  # noqa: E402
from callm_export.decoder_graph import DecoderOptions, export_decoder  # noqa: E402
from callm_export.gptq_checkpoint import GptqCheckpoint, QuantizedLinear, round_to_nearest  # noqa: E402

GOLDENS = Path(__file__).parents[1] / "goldens"
TINY = runpy.run_path(str(GOLDENS / "make_tiny_decoder.py"))
EXACT = DecoderOptions(accuracy_level=0, table_group=32)


def logits(folder: Path, prompt: np.ndarray) -> np.ndarray:
    state = Decoder(folder, threads=1).prefill(prompt)
    assert state.logits is not None
    return state.logits.copy()


@pytest.fixture
def prompt() -> np.ndarray:
    return np.load(GOLDENS / "tiny_decoder" / "prompt.npy")


def test_the_golden_is_what_this_code_makes(tmp_path: Path) -> None:
    TINY["make_checkpoint"](tmp_path / "gptq")
    export_decoder(GptqCheckpoint(tmp_path / "gptq"), tmp_path / "llm", EXACT)
    for name in ("decoder.bin", "embedding.npy", "embedding_scales.npy", "embedding_zeros.npy", "decoder.json"):
        assert (tmp_path / "llm" / name).read_bytes() == (GOLDENS / "tiny_decoder" / name).read_bytes(), name


@pytest.mark.parametrize("layout", ["gptq", "gptq_v2"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_checkpoint_is_read_as_gptq_defines_it(tmp_path: Path, layout: str, symmetric: bool) -> None:
    plain = TINY["make_checkpoint"](tmp_path, layout=layout, symmetric=symmetric)
    checkpoint = GptqCheckpoint(tmp_path)
    for name in ("model.layers.0.self_attn.k_proj", "model.layers.1.mlp.down_proj"):
        linear = checkpoint.linear(name)
        assert linear.group == 32
        np.testing.assert_allclose(linear.dequantized(), plain[f"{name}.weight"], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_the_graph_says_what_transformers_says(tmp_path: Path, prompt: np.ndarray, tied: bool, bits: int) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    plain = TINY["make_checkpoint"](tmp_path / "gptq", tied=tied)
    options = DecoderOptions(accuracy_level=0, table_bits=bits, table_group=32)
    export_decoder(GptqCheckpoint(tmp_path / "gptq"), tmp_path / "llm", options)
    decoder = Decoder(tmp_path / "llm", threads=1)
    table = decoder.embed(range(320))
    if not tied:
        np.testing.assert_array_equal(table, plain["model.embed_tokens.weight"])
        table = round_to_nearest(plain["lm_head.weight"], bits, 32).dequantized()
    said = TINY["reference"](plain, table, prompt, 20)
    state = decoder.prefill(prompt)
    np.testing.assert_allclose(state.logits, said["logits"], atol=2e-5)
    for token in said["tokens"]:
        assert state.logits is not None
        assert int(state.logits.argmax()) == token
        state.feed(decoder.embed([token]))


def test_eight_bit_activations_stay_near(tmp_path: Path, prompt: np.ndarray) -> None:
    TINY["make_checkpoint"](tmp_path / "gptq")
    export_decoder(GptqCheckpoint(tmp_path / "gptq"), tmp_path / "fast", DecoderOptions(table_group=32))
    exact, fast = logits(GOLDENS / "tiny_decoder", prompt), logits(tmp_path / "fast", prompt)
    assert 0 < np.sqrt(np.square(exact - fast).mean()) < 0.06 * exact.std()


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_to_nearest_stays_within_its_steps(bits: int) -> None:
    weight = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    linear = round_to_nearest(weight, bits, 32)
    error = np.abs(linear.dequantized() - weight).reshape(40, 2, 32)
    step = linear.scales[:, :, None]
    # The zero point is rounded too, so an end of the range may lie a whole step off; at 4 bits the range is shrunk
    # where that lowers the squared error, which cuts the ends.
    assert (error <= step * (1.01 if bits == 8 else 3.5)).all()
    assert np.quantile(error / step, 0.9) < 0.52
    assert np.sqrt((error**2).mean()) < 0.35 * linear.scales.mean()
    assert np.array_equal(linear.scales, linear.scales.astype(np.float16))
    constant = round_to_nearest(np.zeros((2, 32), np.float32), bits, 32)
    assert not constant.dequantized().any()


def test_stacked_layers_are_the_layers_one_after_the_other() -> None:
    rng = np.random.default_rng(0)
    parts = [round_to_nearest(rng.normal(size=(n, 64)).astype(np.float32), 4, 32) for n in (8, 16)]
    both = QuantizedLinear.stacked(parts)
    np.testing.assert_array_equal(both.dequantized(), np.concatenate([part.dequantized() for part in parts]))


def alter(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    quantization = config["quantization_config"] | changes.pop("quantization", {})
    (folder / "config.json").write_text(json.dumps({**config, **changes, "quantization_config": quantization}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "gpt2"}, "LLaMA"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "yarn"),
        ({"quantization": {"quant_method": "awq"}}, "not a GPTQ checkpoint"),
        ({"quantization": {"bits": 3}}, "3 bits"),
        ({"quantization": {"checkpoint_format": "marlin"}}, "marlin"),
        ({"num_hidden_layers": 3}, r"lacks the tensor 'model\.layers\.2"),
    ],
)
def test_checkpoints_without_a_kernel_are_refused_by_name(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    TINY["make_checkpoint"](tmp_path)
    alter(tmp_path, **changes)
    with pytest.raises(UserError, match=said):
        export_decoder(GptqCheckpoint(tmp_path), tmp_path / "llm", EXACT)
    assert not (tmp_path / "llm" / "decoder.json").exists()


def test_activation_order_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    TINY["make_checkpoint"](tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.g_idx"
    tensors[name] = np.ascontiguousarray(tensors[name][::-1])
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="activation order"):
        export_decoder(GptqCheckpoint(tmp_path), tmp_path / "llm", EXACT)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    TINY["make_checkpoint"](tmp_path)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors"):
        GptqCheckpoint(tmp_path)
    with pytest.raises(UserError, match=r"config\.json"):
        GptqCheckpoint(tmp_path / "nowhere")


def test_the_table_is_stored_once(tmp_path: Path) -> None:
    """Tied embeddings: the graph's output layer points into the table's own files."""
    import onnx

    folder = GOLDENS / "tiny_decoder"
    graph = onnx.load(str(folder / "decoder.onnx"), load_external_data=False).graph
    places = {
        w.name: {e.key: e.value for e in w.external_data}["location"] for w in graph.initializer if w.external_data
    }
    assert places["table.weight"] == "embedding.npy"
    assert places["table.scales"] == "embedding_scales.npy"
    assert places["layers.0.qkv.weight"] == "decoder.bin"
    assert EmbeddingTable(folder).rows == 320
