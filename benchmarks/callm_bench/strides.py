"""What a stride costs and what it loses, and what cameras save by sharing calls: `python -m callm_bench.strides`.

With --data FOLDER (a labelled test set) the accuracy at each stride stands beside the cost. A stride scores every n-th
frame as stride 1 does, so one scoring tells all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from callm_bench.stage1 import environment
from callm_edge.bundle import Bundle
from callm_edge.plaza import Plaza
from callm_edge.stage1.choose import open_backend
from callm_edge.stage1.scorer import OrtScorer
from callm_export.evaluation import ClipScores, judge, score_clip
from callm_export.ground_truth import ClipTruth, labelled_clips

STRIDES = (1, 2, 4, 8)
BATCHES = (1, 2, 4, 8)
WARM_UP = 24


def cost(bundle: Bundle, images: list[np.ndarray], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of stage 1 for each frame of the source, by backend and stride, medians over rounds in turn."""
    streams = {
        f"{backend}, stride {stride}": (open_backend(bundle, backend).stream(), stride)
        for backend in ("shared", "onnxruntime")
        for stride in STRIDES
    }
    seconds: dict[str, list[float]] = {name: [] for name in streams}
    for _ in range(rounds):
        for name, (stream, stride) in streams.items():
            stream.clear()
            began = 0.0
            for index, image in enumerate(images):
                if index == WARM_UP:
                    began = time.perf_counter()
                stream.push(image)
                if index % stride == 0:
                    stream.score()
            seconds[name].append((time.perf_counter() - began) / (len(images) - WARM_UP))
    return {
        name: {"ms_per_frame": round(1000 * float(np.median(s)), 2), "frames_per_second": round(1 / np.median(s), 1)}
        for name, s in seconds.items()
    }


def batches(bundle: Bundle, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds for each window where several cameras share a call of whole windows."""
    scorer = OrtScorer(bundle.score_path)
    windows = np.random.default_rng(0).integers(0, 256, (max(BATCHES), 16, 256, 256), np.uint8)
    seconds: dict[int, list[float]] = {size: [] for size in BATCHES}
    for _ in range(rounds + 1):
        for size in BATCHES:
            began = time.perf_counter()
            scorer.score(windows[:size])
            seconds[size].append((time.perf_counter() - began) / size)
    return {
        f"onnxruntime, batch {size}": {"ms_per_window": round(1000 * float(np.median(s[1:])), 2)}
        for size, s in seconds.items()
    }


def accuracy(bundle: Bundle, data: str, fps: float | None) -> dict[str, dict[str, Any]]:
    """What `callm-edge evaluate` says at each stride, over the frames that are scored."""
    backend = open_backend(bundle)
    scored: list[tuple[ClipScores, ClipTruth]] = []
    for clip in labelled_clips(data, fps):
        scores = score_clip(clip.source, backend, fps, clip.name)
        scored.append((scores, clip.truth(scores.peaks, scores.frames, scores.size)))
    found = {}
    for stride in STRIDES:
        thinned = [(_every(scores, stride), _truth(truth, stride)) for scores, truth in scored]
        result = judge(Path(data).name, bundle.name, bundle.decision, thinned).to_dict()
        found[f"stride {stride}"] = {
            key: result[key] for key in ("auc_paper", "auc_live", "events_hit", "stretches", "false_alarms")
        }
    return found


def _every(scores: ClipScores, stride: int) -> ClipScores:
    names = ("psnr_db", "patch_psnr_db", "peaks", "frames")
    return replace(scores, stride=stride, **{name: getattr(scores, name)[::stride] for name in names})


def _truth(truth: ClipTruth, stride: int) -> ClipTruth:
    return truth if truth.distances is None else replace(truth, distances=truth.distances[::stride])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bundle", default="ped2")
    parser.add_argument("--data", help="labelled test set")
    parser.add_argument("--fps", type=float)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    images = [image for image, _ in Plaza(0, (), 3.0)]
    rows = cost(bundle, images, options.rounds) | batches(bundle, options.rounds)
    judged = accuracy(bundle, options.data, options.fps) if options.data else {}
    if options.json:
        print(json.dumps({"cost": rows, "accuracy": judged, "environment": environment()}))
        return
    console = Console(highlight=False)
    for title, part in (("Cost", rows), ("Accuracy", judged)):
        if part:
            table = Table("", *next(iter(part.values())), title=title)
            for name, row in part.items():
                table.add_row(name, *(str(value) for value in row.values()))
            console.print(table)
    console.print(", ".join(f"{key} {value}" for key, value in environment().items()))


if __name__ == "__main__":
    main()
