"""Whether a threshold was calibrated on the scores of the backend that runs now.

A threshold is only good for the scores it was read off. Half precision, int8 or other weights shift scores by
hundredths of a dB, and near the threshold that decides. So calibration records the backend and the sha256 of what it
computed with, the graph or the very engine, and whoever runs a bundle asks here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from callm_edge.bundle import SCORE, SHARED, Bundle, sha256
from callm_edge.stage1.backend import Backend


def graph_sha256(backend: Backend, folder: Path) -> str:
    """sha256 of what `backend` computes with: the engine file, the graph, or (of several) of their hashes in order.

    folder: of the bundle that it was opened from.
    """
    own = getattr(backend, "graph_sha256", "")
    if own:
        return str(own)
    if _family(backend.name).startswith("shared"):
        parts = [sha256(path) for path in sorted((folder / SHARED).glob("*.onnx"))]
        return hashlib.sha256("".join(parts).encode()).hexdigest()
    return sha256(folder / SCORE)


def calibration_mismatch(bundle: Bundle, backend: Backend) -> str | None:
    """A sentence where `bundle` was not calibrated on `backend`, with what to do; None where it was."""
    calibration: dict[str, Any] = bundle.manifest.calibration
    if not calibration:
        return (
            f"The bundle '{bundle.name}' was never calibrated: its threshold is a guess. "
            "Run: callm-edge calibrate --bundle ... --source NORMAL_FOOTAGE"
        )
    was, recorded = str(calibration.get("backend", "unknown")), calibration.get("graph_sha256")
    advice = "callm-edge verify counts the flags that differ; callm-edge calibrate sets the threshold for this backend."
    if _family(was) != _family(backend.name):
        return f"The threshold was calibrated on {was}; this is {backend.name}. {advice}"
    if recorded and recorded != graph_sha256(backend, bundle.folder):
        what = "engine" if _family(was).startswith("tensorrt") else "graph"
        return f"The threshold was calibrated on another {what} of {_family(was)} than runs now. {advice}"
    return None


def _family(name: str) -> str:
    """'tensorrt-fp16' of 'tensorrt-fp16 10.3.0 sm_87': an update alone is no other backend, its graph decides."""
    return name.split(" ")[0]
