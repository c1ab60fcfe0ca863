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
    # Within a call dozens of kernels of a tenth of a millisecond follow one another: waking threads for each would cost
    # a quarter of the time. Between calls the cores belong to decoding, and nothing may spin.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BundleError(f"ONNX Runtime cannot load {path}", str(error), "Export the bundle again") from error
