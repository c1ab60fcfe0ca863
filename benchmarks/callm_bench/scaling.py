"""How far it goes: many cameras, wider strides, batches, more threads. Curves, each with its knee."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from callm_bench.resident import release, resident_mb
from callm_bench.setting import Setting
from callm_bench.stage import Call
from callm_bench.stages.stage1 import rolling
from callm_edge.plaza import FPS
from callm_edge.stage1.choose import open_backend
from callm_edge.stage1.ring import WINDOW
from callm_edge.stage1.scorer import OrtScorer

Curve = dict[str, Any]
Progress = Callable[[str], None]

CAMERAS, STRIDES, BATCHES = (1, 2, 4, 8, 12, 16), (1, 2, 4, 8, 16), (1, 2, 4, 8, 16)
QUICK_CAMERAS, QUICK_STRIDES, QUICK_BATCHES = (1, 2, 4), (1, 2, 4, 8), (1, 2, 4)


def measure(setting: Setting, progress: Progress = lambda what: None) -> dict[str, Curve]:
    """Each curve: title, x and its values, series by unit (one value for each x), knee (an x or None), note."""
    return {
        "cameras": cameras(setting, progress),
        "stride": stride(setting, progress),
        "batch": batch(setting, progress),
        "threads": threads(setting, progress),
    }


def cameras(setting: Setting, progress: Progress = lambda what: None) -> Curve:
    """A thread for each camera on one shared backend, as `run` does, each as fast as it can."""
    counts = QUICK_CAMERAS if setting.quick else CAMERAS
    seconds = 0.6 if setting.quick else 4.0
    backend = open_backend(setting.bundle, "auto", setting.threads)
    rates, cpu_ms, mb = [], [], []
    calls: list[Call] = []
    release()
    before_mb = resident_mb()
    for count in counts:
        progress(f"{count} cameras")
        while len(calls) < count:
            calls.append(rolling(backend))
        mb.append(round((resident_mb() - before_mb) / count, 1))
        cpu, began = time.process_time(), time.perf_counter()
        frames = _all_at_once(calls, seconds)
        rates.append(round(frames / (time.perf_counter() - began), 1))
        cpu_ms.append(round(1000 * (time.process_time() - cpu) / frames, 2))
    most = rates[-1]
    return {
        "title": "Cameras on this machine",
        "x": "cameras",
        "values": list(counts),
        "series": {
            "frames/s, all cameras": rates,
            "frames/s, each camera": [round(rate / n, 1) for rate, n in zip(rates, counts, strict=True)],
            "CPU ms for a frame": cpu_ms,
            "MB for a camera": mb,
        },
        "knee": knee(counts, rates, rising=True),
        "note": (
            f"Stage 1 alone, every frame scored. {most:g} frames/s with {counts[-1]} cameras are "
            f"{most / FPS:.1f} cameras of {FPS} frames/s at stride 1. Beyond the knee another camera adds less than "
            "the ones before it: what it gets, the others lose. The memory is each one's share, with what all have in "
            "common."
        ),
    }


def stride(setting: Setting, progress: Progress = lambda what: None) -> Curve:
    """Milliseconds for each frame of the source where every n-th window is scored."""
    values = QUICK_STRIDES if setting.quick else STRIDES
    names = ("shared", "onnxruntime") if setting.bundle.shared_path else ("onnxruntime",)
    progress("strides")
    series = {}
    for name in names:
        backend = open_backend(setting.bundle, name, setting.threads)
        took = _in_turn([rolling(backend, n) for n in values], setting)
        series[f"{name}, ms for a frame"] = [round(1000 * s / n, 2) for s, n in zip(took, values, strict=True)]
    return {
        "title": "Every n-th window scored",
        "x": "stride",
        "values": list(values),
        "series": series,
        "knee": knee(values, next(iter(series.values()))),
        "note": "Time of stage 1 for each frame of the source. The accuracy at each stride stands with the accuracy.",
    }


def batch(setting: Setting, progress: Progress = lambda what: None) -> Curve:
    """Milliseconds for a window where windows of several cameras share a call."""
    values = QUICK_BATCHES if setting.quick else BATCHES
    progress("batches")
    scorer = OrtScorer(setting.bundle.score_path, setting.threads)
    windows = np.random.default_rng(0).integers(0, 256, (max(values), WINDOW, 256, 256), np.uint8)
    took = _in_turn([lambda n=n: scorer.score(windows[:n]) for n in values], setting)  # type: ignore[misc]
    each = [round(1000 * s / n, 2) for s, n in zip(took, values, strict=True)]
    return {
        "title": "Windows in one call",
        "x": "batch",
        "values": list(values),
        "series": {"onnxruntime, ms for a window": each},
        "knee": knee(values, each),
        "note": (
            f"Whole windows, no work shared between neighbours. In batches of {values[-1]} a window takes "
            f"{each[-1] / each[0]:.2f} times as long as alone."
        ),
    }


def threads(setting: Setting, progress: Progress = lambda what: None) -> Curve:
    """Frames per second of one camera by threads of one computation, up to one a core."""
    values = list(range(1, setting.threads + 1))
    if len(values) > 6:
        values = sorted({2**n for n in range(12) if 2**n <= setting.threads} | {setting.threads})
    progress("threads")
    took = _in_turn([rolling(open_backend(setting.bundle, "auto", n)) for n in values], setting)
    rates = [round(1 / s, 1) for s in took]
    return {
        "title": "Threads of one computation",
        "x": "threads",
        "values": values,
        "series": {
            "frames/s": rates,
            "times one thread": [round(rate / rates[0], 2) for rate in rates],
        },
        "knee": knee(values, rates, rising=True),
        "note": "",
    }


def knee(x: Sequence[float], y: Sequence[float], rising: bool = False) -> float | None:
    """Where a curve bends most: the point farthest from the line through its ends (Satopaa et al., "Kneedle", 2011).

    rising: more is better, and the curve flattens out above that line; else below. None where no point lies a
    twentieth of the curve's range away on that side, or of a curve with fewer than three points.
    """
    if len(x) < 3 or max(y) == min(y):
        return None
    across = (np.asarray(x, float) - x[0]) / (x[-1] - x[0])
    up = (np.asarray(y, float) - min(y)) / (max(y) - min(y))
    distance = up - (up[0] + (up[-1] - up[0]) * across)
    distance = distance if rising else -distance
    at = int(distance.argmax())
    return float(x[at]) if distance[at] > 0.05 else None


def _all_at_once(calls: Sequence[Call], seconds: float) -> int:
    """Frames that one thread for each call gets through in that time."""
    counts = [0] * len(calls)
    end = time.perf_counter() + seconds

    def work(at: int) -> None:
        while time.perf_counter() < end:
            calls[at]()
            counts[at] += 1

    workers = [threading.Thread(target=work, args=(at,)) for at in range(len(calls))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts)


def _in_turn(calls: Sequence[Call], setting: Setting) -> list[float]:
    """Seconds of each call: medians over rounds in turn, the first round unmeasured."""
    rounds = 3 if setting.quick else max(5, setting.rounds // 2)
    took = np.empty((rounds + 1, len(calls)))
    for at in range(rounds + 1):
        for number, call in enumerate(calls):
            call()  # finds the caches full of another's data
            began = time.perf_counter()
            call()
            took[at, number] = time.perf_counter() - began
    return [float(s) for s in np.median(took[1:], axis=0)]
