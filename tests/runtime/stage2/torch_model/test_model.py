"""The branch against the original code, and what must hold of every size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")

from callm_edge.errors import UserError  # noqa: E402
from callm_edge.stage2.prompts import Prompt  # noqa: E402
from callm_edge.stage2.torch_model import VideoLanguageModel  # noqa: E402
from callm_edge.stage2.torch_model.published import former_name  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[3] / "goldens/videollama_tiny"
FEATURES, LOGITS, GRADIENTS = 2e-5, 1e-4, 2e-6
Arrays = dict[str, np.ndarray]


def off(found: torch.Tensor, wanted: np.ndarray) -> float:
    """Largest absolute difference."""
    assert tuple(found.shape) == wanted.shape
    return float((found.detach().double() - torch.from_numpy(wanted).double()).abs().max())


@pytest.fixture(scope="module")
def features(tiny: VideoLanguageModel, io: Arrays) -> torch.Tensor:
    return tiny.encode_frames(torch.from_numpy(io["frames_uint8"]))


@pytest.fixture(scope="module")
def prompt(io: Arrays) -> Prompt:
    return Prompt(tuple(io["gen_prompt_pre"].tolist()), tuple(io["gen_prompt_post"].tolist()), (), "")


def test_every_layer(tiny: VideoLanguageModel, complete: Callable[[str], Arrays]) -> None:
    wanted = complete("io.npz")
    encoder, former = tiny.frame_encoder, tiny.video_former
    layers = {f"vit_block{i}": layer for i, layer in enumerate(encoder.vision.encoder.layers)}
    layers |= {f"qformer_layer{i}": layer for i, layer in enumerate(encoder.qformer.encoder.layer)}
    layers |= {f"video_qformer_layer{i}": layer for i, layer in enumerate(former.qformer.encoder.layer)}
    layers |= {"vit_ln_vision": encoder.vision.post_layernorm, "inputs_llama": former.projection}
    found: dict[str, torch.Tensor] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
            found.setdefault(name, output[0] if isinstance(output, tuple) else output)

        return hook

    hooks = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    hooks.append(encoder.vision.embeddings.patch_embedding.register_forward_hook(note("vit_patch_embed")))
    queries = tiny.video_queries(tiny.encode_frames(torch.from_numpy(wanted["frames_uint8"])))
    for hook in hooks:
        hook.remove()
    found["vit_patch_embed"] = found["vit_patch_embed"].flatten(2).transpose(1, 2)
    assert len(found) == 11
    for name, value in found.items():
        assert off(value, wanted[name]) <= FEATURES, name
    assert off(queries, wanted["inputs_llama"]) <= FEATURES


def test_video_queries(tiny: VideoLanguageModel, io: Arrays, features: torch.Tensor) -> None:
    assert features.shape == (2, 8, 32, 48)
    assert off(tiny.video_queries(features), io["inputs_llama"]) <= FEATURES


def test_a_single_picture(tiny: VideoLanguageModel, features: torch.Tensor, complete: Callable[[str], Arrays]) -> None:
    assert off(tiny.video_queries(features[:, :1]), complete("io.npz")["inputs_llama_t1"]) <= FEATURES


def test_logits_and_loss(tiny: VideoLanguageModel, io: Arrays, features: torch.Tensor) -> None:
    ids, labels, mask = (torch.from_numpy(io[f"ft_{name}"]) for name in ("input_ids", "labels", "attention_mask"))
    queries = tiny.video_queries(features)
    assert off(tiny.logits(queries, ids, mask)[:, ::10], io["ft_logits_every_10th"]) <= LOGITS
    assert tiny.loss(queries, ids, labels, mask).item() == pytest.approx(float(io["ft_loss"]), abs=2e-6)
    # Padding stands on the right, where causal attention never looks: the mask may be left out.
    assert tiny.loss(queries, ids, labels).item() == pytest.approx(float(io["ft_loss"]), abs=2e-6)


def test_gradients_of_the_58_trained_tensors(tiny: VideoLanguageModel, io: Arrays, features: torch.Tensor) -> None:
    names = json.loads((GOLDEN / "grad_names.json").read_text())
    ids, labels = torch.from_numpy(io["ft_input_ids"]), torch.from_numpy(io["ft_labels"])
    trained = tiny.trainable_parameters()
    gradients = torch.autograd.grad(tiny.loss(tiny.video_queries(features), ids, labels), list(trained.values()))
    found = {former_name(key): value for key, value in zip(trained, gradients, strict=True)}
    assert sorted(found) == names
    assert len(names) == 58
    for name, (norm, along) in zip(names, io["grad_digests"], strict=True):
        flat = found[name].double().flatten()
        wave = torch.cos(torch.arange(flat.numel(), dtype=torch.float64))
        assert float(flat.norm()) == pytest.approx(norm, abs=GRADIENTS), name
        assert float(flat @ wave) == pytest.approx(along, abs=10 * GRADIENTS), name


def test_gradients_element_by_element(
    tiny: VideoLanguageModel, io: Arrays, features: torch.Tensor, complete: Callable[[str], Arrays]
) -> None:
    wanted = complete("grads.npz")
    ids, labels = torch.from_numpy(io["ft_input_ids"]), torch.from_numpy(io["ft_labels"])
    trained = tiny.trainable_parameters()
    gradients = torch.autograd.grad(tiny.loss(tiny.video_queries(features), ids, labels), list(trained.values()))
    for key, value in zip(trained, gradients, strict=True):
        assert off(value, wanted[former_name(key)]) <= GRADIENTS, key


def test_greedy_tokens(tiny: VideoLanguageModel, io: Arrays, features: torch.Tensor, prompt: Prompt) -> None:
    queries = tiny.video_queries(features)
    first = tiny.llm(inputs_embeds=tiny.prompt_embeds(queries[:1], prompt)).logits[0, -1]
    assert off(first, io["gen_first_logits"]) <= LOGITS
    wanted = io["gen_greedy_tokens"].tolist()
    assert tiny.generate(queries[:1], prompt, len(wanted))[0] == wanted
    # Clips beside it change nothing.
    assert tiny.generate(queries, prompt, len(wanted))[0] == wanted


def test_caption_path(tiny: VideoLanguageModel, complete: Callable[[str], Arrays]) -> None:
    """MiniGPT-4's form: <s>, words, video, words, caption."""
    wanted = complete("caption_path.npz")
    pixels = torch.from_numpy(wanted["image"])
    encoder = tiny.frame_encoder
    pictures = (pixels * encoder.std + encoder.mean).permute(0, 2, 3, 1)[:, None] * 255
    queries = tiny.video_queries(tiny.encode_frames(pictures))
    batch = len(wanted["regress_ids"])
    before, after = (np.repeat(wanted[f"{side}_ids"], batch, 0) for side in ("before", "after"))
    bos, video = np.full((batch, 1), 1), np.full((batch, 32), tiny.placeholder)
    ids = torch.from_numpy(np.concatenate([bos, before, video, after, wanted["regress_ids"]], axis=1))
    labels, mask = torch.from_numpy(wanted["labels"]), torch.from_numpy(wanted["attention_mask"])
    assert off(tiny.inputs_embeds(queries, ids), wanted["inputs_embeds"]) <= FEATURES
    assert off(tiny.logits(queries, ids, mask), wanted["logits"]) <= LOGITS
    assert tiny.loss(queries, ids, labels, mask).item() == pytest.approx(float(wanted["loss"]), abs=2e-6)


