"""Stage 1's network in the other ways of running it: plain PyTorch, torch.compile, ONNX Runtime, OpenVINO.

All get the same window, the same weights and the same number of threads, and are timed in turn with ours.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import onnx
import torch

from callm_bench import footage
from callm_bench.peers.full_graph import full_graph
from callm_bench.setting import Setting
from callm_bench.stage import Call, SkipError, Stage
from callm_bench.stages import stage1
from callm_bench.timing import Row
from callm_edge.stage1.ingest import to_gray_256
from callm_edge.stage1.ring import WINDOW
from callm_edge.stage1.scorer import OrtScorer
from callm_export.autoencoder import SCORED, Autoencoder, normalise

PLAIN, COMPILED, FULL = "plain torch loop", "torch.compile", "ONNX Runtime, full graph"
OPENVINO, OPENVINO_OURS = "OpenVINO, full graph", "OpenVINO, our graph of the window"
SIDES = (PLAIN, COMPILED, FULL, OPENVINO, OPENVINO_OURS)


def stages(setting: Setting) -> list[Stage]:
    """The sides of each preset, by the name `PRESET, SIDE`."""
    return [Stage(f"{preset}, {side}", _opener(setting, preset, side)) for preset in setting.presets for side in SIDES]


def ratios(rows: dict[str, Row], presets: tuple[str, ...]) -> dict[str, float]:
    """How many times as long others take as our shared work: medians over the rounds, in each against ours."""
    found = {}
    for preset in presets:
        ours = rows.get(stage1.stage_name(preset, "shared"))
        for side in (*(f"{preset}, {side}" for side in SIDES), stage1.stage_name(preset, "onnxruntime")):
            if ours and side in rows:
                of_rounds = np.divide(rows[side]["rounds_ms"], ours["rounds_ms"])
                short = side.removeprefix("stage 1, ").removeprefix(f"{preset}, ")
                found[f"{preset}: {short} / shared"] = round(float(np.median(of_rounds)), 2)
    return found


def window() -> np.ndarray:
    """(16, 256, 256) uint8 of the plaza."""
    return np.stack([to_gray_256(image) for image in footage.images(WINDOW)])


def plain_score(model: Callable[[torch.Tensor], torch.Tensor], gray: np.ndarray) -> float:
    """The published way: reconstruct all 16 frames, then the PSNR of one of them in numpy. gray: see `window`."""
    with torch.inference_mode():
        x = normalise(torch.from_numpy(gray.copy()))[None, None]
        difference = (model(x)[0, 0, SCORED] - x[0, 0, SCORED]).numpy()
    return float(10 * np.log10(4 / np.mean(difference**2)))


def _opener(setting: Setting, preset: str, side: str) -> Callable[[ExitStack], Call]:
    def open_(stack: ExitStack) -> Call:
        model, gray = stage1.network(preset), window()
        if side in (PLAIN, COMPILED):
            threads = torch.get_num_threads()
            torch.set_num_threads(setting.threads)
            stack.callback(torch.set_num_threads, threads)
            runs = model if side == PLAIN else _compiled(model, setting)
            return lambda: plain_score(runs, gray)
        if side == OPENVINO_OURS:
            return _openvino(str(stage1.bundle_of(setting, preset).score_path), gray, setting.threads)
        path = setting.folder / f"{preset}-full.onnx"
        if not path.exists():
            onnx.save(full_graph(model), str(path))
        if side == OPENVINO:
            return _openvino(str(path), gray, setting.threads)
        scorer = OrtScorer(path, setting.threads)
        return lambda: scorer.score(gray[None])

    return open_


def _compiled(model: Autoencoder, setting: Setting) -> Callable[[torch.Tensor], torch.Tensor]:
    if setting.quick:
        raise SkipError("it compiles for a minute: left out by --quick")
    if not (shutil.which("g++") or shutil.which("clang++")):
        raise SkipError("torch.compile needs a C++ compiler, and there is none")
    compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(model)
    return compiled


def _openvino(path: str, gray: np.ndarray, threads: int) -> Call:
    if importlib.util.find_spec("openvino") is None:
        raise SkipError("openvino is not installed: pip install openvino, or the extra 'bench'")
    import openvino

    # One stream that has all threads: a camera has one frame to be scored at a time.
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, *gray.shape])
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    return lambda: request.infer([gray[None]])
