"""Makes tests/goldens/tiny_decoder: a random two-layer LLaMA as GPTQ checkpoint, as the device's folder, and what
transformers says to both. Needs the extra 'train' and transformers: `python tests/goldens/make_tiny_decoder.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

GROUP = 32
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "_name_or_path": "tiny random",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 0,
    "torch_dtype": "float32",
}
QUANTIZATION = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False, "sym": False}
LINEARS = {
    "self_attn.q_proj": (64, 64),
    "self_attn.k_proj": (32, 64),
    "self_attn.v_proj": (32, 64),
    "self_attn.o_proj": (64, 64),
    "mlp.gate_proj": (128, 64),
    "mlp.up_proj": (128, 64),
    "mlp.down_proj": (64, 128),
}


def packed(values: np.ndarray) -> np.ndarray:
    """(N, M) values of 4 bits -> (N, M / 8) int32, lowest bits first."""
    words = np.zeros((values.shape[0], values.shape[1] // 8), np.uint32)
    for at in range(8):
        words |= values[:, at::8].astype(np.uint32) << np.uint32(4 * at)
    return words.view(np.int32)


def make_checkpoint(
    folder: Path, layout: str = "gptq", tied: bool = True, symmetric: bool = False
) -> dict[str, np.ndarray]:
    """A GPTQ checkpoint in `folder`; returns the weights it stands for, written from GPTQ's definition alone."""
    rng = np.random.default_rng(7)
    plain: dict[str, np.ndarray] = {}
    stored: dict[str, np.ndarray] = {}
    for layer in range(CONFIG["num_hidden_layers"]):  # type: ignore[arg-type, call-overload]
        for part, (out, size) in LINEARS.items():
            name = f"model.layers.{layer}.{part}"
            groups = size // GROUP
            values = rng.integers(0, 16, (size, out))
            zeros = np.full((groups, out), 8) if symmetric else rng.integers(6, 11, (groups, out))
            scales = rng.uniform(0.02, 0.06, (groups, out)).astype(np.float16)
            index = np.arange(size) // GROUP
            weight = scales.astype(np.float32)[index] * (values - zeros[index])
            plain[f"{name}.weight"] = np.ascontiguousarray(weight.T.astype(np.float32))
            stored[f"{name}.qweight"] = np.ascontiguousarray(packed(values.T).T)
            stored[f"{name}.qzeros"] = packed((zeros - (layout == "gptq")) & 15)
            stored[f"{name}.scales"] = scales
            stored[f"{name}.g_idx"] = index.astype(np.int32)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            plain[f"model.layers.{layer}.{norm}.weight"] = rng.uniform(0.5, 1.5, 64).astype(np.float32)
    plain["model.norm.weight"] = rng.uniform(0.5, 1.5, 64).astype(np.float32)
    plain["model.embed_tokens.weight"] = rng.normal(0, 0.5, (320, 64)).astype(np.float16).astype(np.float32)
    if not tied:
        plain["lm_head.weight"] = rng.normal(0, 0.5, (320, 64)).astype(np.float16).astype(np.float32)
    stored |= {name: value for name, value in plain.items() if name.removesuffix(".weight") + ".qweight" not in stored}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(stored, str(folder / "model.safetensors"), metadata={"format": "pt"})
    quantization = {**QUANTIZATION, "checkpoint_format": layout, "sym": symmetric}
    config = {**CONFIG, "tie_word_embeddings": tied}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": quantization}))
    make_tokenizer().save(str(folder / "tokenizer.json"), pretty=False)
    return plain


def make_tokenizer() -> Tokenizer:
    """Bytes, a few merges and three special tokens: 271 in all."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "a"), ("i", "n"), ("in", "g"), ("Y", "e"), ("Ye", "s")]
    merges += [("N", "o"), ("#", "#"), ("##", "#"), ("Ġ", "i")]
    tokens = special + letters + [a + b for a, b in merges]
    tokenizer = Tokenizer(models.BPE({token: at for at, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def reference(plain: dict[str, np.ndarray], table: np.ndarray, embeds: np.ndarray, steps: int) -> dict[str, object]:
    """What transformers says in float32: logits after the prompt, then `steps` greedy tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tied = "lm_head.weight" not in plain
    model = LlamaForCausalLM(
        LlamaConfig(**{k: v for k, v in CONFIG.items() if k != "tie_word_embeddings"}, tie_word_embeddings=tied)
    )
    state = {name: torch.from_numpy(value) for name, value in plain.items()}
    state["model.embed_tokens.weight" if tied else "lm_head.weight"] = torch.from_numpy(table)
    if tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    model.eval()
    read = torch.from_numpy(embeds)[None]
    tokens: list[int] = []
    with torch.inference_mode():
        for step in range(steps):
            logits = model(inputs_embeds=read).logits[0, -1]
            if step == 0:
                first = logits.numpy()
            tokens.append(int(logits.argmax()))
            read = torch.cat([read, model.get_input_embeddings()(torch.tensor([[tokens[-1]]]))], dim=1)
    return {"logits": [round(float(x), 6) for x in first], "tokens": tokens}


if __name__ == "__main__":
    import tempfile

    from callm_edge.stage2.text import EmbeddingTable
    from callm_export.decoder_graph import DecoderOptions, export_decoder
    from callm_export.gptq_checkpoint import GptqCheckpoint

    out = Path(__file__).parent / "tiny_decoder"
    with tempfile.TemporaryDirectory() as scratch:
        weights = make_checkpoint(Path(scratch))
        export_decoder(GptqCheckpoint(Path(scratch)), out, DecoderOptions(accuracy_level=0, table_group=GROUP))
    prompt = np.random.default_rng(3).normal(0, 0.5, (24, 64)).astype(np.float32)
    np.save(out / "prompt.npy", prompt)
    said = reference(weights, EmbeddingTable(out)(range(320)), prompt, 40)
    (out / "expected.json").write_text(json.dumps(said))
