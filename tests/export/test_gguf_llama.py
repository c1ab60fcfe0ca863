"""GGUF -> Hugging Face folder: weights, shape and tokenizer survive; other files are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gguf", reason="the package gguf is not installed")
pytest.importorskip("safetensors", reason="the extra 'train' is not installed")

from gguf import GGMLQuantizationType, GGUFWriter, quantize  # noqa: E402

from callm_edge.errors import UserError  # noqa: E402
from callm_edge.stage2.text import Tokenizer  # noqa: E402
from callm_export.gguf_llama import convert_gguf  # noqa: E402

HEADS, KV_HEADS, WIDTH, INNER = 4, 2, 64, 96
MERGES = ["t h", "th e", "Ġ the"]


def llama_cpp_order(weight: np.ndarray, heads: int) -> np.ndarray:
    """As llama.cpp's own converter turns Hugging Face's rows: convert_hf_to_gguf.py, LlamaModel.permute."""
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def write(path: Path, architecture: str = "llama", pre: str = "smollm", extra: str | None = None) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float16).astype(np.float32)

    block = {
        "self_attn.q_proj": ("attn_q", weight(WIDTH, WIDTH)),
        "self_attn.k_proj": ("attn_k", weight(WIDTH // 2, WIDTH)),
        "self_attn.v_proj": ("attn_v", weight(WIDTH // 2, WIDTH)),
        "self_attn.o_proj": ("attn_output", weight(WIDTH, WIDTH)),
        "mlp.gate_proj": ("ffn_gate", weight(INNER, WIDTH)),
        "mlp.up_proj": ("ffn_up", weight(INNER, WIDTH)),
        "mlp.down_proj": ("ffn_down", weight(WIDTH, INNER)),
        "input_layernorm": ("attn_norm", weight(WIDTH)),
        "post_attention_layernorm": ("ffn_norm", weight(WIDTH)),
    }
    letters = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "th", "the", "Ġthe"]
    plain = {f"model.layers.0.{name}.weight": value for name, (_, value) in block.items()}
    plain["model.embed_tokens.weight"], plain["model.norm.weight"] = weight(len(tokens), WIDTH), weight(WIDTH)
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    for name, (short, value) in block.items():
        stored = value
        if short in ("attn_q", "attn_k"):
            stored = llama_cpp_order(value, HEADS if short == "attn_q" else KV_HEADS)
        if short == "ffn_up":
            packed = quantize(stored, GGMLQuantizationType.Q4_1)
            writer.add_tensor(f"blk.0.{short}.weight", packed, raw_dtype=GGMLQuantizationType.Q4_1)
        else:
            writer.add_tensor(f"blk.0.{short}.weight", stored)
        assert name
    writer.add_tensor("token_embd.weight", plain["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", plain["model.norm.weight"])
    if extra:
        writer.add_tensor(extra, weight(WIDTH))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return plain


def test_weights_come_back_in_hugging_face_order(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    plain = write(tmp_path / "a.gguf")
    convert_gguf(tmp_path / "a.gguf", tmp_path / "hf")
    found = load_file(tmp_path / "hf" / "model.safetensors")
    assert found.keys() == plain.keys()
    for name, value in plain.items():
        if name.endswith("up_proj.weight"):  # 4 bits a weight, in groups of 32
            assert np.abs(found[name] - value).max() < 0.6 * np.ptp(value.reshape(-1, 32), axis=1).max() / 15
        else:
            np.testing.assert_array_equal(found[name].astype(np.float32), value, err_msg=name)
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (HEADS, KV_HEADS)
    assert (config["rope_theta"], config["tie_word_embeddings"], config["eos_token_id"]) == (5000.0, True, 2)


def test_the_tokenizer_merges_and_splits_digits(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf")
    convert_gguf(tmp_path / "a.gguf", tmp_path / "hf")
    tokenizer = Tokenizer(tmp_path / "hf" / "tokenizer.json")
    text = "the the 12<|im_end|>"
    ids = tokenizer.encode(text)
    assert ids[:2] == [tokenizer.id("the"), tokenizer.id("Ġthe")]
    assert ids[-3:] == [tokenizer.id("1"), tokenizer.id("2"), 2]
    assert tokenizer.decode(ids) == "the the 12"


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "other.gguf", architecture="gpt2")
    with pytest.raises(UserError, match="gpt2"):
        convert_gguf(tmp_path / "other.gguf", tmp_path / "hf")
    write(tmp_path / "pre.gguf", pre="qwen2")
    with pytest.raises(UserError, match="qwen2"):
        convert_gguf(tmp_path / "pre.gguf", tmp_path / "hf")
    write(tmp_path / "extra.gguf", extra="blk.0.attn_q.bias")
    with pytest.raises(UserError, match=r"blk\.0\.attn_q\.bias"):
        convert_gguf(tmp_path / "extra.gguf", tmp_path / "hf")
    content = (tmp_path / "extra.gguf").read_bytes()
    for name, damaged in (("cut.gguf", content[: len(content) // 2]), ("empty.gguf", b""), ("text.gguf", b"hello" * 9)):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(UserError, match=name):
            convert_gguf(tmp_path / name, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()
