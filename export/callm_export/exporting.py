"""Trained weights -> the stage 1 files of a bundle, checked against torch before anything trusts them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from callm_edge import atomic
from callm_edge.bundle import AUTOENCODER_FP16, SCORE, SHARED, Bundle, Decision
from callm_edge.errors import UserError
from callm_edge.stage1.backend import Stream
from callm_edge.stage1.scorer import OrtScorer
from callm_edge.stage1.shared import SharedWork
from callm_export.autoencoder import SCORED, SIZE, WINDOW, Autoencoder, normalise
from callm_export.onnx_graph import score_graph
from callm_export.score import score_frame
from callm_export.shared_graphs import shared_graphs

LIMIT = 1e-4  # largest relative difference of the FP32 score
LICENCES = {"weights": "Apache-2.0"}


@dataclass(frozen=True)
class Differences:
    """Largest relative differences from torch in float32 over mse and patch_mse.

    fp32: of the graph of the whole window. shared: of the graphs that share work. fp16: of the float16 graph.
    """

    fp32: float
    shared: float
    fp16: float

    def __str__(self) -> str:
        return f"FP32 {self.fp32:.1e}, shared {self.shared:.1e}, FP16 {self.fp16:.1e}"


def export_stage1(model: Autoencoder, folder: Path, real_windows: np.ndarray | None = None) -> Differences:
    """Write all graphs below `folder` and compare them with torch on random and `real_windows` (N, 16, 256, 256).

    Raises UserError when a float32 score differs by more than 1e-4 relative; the files are then removed.
    """
    model.eval()
    graphs = {SCORE: score_graph(model), AUTOENCODER_FP16: score_graph(model, half=True)}
    graphs |= {f"{SHARED}/{name}.onnx": graph for name, graph in shared_graphs(model).items()}
    for relative, graph in graphs.items():
        with atomic.replacing(folder / relative) as temporary:
            onnx.save(graph, str(temporary))
    windows = np.random.default_rng(0).integers(0, 256, (2, WINDOW, SIZE, SIZE), np.uint8)
    if real_windows is not None:
        windows = np.concatenate([windows, real_windows])
    backends = OrtScorer(folder / SCORE), SharedWork(folder / SHARED), OrtScorer(folder / AUTOENCODER_FP16)
    differences = Differences(*(_difference(model, backend.stream(), windows) for backend in backends))
    worst = max(differences.fp32, differences.shared)
    if not worst <= LIMIT:
        for relative in graphs:
            (folder / relative).unlink()
        raise UserError(
            "The exported score differs from torch's",
            f"by {worst:.1e} relative, {LIMIT:.0e} is allowed",
            "Please report this with the versions of torch and onnxruntime",
        )
    return differences


def write_bundle(
    folder: Path, name: str, preset: str, training: dict[str, Any], decision: Decision, calibration: dict[str, Any]
) -> Bundle:
    """bundle.json over the exported files in `folder`."""
    return Bundle.write(
        folder,
        name=name,
        preset=preset,
        training=training,
        decision=decision,
        calibration=calibration,
        licences=LICENCES,
    )


@torch.inference_mode()
def _difference(model: Autoencoder, stream: Stream, windows: np.ndarray) -> float:
    worst = 0.0
    for window in windows:
        x = normalise(torch.from_numpy(window.copy()))[None, None]
        wanted = score_frame(model.scored_frame(x)[:, 0, 0], x[:, 0, SCORED])
        stream.clear()
        for frame in window:
            stream.push(frame)
        got = stream.score()
        assert got is not None
        for ours, theirs in ((got.mse, wanted.mse), (got.patch_mse, wanted.patch_mse)):
            worst = max(worst, float(np.abs(ours - theirs.numpy()).max() / theirs.numpy().max()))
    return worst