def test_only_the_trained_part_ever_trains(tiny: VideoLanguageModel) -> None:
    try:
        tiny.train()
        assert tiny.video_former.training
        assert not tiny.frame_encoder.training
        assert not tiny.llm.training
        wanting = {name for name, parameter in tiny.named_parameters() if parameter.requires_grad}
        assert wanting == {f"video_former.{name}" for name in tiny.trainable_parameters()}
    finally:
        tiny.eval()


def test_probability_is_the_softmax_of_the_two_answers(
    tiny: VideoLanguageModel, features: torch.Tensor, io: Arrays
) -> None:
    queries = tiny.video_queries(features)
    prompt = tiny.template.prompt(tiny.tokenizer, "Is it?")
    found = tiny.answer_probability(queries, prompt, ("Y", "N"))
    yes, no = (tiny.tokenizer.encode(letter)[0] for letter in "YN")
    logits = tiny.llm(inputs_embeds=tiny.prompt_embeds(queries, prompt)).logits[:, -1, [yes, no]]
    assert found.tolist() == pytest.approx(logits.softmax(-1)[:, 0].tolist(), abs=1e-6)
    swapped = tiny.answer_probability(queries, prompt, ("No", "Yes"))
    assert (tiny.answer_probability(queries, prompt) + swapped).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_stop_tokens_end_an_answer(tiny: VideoLanguageModel, io: Arrays, features: torch.Tensor) -> None:
    wanted = io["gen_greedy_tokens"].tolist()
    stop = tuple(wanted[2:4])
    prompt = Prompt(tuple(io["gen_prompt_pre"].tolist()), tuple(io["gen_prompt_post"].tolist()), (stop,), "")
    assert tiny.generate(tiny.video_queries(features[:1]), prompt, 12) == [wanted[:2]]


@pytest.mark.parametrize("stop", [(2, 4), (3, 6), (99, 100)])
def test_streamed_text_is_the_answer(
    tiny: VideoLanguageModel, io: Arrays, features: torch.Tensor, stop: tuple[int, int]
) -> None:
    """Also where a stop begins and does not come."""
    wanted = io["gen_greedy_tokens"].tolist()
    stops = (tuple(wanted[slice(*stop)]) or (wanted[4], wanted[0]),)
    prompt = Prompt(tuple(io["gen_prompt_pre"].tolist()), tuple(io["gen_prompt_post"].tolist()), stops, "")
    queries = tiny.video_queries(features[:1])
    pieces = list(tiny.text_stream(queries, prompt, 12))
    assert "".join(pieces) == tiny.tokenizer.decode(tiny.generate(queries, prompt, 12)[0])
    assert all(pieces)


def test_scattered_placeholders_are_named(tiny: VideoLanguageModel, features: torch.Tensor) -> None:
    queries = tiny.video_queries(features[:1])
    ids = torch.tensor([[1, *[tiny.placeholder] * 20, 5, *[tiny.placeholder] * 12]])
    with pytest.raises(UserError, match=r"runs of \[20, 12\]"):
        tiny.inputs_embeds(queries, ids)


def test_pictures_of_another_size_are_refused(tiny: VideoLanguageModel) -> None:
    with pytest.raises(ValueError, match="56, 56, 3"):
        tiny.encode_frames(torch.zeros(1, 8, 224, 224, 3))
