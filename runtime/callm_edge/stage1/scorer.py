"""What every stage 1 backend is, and the ONNX Runtime one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from callm_edge.errors import BundleError
from callm_edge.stage1.scores import Scores

WINDOW = 16  # frames
SCORED = 8  # 0-based index of the scored frame in its window: the 9th


class Scorer(Protocol):
    """name: of the backend, as calibration records it."""

    name: str

    def score(self, windows: np.ndarray) -> Scores:
        """Score (B, 16, 256, 256) uint8 gray windows, oldest frame first."""
        ...


class OrtScorer:
    """ONNX Runtime on the CPU; normalisation and score are in the graph. Calls from several threads are fine.

    threads: of one call; 0 leaves it to ONNX Runtime (one per core).
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Idle threads that spin would take the cores that decoding needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise BundleError(f"ONNX Runtime cannot load {path}", str(error), "Export the bundle again") from error
        self.name = f"onnxruntime-cpu {onnxruntime.__version__}"

    def score(self, windows: np.ndarray) -> Scores:
        """See Scorer.score."""
        names = ["mse", "psnr_db", "patch_mse", "error_map"]
        return Scores(*self._session.run(names, {"windows": windows}))
