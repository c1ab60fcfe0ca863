"""A whole benchmark: every part in turn, into one report, which is what `callm-edge bench --json` prints.

{"stages": {NAME: {"p50_ms", "p90_ms", "p99_ms", "per_second", "n", ...}}, "ratios", "skipped", "peers", "scaling",
 "accuracy", "limits", "environment", "seconds"}
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from callm_bench.environment import environment, load
from callm_bench.setting import Setting
from callm_bench.stages import every_stage, stage1, whole
from callm_bench.timing import Measured, Row, measure

Progress = Callable[[str], None]


def run(setting: Setting, progress: Progress = lambda what: None) -> dict[str, Any]:
    """Measure what the setting names. What cannot be measured here is in `skipped`, by name, with the reason."""
    began, surroundings = time.monotonic(), environment(setting.threads)
    report: dict[str, Any] = {"bundle": setting.bundle.name, "quick": setting.quick}
    measured, peers, ratios = _timed(setting, progress)
    report |= {"stages": measured.rows, "ratios": ratios, "skipped": measured.skipped, "peers": peers}
    if "scaling" in setting.parts:
        from callm_bench import scaling

        report["scaling"] = scaling.measure(setting, progress)
    if "accuracy" in setting.parts:
        from callm_bench import accuracy

        report["accuracy"] = accuracy.measure(setting, progress)
    if "limits" in setting.parts:
        from callm_bench.limits import limits

        progress("peaks of this machine")
        report["limits"] = limits(setting, measured.rows)
    if ratio := _whole_to_part(measured, setting):
        report["ratios"]["callm-edge run / stage 1 alone, frames/s"] = ratio
    report["environment"] = surroundings | {"load_after": load()}
    report["seconds"] = round(time.monotonic() - began, 1)
    return report


def _timed(setting: Setting, progress: Progress) -> tuple[Measured, dict[str, Any], dict[str, float]]:
    """Stages, peers and ratios. Ours and their peers take turns in the same rounds: ratios are of the same moments."""
    stages = every_stage(setting) if "stages" in setting.parts else []
    if "peers" not in setting.parts:
        measured = measure(stages, setting.rounds, setting.slice_s, progress)
        measured.add(whole.measure(setting, progress))
        return measured, {}, {}
    from callm_bench.peers import autoencoder, language_model

    listed = {stage.name for stage in stages}
    stages += [stage for stage in stage1.stages(setting) if stage.name not in listed]
    measured = measure([*stages, *autoencoder.stages(setting)], setting.rounds, setting.slice_s, progress)
    ratios = autoencoder.ratios(measured.rows, setting.presets)
    words = language_model.measure(setting, progress)
    ratios |= language_model.ratios(words.rows)
    measured.skipped |= words.skipped
    peers = {
        "network": {preset: {"rows": _sides(measured, preset)} for preset in setting.presets},
        "language_model": {
            "rows": {name: row | ({"ours": True} if "(ours)" in name else {}) for name, row in words.rows.items()}
        },
    }
    if "stages" in setting.parts:
        measured.add(whole.measure(setting, progress))
    return measured, peers, ratios


def _sides(measured: Measured, preset: str) -> dict[str, Row]:
    """Peers' rows of a preset, taken out of the stages, and ours."""
    ours = {
        f"{backend} (ours)": measured.rows[name] | {"ours": True}
        for backend in ("shared", "onnxruntime", "cuda", "tensorrt")
        if (name := stage1.stage_name(preset, backend)) in measured.rows
    }
    prefix = f"{preset}, "
    theirs = {
        name.removeprefix(prefix): measured.rows.pop(name) for name in list(measured.rows) if name.startswith(prefix)
    }
    return ours | theirs


def _whole_to_part(measured: Measured, setting: Setting) -> float | None:
    """Frames per second of the whole run against our fastest stage 1 of the bundle's preset."""
    prefix = f"stage 1, {setting.bundle.manifest.preset}, "
    names = [name for name in measured.rows if name.startswith(prefix)]
    fastest = min(names, key=lambda name: float(measured.rows[name]["p50_ms"]), default="")
    return whole.ratio_to_stage1(measured.rows, fastest)
