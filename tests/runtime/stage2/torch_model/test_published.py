"""Reading the published files: all names of the real ones, and everything that does not fit told at once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")

from callm_edge.errors import UserError  # noqa: E402
from callm_edge.stage2.torch_model import PublishedFiles, VideoLanguageModel, VideoLlamaConfig  # noqa: E402
from callm_edge.stage2.torch_model.config import VideoFormerConfig  # noqa: E402
from callm_edge.stage2.torch_model.frame_encoder import EvaQFormer  # noqa: E402
from callm_edge.stage2.torch_model.published import encoder_name, former_name, published_shapes  # noqa: E402
from callm_edge.stage2.torch_model.video_former import VideoFormer  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[3] / "goldens/videollama_tiny"
Alter = Callable[[str, Callable[[dict[str, Any]], Any]], PublishedFiles]


def test_every_tensor_of_the_full_size_has_its_place() -> None:
    with gzip.open(GOLDEN / "keys_full_7b.json.gz", "rt") as file:
        every = json.load(file)["all"]
    wanted = {
        key.removeprefix("visual_encoder."): tuple(shape)
        for key, shape in every.items()
        if not key.startswith("llama_model.") and not key.endswith("position_ids")
    }
    with torch.device("meta"):
        encoder, former = EvaQFormer(VideoLlamaConfig()), VideoFormer(VideoFormerConfig(), 4096)
    found = published_shapes(encoder.state_dict(), encoder_name) | published_shapes(former.state_dict(), former_name)
    assert found == wanted
    assert sum(parameter.numel() for parameter in former.parameters()) == 22_104_064


def test_all_that_does_not_fit_is_told_at_once(altered: Alter, tiny_config: VideoLlamaConfig) -> None:
    def change_vit(state: dict[str, Any]) -> None:
        del state["blocks.0.attn.q_bias"]
        state["blocks.1.mlp.fc1.weight"] = torch.zeros(3, 64)

    def change_qformer(state: dict[str, Any]) -> None:
        state["Qformer.bert.encoder.layer.1.crossattention.self.key.weight"] = torch.zeros(1)

    def change_trained(state: dict[str, Any]) -> None:
        state["llama_proj.weight"] = torch.zeros(128, 48)
        del state["video_query_tokens"]

    files = altered("vit", change_vit)
    files = replace(files, qformer=altered("qformer", change_qformer).qformer)
    files = replace(files, trained=altered("trained", change_trained).trained)
    with pytest.raises(UserError) as caught:
        VideoLanguageModel.from_published(files, config=tiny_config)
    text = str(caught.value)
    for told in (
        "missing: blocks.0.attn.q_bias (eva_vit_g.pth), video_query_tokens (VL_LLaMA_2_7B_Finetuned.pth)",
        "unexpected: Qformer.bert.encoder.layer.1.crossattention.self.key.weight (blip2_pretrained_flant5xxl.pth)",
        "blocks.1.mlp.fc1.weight is 3x64, not 279x64 (eva_vit_g.pth)",
        "llama_proj.weight is 128x48, not 64x48 (VL_LLaMA_2_7B_Finetuned.pth)",
    ):
        assert told in text


def test_the_language_model_is_held_to_the_same(
    published: PublishedFiles, tiny_config: VideoLlamaConfig, tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(published.llm, tmp_path / "llm")
    state = load_file(tmp_path / "llm/model.safetensors")
    del state["model.norm.weight"]
    state["lm_head.weight"] = torch.zeros(100, 64)
    state["model.layers.7.mlp.up_proj.weight"] = torch.zeros(2)
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(8)
    save_file(state, str(tmp_path / "llm/model.safetensors"), {"format": "pt"})
    with pytest.raises(UserError) as caught:
        VideoLanguageModel.from_published(replace(published, llm=tmp_path / "llm"), config=tiny_config)
    text = str(caught.value)
    assert "missing: model.norm.weight (llm)" in text
    assert "unexpected: model.layers.7.mlp.up_proj.weight (llm)" in text
    assert "lm_head.weight is 100x64, not 320x64 (llm)" in text
    assert "inv_freq" not in text


def test_a_file_with_code_in_it_is_refused(
    published: PublishedFiles, tiny_config: VideoLlamaConfig, tmp_path: Path
) -> None:
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "eva_vit_g.pth")
    with pytest.raises(UserError, match="would run code"):
        VideoLanguageModel.from_published(replace(published, vit=tmp_path / "eva_vit_g.pth"), config=tiny_config)


@pytest.mark.parametrize("damage", ["absent", "empty", "truncated", "other"])
@pytest.mark.parametrize("which", ["vit", "qformer", "trained"])
def test_damaged_files_are_sentences(
    published: PublishedFiles, tiny_config: VideoLlamaConfig, tmp_path: Path, which: str, damage: str
) -> None:
    path = tmp_path / "weights.pth"
    if damage == "empty":
        path.touch()
    elif damage == "truncated":
        path.write_bytes(getattr(published, which).read_bytes()[:5000])
    elif damage == "other":
        torch.save({"model": {"a": 1}}, path)
    with pytest.raises(UserError, match=r"weights\.pth"):
        VideoLanguageModel.from_published(replace(published, **{which: path}), config=tiny_config)


@pytest.mark.parametrize("damage", ["absent", "no json", "no model", "truncated"])
def test_a_damaged_language_model_is_a_sentence(
    published: PublishedFiles, tiny_config: VideoLlamaConfig, tmp_path: Path, damage: str
) -> None:
    import shutil

    folder = tmp_path / "llm"
    if damage != "absent":
        shutil.copytree(published.llm, folder)
    if damage == "no json":
        (folder / "config.json").write_text("{")
    elif damage == "no model":
        (folder / "config.json").write_text("{}")
    elif damage == "truncated":
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="llm"):
        VideoLanguageModel.from_published(replace(published, llm=folder), config=tiny_config)


def test_a_tokenizer_of_another_model_is_refused(
    published: PublishedFiles, tiny_config: VideoLlamaConfig, tmp_path: Path
) -> None:
    import shutil

    from tokenizers import Tokenizer, models

    shutil.copytree(published.llm, tmp_path / "llm")
    Tokenizer(models.BPE({str(i): i for i in range(321)}, [])).save(str(tmp_path / "llm/tokenizer.json"))
    with pytest.raises(UserError, match="321 tokens, the language model 320"):
        VideoLanguageModel.from_published(replace(published, llm=tmp_path / "llm"), config=tiny_config)


def test_without_a_fine_tuned_file_the_trained_part_is_new(
    published: PublishedFiles, tiny_config: VideoLlamaConfig
) -> None:
    model = VideoLanguageModel.from_published(replace(published, trained=None), config=tiny_config)
    assert all(torch.isfinite(parameter).all() for parameter in model.trainable_parameters().values())


def test_half_precision_for_the_frozen_parts(published: PublishedFiles, tiny_config: VideoLlamaConfig) -> None:
    model = VideoLanguageModel.from_published(published, config=tiny_config, dtype=torch.bfloat16)
    assert model.frame_encoder.query_tokens.dtype == model.llm.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in model.trainable_parameters().values()} == {torch.float32}
    features = model.encode_frames(torch.zeros(1, 8, 56, 56, 3, dtype=torch.uint8))
    prompt = model.template.prompt(model.tokenizer, "Is it?")
    assert 0 < model.answer_probability(model.video_queries(features), prompt).item() < 1
