"""The device's weights in torch."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("onnx", reason="the extra 'train' is not installed")

from callm_edge.errors import UserError  # noqa: E402
from callm_edge.stage2.decoder import Decoder  # noqa: E402
from callm_export.decoder_graph import DecoderOptions, export_decoder  # noqa: E402
from callm_export.decoder_weights import fill_from_decoder  # noqa: E402
from callm_export.gptq_checkpoint import GptqCheckpoint  # noqa: E402

GOLDENS = Path(__file__).parents[1] / "goldens"
TINY = runpy.run_path(str(GOLDENS / "make_tiny_decoder.py"))


def untrained(checkpoint: Path, **changes: Any) -> Any:
    """A model of the checkpoint's sizes."""
    config = json.loads((checkpoint / "config.json").read_text()) | changes
    config.pop("quantization_config", None)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).float().eval()


def save_plain(checkpoint: Path, decoder: Path, out: Path) -> None:
    """A Hugging Face folder with the weights that `decoder`, of `checkpoint`, multiplies with."""
    model = untrained(checkpoint)
    fill_from_decoder(model, decoder)
    model.save_pretrained(out)
    shutil.copy(checkpoint / "tokenizer.json", out)


@pytest.mark.parametrize(("tied", "bits", "symmetric"), [(True, 4, False), (False, 4, True), (False, 8, False)])
def test_torch_says_what_the_device_says(tmp_path: Path, tied: bool, bits: int, symmetric: bool) -> None:
    TINY["make_checkpoint"](tmp_path / "gptq", tied=tied, symmetric=symmetric)
    options = DecoderOptions(accuracy_level=0, table_bits=bits, table_group=32)
    export_decoder(GptqCheckpoint(tmp_path / "gptq"), tmp_path / "llm", options)
    model = untrained(tmp_path / "gptq")
    fill_from_decoder(model, tmp_path / "llm")
    prompt = np.load(GOLDENS / "tiny_decoder" / "prompt.npy")
    with torch.inference_mode():
        wanted = model(inputs_embeds=torch.from_numpy(prompt)[None]).logits[0, -1].numpy()
    np.testing.assert_allclose(Decoder(tmp_path / "llm", threads=1).prefill(prompt).logits, wanted, atol=2e-4)
    table = model.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_array_equal(Decoder(tmp_path / "llm", threads=1).embed(range(320)), table)


def test_another_model_is_refused(tmp_path: Path) -> None:
    TINY["make_checkpoint"](tmp_path / "gptq")
    with pytest.raises(UserError, match="of another language model"):
        fill_from_decoder(untrained(tmp_path / "gptq", num_hidden_layers=3), GOLDENS / "tiny_decoder")
    with pytest.raises(UserError, match="of another language model"):
        fill_from_decoder(untrained(tmp_path / "gptq", vocab_size=300), GOLDENS / "tiny_decoder")
    with pytest.raises(UserError, match="cannot be read"):
        fill_from_decoder(untrained(tmp_path / "gptq"), tmp_path)
