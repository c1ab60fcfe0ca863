"""The whole way from a language model to the device's folder, with what it cost: what `callm-edge quantize` does."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from callm_edge.errors import UserError
from callm_edge.stage2.decoder import Decoder
from callm_export.decoder_graph import DecoderOptions, export_decoder
from callm_export.gguf_llama import convert_gguf
from callm_export.gptq_checkpoint import GptqCheckpoint
from callm_export.perplexity import decoder_perplexity, torch_perplexity
from callm_export.quantize import GptqRecipe, quantize

GPTQ_FOLDER, LLM_FOLDER = "gptq", "llm"


def quantize_and_export(
    llm: Path,
    out: Path,
    calibration: Sequence[str],
    recipe: GptqRecipe,
    options: DecoderOptions,
    held_out: Mapping[str, Sequence[str]],
    threads: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Write out/gptq and out/llm.

    Returns seconds, megabytes, and perplexities by name of the held-out texts. A `llm` that is a GPTQ checkpoint
    already is only exported. Raises UserError, MissingExtraError.
    """
    began = time.perf_counter()
    report: dict[str, Any] = {"llm": llm.name, "out": str(out)}
    with tempfile.TemporaryDirectory() as scratch:
        source = llm
        if llm.is_file():
            source = Path(scratch) / "llm"
            say(f"Reading {llm.name}")
            convert_gguf(llm, source)
        checkpoint = source
        if not _is_gptq(source):
            checkpoint = out / GPTQ_FOLDER
            say("Quantizing; some minutes on two cores")
            fresh = out / f".{GPTQ_FOLDER}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            report["calibration_sequences"] = quantize(source, calibration, fresh, recipe)
            # The old checkpoint stays until the new one is whole.
            shutil.rmtree(checkpoint, ignore_errors=True)
            fresh.rename(checkpoint)
        report["quantize_s"] = round(time.perf_counter() - began, 1)
        spec = export_decoder(
            GptqCheckpoint(checkpoint), out / LLM_FOLDER, options, llm.stem if llm.is_file() else llm.name
        )
        report["quantization"] = spec.quantization
        report["llm_mb"] = round(sum(file.stat().st_size for file in (out / LLM_FOLDER).iterdir()) / 1e6, 2)
        say(f"{out / LLM_FOLDER}: {report['llm_mb']} MB")
        decoder = Decoder(out / LLM_FOLDER, threads)
        for name, texts in held_out.items():
            before = None if checkpoint is source else round(torch_perplexity(source, texts), 3)
            after = round(decoder_perplexity(decoder, texts), 3)
            report.setdefault("perplexity", {})[name] = {"before": before, "after": after}
            say(f"Perplexity on {name}: {before or 'unknown'} before, {after} after")
    return report


def _is_gptq(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} is neither a model's folder nor a GGUF file", str(error), "Give a Hugging Face folder or a .gguf"
        ) from error
    return bool(config.get("quantization_config", {}).get("quant_method") == "gptq")
