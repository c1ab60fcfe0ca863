"""A LLaMA-architecture GGUF file -> a Hugging Face folder, weights dequantized: how the registry carries SmolLM2.

Done from the file's own fields, because transformers' conversion (5.24) drops the digit splitting of the tokenizer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from callm_edge import atomic
from callm_edge.errors import UserError

# GGUF's names of a block's tensors and the Hugging Face ones.
BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
CONTROL = 3  # token type of <|im_start|> and the like


def convert_gguf(path: Path, folder: Path) -> None:
    """Write config.json, model.safetensors (float16) and tokenizer.json into `folder`.

    Raises UserError where the file is no GGUF, no LLaMA, or its tokenizer is of a kind other than SmolLM's.
    """
    fields, tensors = _read(path)
    if fields.get("general.architecture") != "llama":
        raise UserError(
            f"{path} is of architecture {fields.get('general.architecture')!r}",
            "only LLaMA files are read",
            "Give a Hugging Face folder instead",
        )
    if (fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")) != ("gpt2", "smollm"):
        raise UserError(
            f"The tokenizer in {path} is not SmolLM's",
            f"it is {fields.get('tokenizer.ggml.model')!r} / {fields.get('tokenizer.ggml.pre')!r}",
            "Give a Hugging Face folder, which has its own tokenizer.json",
        )
    heads, kv_heads = int(fields["llama.attention.head_count"]), int(fields["llama.attention.head_count_kv"])
    state: dict[str, np.ndarray] = {}
    for name, values in tensors.items():
        key = _name(name, path)
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            values = _unpermuted(values, heads if "attn_q" in name else kv_heads)
        # The embedding's 8-bit values times a float16 scale round in float16, by 2^-11 at most.
        state[key] = np.ascontiguousarray(values.astype(np.float16))
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(folder / "model.safetensors") as temporary:
        save_file(state, str(temporary), metadata={"format": "pt"})
    tied = "lm_head.weight" not in state
    atomic.write_text(folder / "config.json", json.dumps(_config(fields, heads, kv_heads, tied), indent=2) + "\n")
    _tokenizer(fields).save(str(folder / "tokenizer.json"), pretty=False)
    # gptqmodel and transformers ask this file which class reads tokenizer.json.
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": fields["tokenizer.ggml.tokens"][int(fields["tokenizer.ggml.eos_token_id"])],
        "bos_token": fields["tokenizer.ggml.tokens"][int(fields["tokenizer.ggml.bos_token_id"])],
        "pad_token": fields["tokenizer.ggml.tokens"][int(fields["tokenizer.ggml.padding_token_id"])],
        "chat_template": fields.get("tokenizer.chat_template"),
    }
    atomic.write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The file's fields and its tensors as float32."""
    from gguf import GGUFReader, dequantize

    try:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        tensors = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path} is no GGUF file", str(error), "Download it again") from error
    return fields, tensors


def _name(name: str, path: Path) -> str:
    parts = name.split(".")
    if parts[0] == "blk" and len(parts) == 4 and parts[2] in BLOCK and parts[3] == "weight":
        return f"model.layers.{parts[1]}.{BLOCK[parts[2]]}.weight"
    if len(parts) == 2 and parts[0] in TOP and parts[1] == "weight":
        return f"{TOP[parts[0]]}.weight"
    raise UserError(f"{path} has a tensor {name!r}", "a LLaMA model has none", "Give a Hugging Face folder instead")


def _unpermuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a head from llama.cpp's order (rotary pairs adjacent) to Hugging Face's (halves)."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _config(fields: dict[str, Any], heads: int, kv_heads: int, tied: bool) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": int(fields["llama.embedding_length"]),
        "intermediate_size": int(fields["llama.feed_forward_length"]),
        "num_hidden_layers": int(fields["llama.block_count"]),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": int(fields["llama.context_length"]),
        "rms_norm_eps": float(fields["llama.attention.layer_norm_rms_epsilon"]),
        "rope_theta": float(fields["llama.rope.freq_base"]),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "bos_token_id": int(fields["tokenizer.ggml.bos_token_id"]),
        "eos_token_id": int(fields["tokenizer.ggml.eos_token_id"]),
        "pad_token_id": int(fields["tokenizer.ggml.padding_token_id"]),
        "torch_dtype": "float16",
        "_name_or_path": str(fields.get("general.name", "")),
    }


def _tokenizer(fields: dict[str, Any]) -> Any:
    """Byte-level BPE over single digits: SmolLM's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = fields["tokenizer.ggml.tokens"]
    vocabulary = {token: at for at, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(tokens, fields["tokenizer.ggml.token_type"], strict=True) if int(kind) == CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer
