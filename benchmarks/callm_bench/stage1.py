"""Latency of the way of a frame up to the decision, ours beside others': `python -m callm_bench.stage1 [--json]`.

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

from callm_bench.full_graph import full_graph
from callm_edge.bundle import SCORE, SHARED
from callm_edge.decision.box import peak_box
from callm_edge.plaza import FPS, Plaza
from callm_edge.power_meter import Energy, PowerMeter, open_meter
from callm_edge.stage1.backend import Stream
from callm_edge.stage1.ingest import to_gray_256
from callm_edge.stage1.ring import MirroredRing
from callm_edge.stage1.scorer import OrtScorer
from callm_edge.stage1.shared import SharedWork
from callm_export.autoencoder import PRESETS, SCORED, Autoencoder, normalise
from callm_export.exporting import export_stage1

WARM_UP = 1  # rounds
BURST = 4  # calls in a row
SIDES = ("plain torch loop", "full graph", "what reaches frame 9", "shared")


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
        export_stage1(model, folder / preset)
        onnx.save(full_graph(model), str(folder / preset / "full.onnx"))
        full, sliced = OrtScorer(folder / preset / "full.onnx"), OrtScorer(folder / preset / SCORE)
        stream = SharedWork(folder / preset / SHARED).stream()

        def shared(stream: Stream = stream) -> object:
            stream.push(gray)
            return stream.score()

        for _ in range(16):
            shared()
        calls: tuple[Callable[[], object], ...] = (
            lambda model=model: _plain_loop(model, window),  # type: ignore[misc]
            lambda full=full: full.score(window[None]),  # type: ignore[misc]
            lambda sliced=sliced: sliced.score(window[None]),  # type: ignore[misc]
            shared,
        )
        timed |= {f"{preset}, {side}": call for side, call in zip(SIDES, calls, strict=True)}
    return timed


@torch.inference_mode()
def _plain_loop(model: Autoencoder, window: np.ndarray) -> float:
    """The published way: reconstruct all 16 frames, then the PSNR of one of them in numpy."""
    x = normalise(torch.from_numpy(window.copy()))[None, None]
    difference = (model(x)[0, 0, SCORED] - x[0, 0, SCORED]).numpy()
    return float(10 * np.log10(4 / np.mean(difference**2)))


def measure(timed: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of every part over `rounds` rounds, as percentiles.

    In each round a part is called several times in a row, as it is on a device, and the first call is not counted: it
    finds the caches full of another part's data.
    """
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for at in range(rounds + WARM_UP):
        for name, call in timed.items():
            for repeat in range(BURST):
                began = time.perf_counter()
                call()
                if at >= WARM_UP and repeat:
                    seconds[name].append(time.perf_counter() - began)
    rows = {
        name: {
            **{f"p{q}_ms": round(1000 * float(np.percentile(values, q)), 3) for q in (50, 90, 99)},
            "per_second": round(1 / float(np.median(values)), 2),
            "n": len(values),
        }
        for name, values in seconds.items()
    }
    if (meter := open_meter()) is not None:
        for name, call in timed.items():
            rows[name]["joules"] = round(joules(meter, call), 4)
    return rows


def joules(meter: PowerMeter, call: Callable[[], object], least_s: float = 2.0) -> float:
    """Of one call, all that the meter sees included, idle power too; over calls that fill `least_s`."""
    count, end = 0, time.monotonic() + least_s
    with Energy(meter) as energy:
        while time.monotonic() < end:
            call()
            count += 1
    return energy.joules / count


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


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--presets", nargs="+", default=["edge"], choices=list(PRESETS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        stages = measure(parts(Path(folder), options.presets), options.rounds)
    ratios = {
        f"{preset}: {side} / shared": round(
            stages[f"{preset}, {side}"]["p50_ms"] / stages[f"{preset}, shared"]["p50_ms"], 2
        )
        for preset in options.presets
        for side in SIDES[:-1]
    }
    if options.json:
        print(json.dumps({"stages": stages, "ratios": ratios, "environment": environment()}))
        return
    table = Table(title="One frame at a time, stride 1")
    keys = ["p50_ms", "p90_ms", "p99_ms", "per_second", *(["joules"] if open_meter() else [])]
    for column in ("part", *(key.replace("_", " ") for key in keys)):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, row in stages.items():
        table.add_row(name, *(f"{row[key]:.2f}" for key in keys))
    console = Console(highlight=False)
    console.print(table)
    for name, ratio in ratios.items():
        console.print(f"{name}: {ratio}x")
    console.print(", ".join(f"{key} {value}" for key, value in environment().items()))


if __name__ == "__main__":
    main()
