"""The tiny random Video-LLaMA, written to disk in the form of the published files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
transformers = pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")

from safetensors.torch import load_file  # noqa: E402

from callm_edge.stage2.torch_model import PublishedFiles, VideoLanguageModel, VideoLlamaConfig  # noqa: E402
from callm_edge.stage2.torch_model.config import VideoFormerConfig  # noqa: E402

TOP = Path(__file__).resolve().parents[4]
GOLDEN = TOP / "tests/goldens/videollama_tiny"
COMPLETE = TOP.parent / "shared/golden/videollama_tiny"
LETTERS = 320  # the tiny language model's vocabulary


@pytest.fixture(scope="session")
def tiny_config() -> VideoLlamaConfig:
    given = json.loads((GOLDEN / "config.json").read_text())
    vit, bert = given["vit"], given["bert"]
    return VideoLlamaConfig(
        image=vit["img_size"],
        patch=vit["patch_size"],
        vit_width=vit["embed_dim"],
        vit_blocks=vit["depth"],
        vit_heads=vit["num_heads"],
        vit_feed_forward=int(vit["embed_dim"] * vit["mlp_ratio"]),
        qformer_hidden=bert["hidden_size"],
        qformer_layers=bert["num_hidden_layers"],
        qformer_heads=bert["num_attention_heads"],
        qformer_feed_forward=bert["intermediate_size"],
        frame_queries=given["num_query_token"],
        video=VideoFormerConfig(
            hidden=bert["hidden_size"],
            heads=bert["num_attention_heads"],
            feed_forward=bert["intermediate_size"],
            queries=given["num_video_query_token"],
            positions=given["max_frame_pos"],
        ),
    )


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> PublishedFiles:
    """The four published files of the tiny model; the fifth block and the buffers are there as in the real ones."""
    folder = tmp_path_factory.mktemp("published")
    weights = load_file(GOLDEN / "weights.safetensors")

    def part(*prefixes: str) -> dict[str, Any]:
        return {key: value for key, value in weights.items() if key.startswith(prefixes)}

    vit = {key.removeprefix("visual_encoder."): value for key, value in part("visual_encoder.").items()}
    dropped = {key.replace("blocks.1.", "blocks.2."): value for key, value in vit.items() if "blocks.1." in key}
    torch.save(vit | dropped, folder / "eva_vit_g.pth")
    blip2 = part("Qformer.", "query_tokens", "ln_vision.") | {"t5_proj.weight": torch.zeros(2, 2)}
    torch.save({"model": blip2}, folder / "blip2_pretrained_flant5xxl.pth")
    buffers = {key: value for key, value in weights.items() if key.endswith(("inv_freq", "position_ids"))}
    trained = part("video_", "llama_proj.") | buffers
    torch.save({"model": trained, "epoch": 3, "config": {"a": 1}}, folder / "VL_LLaMA_2_7B_Finetuned.pth")
    given = json.loads((GOLDEN / "config.json").read_text())["llama"]
    llm = transformers.LlamaForCausalLM(transformers.LlamaConfig(**given, tie_word_embeddings=False))
    llama = {key.removeprefix("llama_model."): value for key, value in part("llama_model.").items()}
    llm.load_state_dict({key: value for key, value in llama.items() if not key.endswith("inv_freq")})
    llm.save_pretrained(folder / "llm")
    _letters_tokenizer().save(str(folder / "llm" / "tokenizer.json"))
    return PublishedFiles(
        folder / "eva_vit_g.pth",
        folder / "blip2_pretrained_flant5xxl.pth",
        folder / "llm",
        folder / "VL_LLaMA_2_7B_Finetuned.pth",
    )


def _letters_tokenizer() -> Any:
    """Bytes, the special tokens of both families, and fillers up to the model's vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    specials = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    tokens = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens += [f"filler{i}" for i in range(LETTERS - len(tokens))]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    return tokenizer


@pytest.fixture(scope="session")
def tiny(published: PublishedFiles, tiny_config: VideoLlamaConfig) -> VideoLanguageModel:
    """Read once; tests leave it as it is."""
    return VideoLanguageModel.from_published(published, template_name="v1", config=tiny_config)


@pytest.fixture(scope="session")
def io() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "io_small.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def complete() -> Callable[[str], dict[str, np.ndarray]]:
    """Read a file of the complete goldens."""

    def read(name: str) -> dict[str, np.ndarray]:
        if not (COMPLETE / name).is_file():
            pytest.skip(f"the complete goldens are not beside this checkout (../shared/golden/videollama_tiny/{name})")
        with np.load(COMPLETE / name) as file:
            return dict(file)

    return read


@pytest.fixture
def altered(published: PublishedFiles, tmp_path: Path) -> Callable[[str, Callable[[dict[str, Any]], None]], Any]:
    """PublishedFiles of which one file's tensors went through a function."""

    def alter(which: str, change: Callable[[dict[str, Any]], None]) -> PublishedFiles:
        content = torch.load(getattr(published, which), weights_only=True)
        change(content.get("model", content))
        torch.save(content, tmp_path / getattr(published, which).name)
        return replace(published, **{which: tmp_path / getattr(published, which).name})

    return alter
