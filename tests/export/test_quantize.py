"""Calibration texts, GPTQ where gptqmodel is installed, and what a missing extra says."""

from __future__ import annotations

import importlib.util
import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_edge.errors import MissingExtraError, UserError  # noqa: E402
from callm_edge.stage2.text import Tokenizer  # noqa: E402
from callm_export.quantize import CALIBRATION, GptqRecipe, calibration_ids, quantize, read_texts  # noqa: E402

GOLDENS = Path(__file__).parents[1] / "goldens"
TOKENIZER = Tokenizer(GOLDENS / "tiny_decoder" / "tokenizer.json")
LLAVA = [{"image": "a.jpg", "conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A van."}]}]
VIDEOCHAT = [{"video": "a.mp4", "QA": [{"q": "Who runs?", "a": "A man."}, {"q": "Where?", "a": "Here."}]}]
MINIGPT4 = {"annotations": [{"image_id": "7", "caption": "A plaza."}, {"image_id": "8", "caption": "A street."}]}


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (LLAVA, ["What?\nA van."]),
        (VIDEOCHAT, ["Who runs?\nA man.\nWhere?\nHere."]),
        (MINIGPT4, ["A plaza.", "A street."]),
        (["one", "two"], ["one", "two"]),
    ],
)
def test_instruction_files_are_read_as_what_they_say(tmp_path: Path, content: object, texts: list[str]) -> None:
    (tmp_path / "data.json").write_text(json.dumps(content))
    assert read_texts(tmp_path / "data.json") == texts


def test_paragraphs_keep_their_lines(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("<|im_start|>user\nWhat?<|im_end|>\n\n\nA van\n\n")
    assert read_texts(tmp_path / "data.txt") == ["<|im_start|>user\nWhat?<|im_end|>", "A van"]


@pytest.mark.parametrize("content", [b"", b"\n\n \n", b"\xff\xfe\x00", None])
def test_unreadable_texts_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "data.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"data\.txt"):
        read_texts(path)
    (tmp_path / "broken.json").write_text("[{")
    with pytest.raises(UserError, match=r"broken\.json"):
        read_texts(tmp_path / "broken.json")


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=20), st.integers(1, 5), st.integers(4, 16))
def test_calibration_takes_sequences_from_all_of_the_text(texts: list[str], samples: int, length: int) -> None:
    everything = [token for text in texts for token in (*TOKENIZER.encode(text), 0)]
    recipe = GptqRecipe(samples=samples, length=length)
    if len(everything) < length:
        with pytest.raises(UserError, match="tokens"):
            calibration_ids(texts, TOKENIZER, 0, recipe)
        return
    rows = calibration_ids(texts, TOKENIZER, 0, recipe)
    pieces = [everything[at : at + length] for at in range(0, len(everything) - length + 1, length)]
    assert rows.shape == (min(samples, len(pieces)), length)
    found = [pieces.index(row) for row in rows.tolist()]
    assert found[0] == 0
    if samples > 1:
        assert rows.tolist()[-1] == pieces[-1]


def test_our_own_calibration_asks_and_answers_and_tells() -> None:
    texts = read_texts(CALIBRATION)
    joined = "\n".join(texts)
    assert "Is there any abnormal event in this video? Answer yes or no." in joined
    assert "This is abnormal." in joined
    assert len(joined) > 30_000
    assert str(Path.home()) not in joined


def plain_model(folder: Path) -> dict[str, np.ndarray]:
    """The tiny model before quantization, as a Hugging Face folder."""
    from safetensors.numpy import save_file

    tiny = runpy.run_path(str(GOLDENS / "make_tiny_decoder.py"))
    plain: dict[str, np.ndarray] = tiny["make_checkpoint"](folder)
    save_file(plain, str(folder / "model.safetensors"), metadata={"format": "pt"})
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    del config["quantization_config"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"})
    )
    return plain


def test_without_gptqmodel_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_model(tmp_path / "llm")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "gptqmodel" else real(name, *a))
    with pytest.raises(MissingExtraError, match=r"callm-edge\[quantize\]"):
        quantize(tmp_path / "llm", read_texts(CALIBRATION), tmp_path / "gptq")


def test_gptq_then_the_device_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing on the tiny model: weights come back near, and the decoder reads what gptqmodel wrote."""
    pytest.importorskip("gptqmodel", reason="the extra 'quantize' is not installed")
    from callm_edge.stage2.decoder import Decoder
    from callm_export.decoder_graph import DecoderOptions, export_decoder
    from callm_export.gptq_checkpoint import GptqCheckpoint

    plain = plain_model(tmp_path / "llm")
    recipe = GptqRecipe(group=32, samples=8, length=64)
    monkeypatch.chdir(tmp_path)
    assert quantize(Path("llm"), read_texts(CALIBRATION), Path("gptq"), recipe) == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gptq", "llm"]
    checkpoint = GptqCheckpoint(tmp_path / "gptq")
    name = "model.layers.0.mlp.gate_proj"
    error = checkpoint.linear(name).dequantized() - plain[f"{name}.weight"]
    assert np.sqrt((error**2).mean()) < 0.2 * plain[f"{name}.weight"].std()
    assert (tmp_path / "gptq" / "table_moments.npy").is_file()
    export_decoder(checkpoint, tmp_path / "device", DecoderOptions(table_group=32))
    decoder = Decoder(tmp_path / "device", threads=1)
    assert "".join(decoder.generate(decoder.prefill(decoder.embed_text("the thing")), 8))


def test_perplexity_is_the_same_in_torch_and_on_the_device(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from callm_edge.stage2.decoder import Decoder
    from callm_export.perplexity import decoder_perplexity, torch_perplexity

    from .test_decoder_weights import save_plain

    decoder = Decoder(GOLDENS / "tiny_decoder", threads=1)
    runpy.run_path(str(GOLDENS / "make_tiny_decoder.py"))["make_checkpoint"](tmp_path / "gptq")
    save_plain(tmp_path / "gptq", GOLDENS / "tiny_decoder", tmp_path / "plain")
    texts = ["the thing is in the inn", "Yes, another."]
    assert decoder_perplexity(decoder, texts) == pytest.approx(torch_perplexity(tmp_path / "plain", texts), rel=1e-4)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    shutil.copy(GOLDENS / "tiny_decoder" / "tokenizer.json", tmp_path)
    with pytest.raises(UserError, match="not a model"):
        quantize(tmp_path, ["text"], tmp_path / "gptq")
