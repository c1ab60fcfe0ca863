"""GPTQ quantization of a LLaMA-architecture language model with gptqmodel, calibrated on texts; works on two cores.

GPTQ (Frantar et al. 2023) rounds a layer's weights one input at a time and lets the rest make up for the error, under
the second moments of the layer's inputs on the calibration texts. The checkpoint has the standard layout, which
gptqmodel, transformers, vLLM and callm_export.decoder_graph read.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from callm_edge.errors import MissingExtraError, UserError
from callm_edge.stage2.text import TOKENIZER, Tokenizer
from callm_export.gptq_table import MOMENTS, hidden_moments

CALIBRATION = Path(__file__).with_name("calibration.txt")
INSTRUCTION_KEYS = ("value", "q", "a", "caption", "text")


@dataclass(frozen=True)
class GptqRecipe:
    """How the layers are quantized.

    bits: 4 or 8. group: inputs that share a scale. symmetric: no zero points. samples, length: calibration sequences
    and their tokens; fewer are made where the texts end. damping: share of the mean curvature added to its diagonal.
    """

    bits: int = 4
    group: int = 64
    symmetric: bool = False
    samples: int = 128
    length: int = 256
    damping: float = 0.01


def read_texts(path: Path) -> list[str]:
    """Texts of a file: paragraphs of a .txt (blank lines between), or records of an instruction .json.

    A record's text is all it says: LLaVA's `value`, VideoChat's `q` and `a`, MiniGPT-4's `caption`. Raises UserError.
    """
    try:
        content = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            texts = [paragraph.strip() for paragraph in content.split("\n\n")]
        else:
            parsed = json.loads(content)
            if isinstance(parsed, dict):
                parsed = parsed.get("annotations", [parsed])
            texts = ["\n".join(_strings(record)) for record in parsed]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read", str(error), "Give a text file, or a .json of instructions") from error
    found = [text for text in texts if text]
    if not found:
        raise UserError(f"{path} holds no text", "", "Separate paragraphs by blank lines")
    return found


def _strings(record: Any) -> Iterator[str]:
    if isinstance(record, str):
        yield record
    elif isinstance(record, list):
        for item in record:
            yield from _strings(item)
    elif isinstance(record, dict):
        for key, value in record.items():
            if key in INSTRUCTION_KEYS or isinstance(value, (list, dict)):
                yield from _strings(value)


def calibration_ids(texts: Sequence[str], tokenizer: Tokenizer, separator: int, recipe: GptqRecipe) -> np.ndarray:
    """(N, length) int64: the texts one after the other, `separator` between them, cut into sequences.

    Where there is more than wanted, sequences are taken at equal distances, so that every part of the file counts.
    """
    ids = np.array([token for text in texts for token in (*tokenizer.encode(text), separator)], np.int64)
    count = len(ids) // recipe.length
    if not count:
        raise UserError(
            f"The calibration texts have {len(ids)} tokens",
            f"one sequence takes {recipe.length}",
            "Give more text, or a smaller --length",
        )
    rows = ids[: count * recipe.length].reshape(count, recipe.length)
    return rows[np.linspace(0, count - 1, min(count, recipe.samples)).astype(int)]


def quantize(llm: Path, texts: Sequence[str], out: Path, recipe: GptqRecipe | None = None) -> int:
    """Quantize the Hugging Face folder `llm` into the folder `out`; returns the number of calibration sequences.

    Everything that gptqmodel prints goes to stderr. Raises MissingExtraError, UserError.
    """
    recipe = recipe or GptqRecipe()
    tokenizer = Tokenizer(llm / TOKENIZER)
    separator = _separator(llm)
    rows = calibration_ids(texts, tokenizer, separator, recipe)
    if importlib.util.find_spec("gptqmodel") is None:
        raise MissingExtraError("quantize", "GPTQ", "gptqmodel")
    # Below its own minimum of workers gptqmodel refuses to start.
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(max(2, os.cpu_count() or 2)))
    llm, out = llm.resolve(), out.resolve()
    with contextlib.redirect_stdout(sys.stderr), _elsewhere():
        import torch
        from gptqmodel import GPTQModel, QuantizeConfig

        config = QuantizeConfig(
            bits=recipe.bits,
            group_size=recipe.group,
            sym=recipe.symmetric,
            desc_act=False,  # the device's kernels read groups in sequence
            damp_percent=recipe.damping,
        )
        # Its default on a CPU is bfloat16, whose 8 bits of precision would blur the second moments and the scales.
        model = GPTQModel.load(str(llm), config, dtype=torch.float32)
        samples = [{"input_ids": row.tolist(), "attention_mask": [1] * len(row)} for row in rows]
        model.quantize(samples, batch_size=1)
        model.save(str(out))
        del model
        np.save(out / MOMENTS, hidden_moments(llm, rows))
    # As it was: transformers rewrites it on the way.
    shutil.copy(llm / TOKENIZER, out / TOKENIZER)
    return len(rows)


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """Work in a folder that goes again: gptqmodel leaves `logs/` wherever it is called from."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            yield
        finally:
            os.chdir(before)


def _separator(llm: Path) -> int:
    """The model's end of text: between two texts the model shall not connect them."""
    try:
        eos = json.loads((llm / "config.json").read_text()).get("eos_token_id")
    except (OSError, ValueError) as error:
        raise UserError(f"{llm} is not a model's folder", str(error), "Give a Hugging Face folder") from error
    first = eos[0] if isinstance(eos, list) else eos
    return int(first or 0)
