"""The published files of Video-LLaMA, read in their original form into the layers that transformers has of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from callm_edge.stage2.torch_model.frame_encoder import EvaQFormer
from callm_edge.stage2.torch_model.video_former import VideoFormer
from callm_edge.stage2.torch_model.weights import Misfits, read_checkpoint, shapes, without

# Ours -> the published name, applied in this order.
VISION = (
    ("vision.embeddings.class_embedding", "cls_token"),
    ("vision.embeddings.position_embedding", "pos_embed"),
    ("vision.embeddings.patch_embedding", "patch_embed.proj"),
    ("vision.encoder.layers", "blocks"),
    ("layer_norm", "norm"),
    ("self_attn.projection", "attn.proj"),
    ("self_attn.qkv", "attn.qkv"),
    ("vision.post_layernorm", "ln_vision"),
)
QFORMER = (
    ("attention.attention.", "attention.self."),
    ("qformer.layernorm", "qformer.embeddings.LayerNorm"),
)
QKV_BIAS = "attn.qkv.bias"


@dataclass(frozen=True)
class PublishedFiles:
    """Where the released weights lie.

    vit: `eva_vit_g.pth`. qformer: `blip2_pretrained_flant5xxl.pth`. llm: folder of Vicuna-7B or LLaMA-2-7B-chat.
    trained: `VL_LLaMA_2_7B_Finetuned.pth` or another fine-tuned checkpoint; None leaves that part random, for tuning.
    """

    vit: Path
    qformer: Path
    llm: Path
    trained: Path | None = None


def encoder_name(key: str) -> str:
    """Published name of a parameter of EvaQFormer."""
    if key.startswith("vision."):
        for ours, theirs in VISION:
            key = key.replace(ours, theirs)
        return key
    return _qformer_name(key, "Qformer.bert")


def former_name(key: str) -> str:
    """Published name of a parameter of VideoFormer."""
    renamed = {
        "query_tokens": "video_query_tokens",
        "frame_position.weight": "video_frame_position_embedding.weight",
        "projection.weight": "llama_proj.weight",
        "projection.bias": "llama_proj.bias",
    }
    return renamed.get(key) or _qformer_name(key, "video_Qformer.bert")


def _qformer_name(key: str, root: str) -> str:
    for ours, theirs in QFORMER:
        key = key.replace(ours, theirs)
    return key.replace("qformer.", f"{root}.", 1)


def published_shapes(state: Mapping[str, Tensor], name: Callable[[str], str]) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the published file of a module's `state`."""
    found: dict[str, tuple[int, ...]] = {}
    for key, shape in shapes(state).items():
        theirs = name(key)
        if theirs.endswith(QKV_BIAS):
            # The keys have no bias: the file holds those of queries and values apart.
            stem = theirs.removesuffix("qkv.bias")
            found[f"{stem}q_bias"] = found[f"{stem}v_bias"] = (shape[0] // 3,)
        else:
            found[theirs] = shape
    return found


def load_encoder(encoder: EvaQFormer, files: PublishedFiles, dtype: torch.dtype, misfits: Misfits) -> None:
    """Fill `encoder`, which may be on the meta device, from the ViT's and the Q-Former's file.

    What does not fit goes to `misfits`, and the encoder stays as it was.
    """
    wanted = published_shapes(encoder.state_dict(), encoder_name)
    in_qformer_file = ("query_tokens", "Qformer.", "ln_vision.")
    blocks = encoder.vision.config.num_hidden_layers
    vit = without(read_checkpoint(files.vit, "model"), lambda key: _unused_of_vit(key, blocks))
    qformer = without(read_checkpoint(files.qformer, "model"), _unused_of_blip2)
    expected_vit = {key: shape for key, shape in wanted.items() if not key.startswith(in_qformer_file)}
    expected_qformer = {key: shape for key, shape in wanted.items() if key.startswith(in_qformer_file)}
    before = _count(misfits)
    misfits.compare(files.vit.name, expected_vit, vit)
    misfits.compare(files.qformer.name, expected_qformer, qformer)
    if _count(misfits) == before:
        _assign(encoder, {**vit, **qformer}, encoder_name, dtype)


def load_former(former: VideoFormer, path: Path, misfits: Misfits) -> None:
    """Fill `former` from a fine-tuned checkpoint, in float32. What does not fit goes to `misfits`."""
    found = without(read_checkpoint(path, "model"), _is_buffer)
    before = _count(misfits)
    misfits.compare(path.name, published_shapes(former.state_dict(), former_name), found)
    if _count(misfits) == before:
        _assign(former, found, former_name, torch.float32)


def _assign(module: nn.Module, found: Mapping[str, Tensor], name: Callable[[str], str], dtype: torch.dtype) -> None:
    state = {}
    for key in module.state_dict():
        theirs = name(key)
        if theirs.endswith(QKV_BIAS):
            stem = theirs.removesuffix("qkv.bias")
            query, value = found[f"{stem}q_bias"], found[f"{stem}v_bias"]
            state[key] = torch.cat([query, torch.zeros_like(query), value]).to(dtype)
        else:
            state[key] = found[theirs].to(dtype)
    module.load_state_dict(state, assign=True)


def _is_buffer(key: str) -> bool:
    return key.endswith((".position_ids", ".inv_freq"))


def _unused_of_vit(key: str, blocks: int) -> bool:
    # The last block of the file and the classifier behind it were dropped by BLIP-2, which reads one block earlier.
    if key.startswith(("norm.", "fc_norm.", "head.")):
        return True
    parts = key.split(".")
    return parts[0] == "blocks" and parts[1].isdigit() and int(parts[1]) >= blocks


def _unused_of_blip2(key: str) -> bool:
    # BLIP-2's own language side: heads, the text half of the Q-Former, and what projects to its language model.
    return (
        _is_buffer(key)
        or key.startswith(("t5_proj.", "opt_proj.", "Qformer.cls.", "itm_head.", "vision_proj.", "text_proj."))
        or key == "temp"
        or ".intermediate.dense." in key
        or (".output." in key and "attention.output." not in key)
        or key.startswith(("Qformer.bert.embeddings.word_", "Qformer.bert.embeddings.position_"))
    )


def _count(misfits: Misfits) -> int:
    return len(misfits.missing) + len(misfits.unexpected) + len(misfits.misshapen)
