"""ONNX Runtime sessions on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from callm_edge.errors import BundleError


def cpu_session(path: Path, threads: int = 0) -> Any:
    """Load a graph. threads: of one call; 0 leaves it to ONNX Runtime (one per core). Raises BundleError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads that spin would take the cores that decoding needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BundleError(f"ONNX Runtime cannot load {path}", str(error), "Export the bundle again") from error
