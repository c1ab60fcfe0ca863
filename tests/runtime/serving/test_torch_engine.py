"""The model in torch, tiny and untrained, behind the same face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")

from callm_edge.serving.conversation import Conversation  # noqa: E402
from callm_edge.serving.errors import ApiError  # noqa: E402
from callm_edge.serving.generation import Sampling  # noqa: E402
from callm_edge.serving.torch_engine import TorchEngine  # noqa: E402
from callm_edge.stage2.spec import LLM  # noqa: E402


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from callm_edge.stage2.prompts import template
    from callm_edge.stage2.text import Tokenizer
    from callm_edge.stage2.torch_model.config import VideoFormerConfig, VideoLlamaConfig
    from callm_edge.stage2.torch_model.frame_encoder import EvaQFormer
    from callm_edge.stage2.torch_model.model import VideoLanguageModel
    from callm_edge.stage2.torch_model.video_former import VideoFormer

    torch.manual_seed(0)
    config = VideoLlamaConfig(
        image=28,
        vit_width=16,
        vit_blocks=1,
        vit_heads=2,
        vit_feed_forward=16,
        qformer_hidden=16,
        qformer_layers=2,
        qformer_heads=2,
        video=VideoFormerConfig(hidden=16, layers=1, heads=2, feed_forward=16),
    )
    tokenizer = Tokenizer(tiny_folder / LLM / "tokenizer.json")
    llm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=320,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=160,
            initializer_range=1.0,  # so that what it reads matters to what it says
        )
    )
    former = VideoFormer(config.video, 16)
    return VideoLanguageModel(config, EvaQFormer(config), former, llm, template("chatml"), tokenizer)


def test_it_answers_as_the_model_itself(model: Any) -> None:
    import torch

    engine = TorchEngine(model, "cpu")
    assert (engine.side, engine.width) == (28, 16)
    rng = np.random.default_rng(0)
    clips = [rng.integers(0, 255, (count, 28, 28, 3), np.uint8) for count in (16, 32)]
    prompt = model.template.prompt(model.tokenizer, "Who?")
    for clip, video in zip(clips, engine.encode(clips), strict=True):
        frames = torch.from_numpy(clip[None, :8])
        with torch.no_grad():
            own = model.video_queries(model.encode_frames(frames))
        np.testing.assert_allclose(video, own[0].numpy(), rtol=1e-4, atol=1e-6)
        reply = engine.reply(video, Conversation(None, (), "Who?"), Sampling(12), lambda: False)
        said = "".join(piece.text for piece in reply.pieces)
        assert said == model.tokenizer.decode(model.generate(own, prompt, 12)[0])
        assert reply.prompt_tokens == len(prompt.token_ids(model.placeholder))


def test_it_stops_where_its_context_ends(model: Any) -> None:
    engine = TorchEngine(model, "cpu")
    video = np.zeros((32, 16), np.float32)
    reply = engine.reply(video, Conversation(None, (), "Who?"), Sampling(500), lambda: False)
    last = list(reply.pieces)[-1]
    assert last.finish == "stop" or reply.prompt_tokens + last.tokens == 160 + 1
    with pytest.raises(ApiError, match="the model reads 160"):
        engine.reply(video, Conversation(None, (), "Who? " * 100), Sampling(1), lambda: False)
