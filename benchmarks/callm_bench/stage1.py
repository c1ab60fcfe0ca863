"""Latency of the way of a frame up to the decision, part by part: `python -m callm_bench.stage1 [--json]`.

Every part is timed in turn within one run, round after round, so that whatever else the machine does hits all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from callm_edge.decision.box import peak_box
from callm_edge.plaza import FPS, Plaza
from callm_edge.stage1.ingest import to_gray_256
from callm_edge.stage1.ring import MirroredRing
from callm_edge.stage1.scorer import OrtScorer
from callm_export.autoencoder import PRESETS, SCORED, Autoencoder, normalise
from callm_export.onnx_graph import score_graph
from callm_export.score import score_frame

WARM_UP = 2


def parts(folder: Path, presets: list[str]) -> dict[str, Callable[[], object]]:
    """What is timed, by name. Weights are random: the time does not depend on them."""
    frames = iter(Plaza(0, (), 60.0))
    image, _ = next(frames)
    ring = MirroredRing()
    for _ in range(16):
        ring.push(to_gray_256(next(frames)[0]))
    window = ring.window()
    assert window is not None
    gray, error_map = to_gray_256(image), np.random.default_rng(0).random((128, 128), np.float32)
    timed: dict[str, Callable[[], object]] = {
        "plaza frame": lambda: next(frames),
        "ingest": lambda: to_gray_256(image),
        "ring": lambda: ring.push(gray),
        "box": lambda: peak_box(error_map, (640, 360)),
    }
    for preset in presets:
        model = Autoencoder.preset(preset).eval()
        path = folder / f"{preset}.onnx"
        onnx.save(score_graph(model), str(path))
        scorer = OrtScorer(path)
        timed[f"stage 1 {preset}, onnxruntime"] = lambda scorer=scorer: scorer.score(window[None])  # type: ignore[misc]
        timed[f"stage 1 {preset}, torch as published"] = lambda model=model: _torch(model, window)  # type: ignore[misc]
    return timed


@torch.inference_mode()
def _torch(model: Autoencoder, window: np.ndarray) -> object:
    """The published way: reconstruct all 16 frames, then score one of them."""
    x = normalise(torch.from_numpy(window.copy()))[None, None]
    return score_frame(model(x)[:, 0, SCORED], x[:, 0, SCORED])


def measure(timed: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of every part over `rounds` rounds, as percentiles."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for at in range(rounds + WARM_UP):
        for name, call in timed.items():
            began = time.perf_counter()
            call()
            if at >= WARM_UP:
                seconds[name].append(time.perf_counter() - began)
    return {
        name: {
            **{f"p{q}_ms": round(1000 * float(np.percentile(values, q)), 3) for q in (50, 90, 99)},
            "per_second": round(1 / float(np.median(values)), 2),
            "n": len(values),
        }
        for name, values in seconds.items()
    }


def environment() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "camera_fps": FPS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--presets", nargs="+", default=["edge", "nano"], choices=list(PRESETS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stages = measure(parts(Path(folder), options.presets), options.rounds)
    ratios = {
        f"{preset}: torch as published / onnxruntime": round(
            stages[f"stage 1 {preset}, torch as published"]["p50_ms"]
            / stages[f"stage 1 {preset}, onnxruntime"]["p50_ms"],
            2,
        )
        for preset in options.presets
    }
    if options.json:
        print(json.dumps({"stages": stages, "ratios": ratios, "environment": environment()}))
        return
    table = Table(title="One window at a time")
    for column in ("part", "p50 ms", "p90 ms", "p99 ms", "per second"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, row in stages.items():
        table.add_row(name, *(f"{row[key]:.2f}" for key in ("p50_ms", "p90_ms", "p99_ms", "per_second")))
    console = Console(highlight=False)
    console.print(table)
    for name, ratio in ratios.items():
        console.print(f"{name}: {ratio}x")
    console.print(", ".join(f"{key} {value}" for key, value in environment().items()))


if __name__ == "__main__":
    main()
