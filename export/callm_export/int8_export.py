"""Adding an int8 graph to a bundle, where it decides as the FP32 reference does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from rich.console import Console

from callm_edge import atomic
from callm_edge.bundle import AUTOENCODER_FP16, AUTOENCODER_INT8, BUILT_IN, Bundle
from callm_edge.errors import BundleError, UsageError, UserError
from callm_edge.sources import open_source
from callm_edge.stage1.ingest import to_gray_256
from callm_edge.stage1.ring import WINDOW
from callm_edge.stage1.scorer import OrtScorer
from callm_edge.verify import verify
from callm_export.int8_graph import int8_graph, quantized_names

WINDOWS = 48  # to quantize on, spread over the footage
SECONDS = 60.0  # of each source
NAME = "onnxruntime-int8"


def add_int8(folder: Path, footage: Sequence[str], max_flips: int, console: Console) -> Bundle:
    """Quantize the half precision graph of the bundle in `folder` on normal footage, verify it on the same, keep it.

    Raises UserError where more than `max_flips` flags of the footage flip; the bundle then stays as it was.
    """
    bundle = Bundle.load(folder)
    if bundle.folder.resolve().is_relative_to(BUILT_IN.resolve()):
        raise UsageError(f"The bundle '{folder}' ships with the package and stays as it is", "", "Copy it first")
    if AUTOENCODER_FP16 not in bundle.manifest.files:
        raise BundleError(
            f"The bundle {folder} has no graph for the GPU", f"no '{AUTOENCODER_FP16}'", "Export it again"
        )
    half = onnx.load(str(bundle.folder / AUTOENCODER_FP16))
    graph = int8_graph(half, _windows(footage))
    path = bundle.folder / AUTOENCODER_INT8
    with atomic.replacing(path) as candidate:  # takes its name only if nothing is raised
        onnx.save(graph, str(candidate))
        backends = {NAME: OrtScorer(candidate)}
        sources = [open_source(uri) for uri in footage]
        parity = verify(bundle, backends, sources, limit_seconds=SECONDS).parities[NAME]
        if parity.flips > max_flips:
            raise UserError(
                f"The int8 graph is refused: {parity.flips} of {parity.windows} flags flip",
                f"its scores differ from FP32 by up to {parity.max_abs_diff_patch_psnr_db:.3f} dB at the worst tile",
                "Give more footage, raise --max-flips, or stay with half precision",
            )
    console.print(
        f"{len(quantized_names(half.graph))} convolutions in int8: {parity.flips} of {parity.windows} flags flip, "
        f"mean difference {parity.mean_abs_diff_psnr_db:.4f} dB of the frame, "
        f"{parity.mean_abs_diff_patch_psnr_db:.4f} dB of the worst tile",
        soft_wrap=True,
    )
    fields = bundle.manifest.model_dump(exclude={"schema_version", "files", "decision"})
    return Bundle.write(bundle.folder, decision=bundle.decision, **fields)


def _windows(footage: Sequence[str]) -> list[np.ndarray]:
    """Windows evenly spread over the sources."""
    found: list[np.ndarray] = []
    for uri in footage:
        frames: list[np.ndarray] = []
        first: float | None = None
        with open_source(uri) as source:
            for frame in source:
                first = frame.time if first is None else first
                if frame.time - first >= SECONDS:
                    break
                frames.append(to_gray_256(frame.image))
        starts = np.linspace(0, len(frames) - WINDOW, max(WINDOWS // len(footage), 1)).astype(int)
        found += [np.stack(frames[start : start + WINDOW]) for start in starts] if len(frames) >= WINDOW else []
    return found
