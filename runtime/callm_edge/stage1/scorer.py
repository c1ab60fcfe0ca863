"""Scoring whole windows: what a scorer is, and the ONNX Runtime one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from callm_edge.stage1.ingest import to_gray_256
from callm_edge.stage1.ort_session import cpu_session
from callm_edge.stage1.ring import SCORED, WINDOW, MirroredRing
from callm_edge.stage1.scores import Scores

__all__ = ["SCORED", "WINDOW", "OrtScorer", "Scorer", "WindowStream"]


class Scorer(Protocol):
    """name: as calibration records it."""

    name: str

    def score(self, windows: np.ndarray) -> Scores:
        """Score (B, 16, 256, 256) uint8 gray windows, oldest frame first."""
        ...


class WindowStream:
    """A stream (see Stream) that has every window scored anew, out of a mirrored ring."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer, self._ring = scorer, MirroredRing()

    def push(self, image: np.ndarray) -> None:
        self._ring.push(to_gray_256(image))

    def score(self) -> Scores | None:
        window = self._ring.window()
        return None if window is None else self._scorer.score(window[None])

    def clear(self) -> None:
        self._ring.clear()


class OrtScorer:
    """ONNX Runtime on the CPU; normalisation and score are in the graph. Calls from several threads are fine.

    It is a scorer of windows and, by its streams, a backend. threads: of one call; 0 leaves it to ONNX Runtime (one per
    core). Raises BundleError where the graph cannot be loaded.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        import onnxruntime

        self._session = cpu_session(path, threads)
        self.name = f"onnxruntime-cpu {onnxruntime.__version__}"

    def score(self, windows: np.ndarray) -> Scores:
        """See Scorer.score."""
        names = ["mse", "psnr_db", "patch_mse", "error_map"]
        return Scores(*self._session.run(names, {"windows": windows}))

    def stream(self) -> WindowStream:
        """See Backend.stream."""
        return WindowStream(self)
