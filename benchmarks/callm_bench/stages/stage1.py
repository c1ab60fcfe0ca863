"""Stage 1: every backend that this machine has the parts for, in every preset, at several strides and batches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from callm_bench import footage
from callm_bench.setting import Setting
from callm_bench.stage import Call, SkipError, Stage
from callm_edge.bundle import AUTOENCODER_FP16, Bundle, Decision
from callm_edge.stage1.backend import Backend
from callm_edge.stage1.choose import open_backend, present
from callm_edge.stage1.ring import WINDOW
from callm_edge.stage1.scorer import OrtScorer
from callm_edge.verify import ON_CPU, on_cpu
from callm_export.autoencoder import Autoencoder
from callm_export.exporting import export_stage1, write_bundle

CPU_BACKENDS = ("shared", "onnxruntime")
GPU_BACKENDS = ("tensorrt", "tensorrt-int8", "cuda")
STRIDES = (2, 4, 8)
BATCHES = (4, 8)
FRAMES = 50


def stage_name(preset: str, backend: str) -> str:
    """As rows and ratios name a backend at stride 1."""
    return f"stage 1, {preset}, {backend}"


def stages(setting: Setting) -> list[Stage]:
    """Of each preset all backends at stride 1; of the first also strides, batches, and the GPU's graphs on the CPU."""
    found = []
    for preset in setting.presets:
        for backend in (*CPU_BACKENDS, *GPU_BACKENDS):
            found.append(Stage(stage_name(preset, backend), _stream(setting, preset, backend)))
    first = setting.presets[0]
    for stride in STRIDES:
        name = f"stage 1 at stride {stride}, {first}, shared"
        found.append(Stage(name, _stream(setting, first, "shared", stride), count=stride))
    for batch in BATCHES:
        name = f"stage 1 in batches of {batch}, {first}, onnxruntime"
        found.append(Stage(name, _batch(setting, first, batch), "window", batch))
    for name in ON_CPU:
        note = "what the GPU computes, on the CPU: `verify` counts its flips; its speed says nothing of a GPU"
        found.append(Stage(f"stage 1 for parity, {first}, {name}", _parity(setting, first, name), note=note))
    return found


def bundle_of(setting: Setting, preset: str) -> Bundle:
    """The deployed bundle for its own preset, `untrained` for the others: the time does not depend on the weights."""
    return setting.bundle if preset == setting.bundle.manifest.preset else untrained(preset, setting.folder)


@lru_cache(maxsize=8)
def network(preset: str) -> Autoencoder:
    """The same random weights each time."""
    torch.manual_seed(0)
    return Autoencoder.preset(preset).eval()


@lru_cache(maxsize=8)
def untrained(preset: str, folder: Path) -> Bundle:
    """`network` exported below `folder`."""
    export_stage1(network(preset), folder / preset)
    return write_bundle(folder / preset, preset, preset, {}, Decision(), {})


def rolling(backend: Backend, stride: int = 1) -> Call:
    """A call that takes the next `stride` frames of an endless camera and scores the window of the last."""
    stream, pictures = backend.stream(), footage.looped(footage.images(FRAMES))

    def call() -> object:
        for _ in range(stride):
            stream.push(next(pictures))
        return stream.score()

    for _ in range(WINDOW):
        stream.push(next(pictures))
    call()  # from here on, what neighbouring windows share has been computed before
    return call


def _stream(setting: Setting, preset: str, backend: str, stride: int = 1) -> Callable[[ExitStack], Call]:
    def open_(stack: ExitStack) -> Call:
        bundle = bundle_of(setting, preset)
        if backend in GPU_BACKENDS and backend not in present(bundle):
            raise SkipError("this machine has no NVIDIA GPU, or not the library for it")
        return rolling(open_backend(bundle, backend, setting.threads), stride)

    return open_


def _batch(setting: Setting, preset: str, batch: int) -> Callable[[ExitStack], Call]:
    def open_(stack: ExitStack) -> Call:
        scorer = OrtScorer(bundle_of(setting, preset).score_path, setting.threads)
        windows = np.random.default_rng(0).integers(0, 256, (batch, WINDOW, 256, 256), np.uint8)
        return lambda: scorer.score(windows)

    return open_


def _parity(setting: Setting, preset: str, name: str) -> Callable[[ExitStack], Call]:
    def open_(stack: ExitStack) -> Call:
        bundle = bundle_of(setting, preset)
        if ON_CPU[name] not in bundle.manifest.files:
            how = "" if ON_CPU[name] == AUTOENCODER_FP16 else ": callm-edge export --int8 makes it"
            raise SkipError(f"the bundle holds no {ON_CPU[name]}{how}")
        return rolling(on_cpu(bundle, name))

    return open_
