"""Decode speed of one language model in every way that is installed: `python -m callm_bench.decoders [--json] ...`.

Ours (ONNX Runtime, int4 from GPTQ) beside transformers in float32 and bfloat16, gptqmodel on the CPU, and llama.cpp.
All sides decode in turn, round after round, after the same prompt, so that whatever else the machine does hits all
alike; a side that is not installed is named with the reason. Prefill and decode are timed apart.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from callm_edge.stage2.decoder import Decoder
from callm_edge.stage2.text import TOKENIZER, Tokenizer

PROMPT = (
    "<|im_start|>system\nYou watch a surveillance camera.<|im_end|>\n<|im_start|>user\nA person runs across the plaza"
    " while others walk. A cyclist rides through the crowd, a van stands in front of the library. What is abnormal in"
    " this video, and what should the guard do about it?<|im_end|>\n<|im_start|>assistant\n"
)
# One round of one side: prompt ids, tokens to decode -> seconds of the prefill and of the decoding.
Round = Callable[[list[int], int], tuple[float, float]]


class AbsentError(Exception):
    """This side cannot run here; the text says why."""


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
        raise AbsentError("--hf names no folder")
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    return _torch_round(AutoModelForCausalLM.from_pretrained(str(folder), dtype=getattr(torch, dtype)).eval())


def in_gptqmodel(folder: Path | None, threads: int) -> Round:
    """gptqmodel's own kernels on the CPU, the same GPTQ checkpoint as ours."""
    _need("torch", "gptqmodel")
    if folder is None:
        raise AbsentError("--gptq names no folder")
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
        raise AbsentError("--gguf names no file")
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
            raise AbsentError(f"{module} is not installed")


def sides(options: argparse.Namespace) -> dict[str, Callable[[], Round]]:
    """How each side is loaded, by name; loading raises AbsentError where it cannot be."""
    threads = options.threads
    return {
        "onnxruntime int4 (ours)": lambda: ours(options.llm, threads),
        "llama.cpp 4 bit": lambda: in_llama_cpp(options.gguf, threads),
        "gptqmodel int4": lambda: in_gptqmodel(options.gptq, threads),
        "transformers bfloat16": lambda: in_transformers(options.hf, "bfloat16", threads),
        "transformers float32": lambda: in_transformers(options.hf, "float32", threads),
    }


def measure(
    loaders: dict[str, Callable[[], Round]], ids: list[int], tokens: int, rounds: int
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Times of every side that loads, and why the others do not. One short round of each goes unmeasured."""
    loaded: dict[str, Round] = {}
    absent: dict[str, str] = {}
    for name, load in loaders.items():
        try:
            loaded[name] = load()
        except AbsentError as reason:
            absent[name] = str(reason)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in loaded}
    for run in loaded.values():
        run(ids, 4)
    gc.collect()
    for _ in range(rounds):
        for name, run in loaded.items():
            seconds[name].append(run(ids, tokens))
    return {name: _row(times, len(ids), tokens) for name, times in seconds.items()}, absent


def _row(times: Sequence[tuple[float, float]], prompt: int, tokens: int) -> dict[str, float]:
    prefill, decode = np.array(times).T
    per_token_ms = 1000 * decode / tokens
    return {
        **{f"p{q}_ms": round(float(np.percentile(per_token_ms, q)), 3) for q in (50, 90, 99)},
        "per_second": round(1000 / float(np.median(per_token_ms)), 1),
        "best_per_second": round(1000 / float(per_token_ms.min()), 1),
        "prefill_p50_ms": round(1000 * float(np.median(prefill)), 1),
        "prefill_tokens": prompt,
        "n": len(times),
    }


def environment(threads: int) -> dict[str, Any]:
    """What the figures depend on."""
    versions = {}
    for package in ("onnxruntime", "torch", "transformers", "gptqmodel", "llama-cpp-python"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **versions,
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
    stages, absent = measure(sides(options), ids, options.tokens, options.rounds)
    first = next(iter(stages))
    ratios = {
        f"{first} / {name}": round(stages[first]["per_second"] / row["per_second"], 2)
        for name, row in stages.items()
        if name != first
    }
    surroundings = environment(options.threads)
    if options.json:
        print(json.dumps({"stages": stages, "ratios": ratios, "absent": absent, "environment": surroundings}))
        return
    table = Table(title=f"Decoding {options.tokens} tokens after a prompt of {len(ids)}")
    for column in ("side", "tokens/s", "best", "p50 ms", "p90 ms", "prefill ms"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for name, row in stages.items():
        keys = ("per_second", "best_per_second", "p50_ms", "p90_ms", "prefill_p50_ms")
        table.add_row(name, *(f"{row[key]:.1f}" for key in keys))
    console = Console(highlight=False)
    console.print(table)
    for name, ratio in ratios.items():
        console.print(f"{name}: {ratio}x")
    for name, reason in absent.items():
        console.print(f"{name}: left out, {reason}")
    console.print(", ".join(f"{key} {value}" for key, value in surroundings.items()))


if __name__ == "__main__":
    main()
