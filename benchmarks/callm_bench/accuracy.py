"""Accuracy beside speed: AUC by both protocols, flags that flip, windows per second and memory of every backend.

One scoring of the test set gives all of it: each backend scores every frame once, and is held against the FP32 graph of
the whole window, as `callm-edge verify` does. A stride scores every n-th frame as stride 1 does, so the same scoring
tells what strides cost in accuracy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from callm_bench.resident import Peak
from callm_bench.setting import Setting
from callm_edge.bundle import Bundle
from callm_edge.stage1.backend import Backend
from callm_edge.stage1.choose import open_backend, present
from callm_edge.verify import ON_CPU, REFERENCE, Traces, compare, on_cpu
from callm_export.autoencoder import PRESETS
from callm_export.evaluation import ClipScores, judge, score_clip
from callm_export.ground_truth import ClipTruth, labelled_clips

STRIDES = (1, 2, 4, 8)
BUNDLE = "ped2"
JUDGED = ("auc_paper", "auc_live", "eer_live", "localisation_hit_rate", "events_hit", "stretches", "false_alarms")
# Ntelopoulos and Nasrollahi, "CALLM", 2024, tables I and II. Per cent.
PAPER: dict[str, list[dict[str, object]]] = {
    "The paper's Table I: frame-level AUC": [
        {"method": "CALLM's autoencoder", "Avenue": 80.46, "Ped2": 91.19, "ShanghaiTech": 70.84},
        {"method": "MULDE", "Avenue": 94.3, "Ped2": 99.7, "ShanghaiTech": 86.7},
    ],
    "The paper's Table II: video-level accuracy of the cascade": [
        {"method": "CALLM, 0-shot", "Avenue": 9.52, "Ped2": 8.33, "ShanghaiTech": 22.43},
        {"method": "CALLM, 1-shot", "Avenue": 33.33, "Ped2": 66.66, "ShanghaiTech": 64.86},
    ],
}

Scored = list[tuple[ClipScores, ClipTruth]]


def measure(setting: Setting, progress: Callable[[str], None] = lambda what: None) -> dict[str, Any]:
    """rows by preset and backend, strides, the paper's tables with ours in Table I, and what was skipped, why."""
    found: dict[str, Any] = {"rows": [], "strides": {}, "paper": PAPER, "skipped": {}}
    if setting.data is None:
        found["skipped"]["Ped2"] = "no labelled test set is named: --data FOLDER"
        return found
    if setting.quick:
        found["skipped"]["Ped2"] = "it scores thousands of frames with every backend: left out by --quick"
        return found
    bundle = Bundle.load(BUNDLE)
    fps = setting.fps or bundle.manifest.training.get("fps")
    for preset in PRESETS:
        if preset != bundle.manifest.preset:
            found["skipped"][f"preset {preset}"] = "no trained bundle of it ships"
    backends: dict[str, Callable[[], Backend]] = {}
    for name in (*reversed(present(bundle)), *ON_CPU):  # the reference, which all are held against, comes first
        if name in ON_CPU and ON_CPU[name] not in bundle.manifest.files:
            found["skipped"][name] = f"the bundle holds no {ON_CPU[name]}"
        elif name in ON_CPU:
            backends[name] = lambda name=name: on_cpu(bundle, name)  # type: ignore[misc]
        else:
            backends[name] = lambda name=name: open_backend(bundle, name, setting.threads)  # type: ignore[misc]
    reference: list[Traces] = []
    for name, open_ in backends.items():
        progress(f"scoring {setting.data.name} with {name}")
        peak, began = Peak(), time.perf_counter()
        scored = score(setting.data, open_(), fps)
        seconds, memory_mb = time.perf_counter() - began, peak.mb()
        traces = [Traces(scores.psnr_db, scores.patch_psnr_db) for scores, _ in scored]
        reference = reference or traces
        judged = judge(setting.data.name, bundle.name, bundle.decision, scored).to_dict()
        parity = compare(reference, traces, bundle.decision)
        found["rows"].append(
            {
                "bundle": bundle.name,
                "data": setting.data.name,
                "preset": bundle.manifest.preset,
                "backend": name + (" (FP32 reference)" if name == REFERENCE else ""),
                **{key: judged[key] for key in JUDGED},
                "flips": parity.flips,
                "windows": parity.windows,
                "per_second": round(parity.windows / seconds, 1),
                "memory_mb": memory_mb,
            }
        )
        if name == "shared":
            found["strides"] = strides(setting.data.name, bundle, scored)
    found["paper"] = _with_ours(found["rows"])
    return found


def score(data: Path, backend: Backend, fps: float | None) -> Scored:
    """Every clip of a labelled test set with its truth. fps: where the footage does not say."""
    scored = []
    for clip in labelled_clips(str(data), fps):
        scores = score_clip(clip.source, backend, fps, clip.name)
        scored.append((scores, clip.truth(scores.peaks, scores.frames, scores.size)))
    return scored


def strides(dataset: str, bundle: Bundle, scored: Scored) -> dict[str, dict[str, Any]]:
    """What `callm-edge evaluate` says at each stride, over the frames that are scored then."""
    found = {}
    for stride in STRIDES:
        thinned = [(_every(scores, stride), _truth(truth, stride)) for scores, truth in scored]
        result = judge(dataset, bundle.name, bundle.decision, thinned).to_dict()
        keys = ("auc_paper", "auc_live", "events_hit", "stretches", "false_alarms")
        found[f"stride {stride}"] = {key: result[key] for key in keys}
    return found


def _with_ours(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, object]]]:
    """The paper's tables, Table I with our rows, which were measured on Ped2 alone."""
    row = next((row for row in rows if row["backend"] == "shared"), rows[0])
    whose = f"ours, preset {row['preset']}"
    ours: list[dict[str, object]] = [
        {"method": f"{whose}, {how}", "Avenue": None, "Ped2": round(100 * float(row[key]), 2), "ShanghaiTech": None}
        for how, key in (("the paper's protocol", "auc_paper"), ("live", "auc_live"))
    ]
    first, *others = PAPER
    return {first: [*PAPER[first], *ours], **{name: PAPER[name] for name in others}}


def _every(scores: ClipScores, stride: int) -> ClipScores:
    names = ("psnr_db", "patch_psnr_db", "peaks", "frames")
    return replace(scores, stride=stride, **{name: getattr(scores, name)[::stride] for name in names})


def _truth(truth: ClipTruth, stride: int) -> ClipTruth:
    return truth if truth.distances is None else replace(truth, distances=truth.distances[::stride])
