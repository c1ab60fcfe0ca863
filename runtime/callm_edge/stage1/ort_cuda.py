"""Stage 1 on the GPU by ONNX Runtime's CUDA execution provider: the second GPU path, where TensorRT is not.

The float16 graph runs whole on the GPU, score included. Inputs and outputs are bound once to memory that ONNX Runtime
allocated on the GPU, so a frame costs one upload (1 MiB), one run and the download of the score.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from callm_edge.bundle import sha256
from callm_edge.errors import BundleError, UserError
from callm_edge.stage1.ingest import SIZE
from callm_edge.stage1.ring import WINDOW
from callm_edge.stage1.scorer import WindowStream
from callm_edge.stage1.scores import MAP_SIZE, Scores

PROVIDER = "CUDAExecutionProvider"
OUTPUTS = {"mse": (1,), "psnr_db": (1,), "patch_mse": (1,), "error_map": (1, MAP_SIZE, MAP_SIZE)}


def installed() -> bool:
    """Whether the installed ONNX Runtime was built with CUDA."""
    import onnxruntime

    return PROVIDER in onnxruntime.get_available_providers()


class OrtCuda:
    """A Backend (see there). path: of the float16 graph. device: index of the GPU.
    ort: the module onnxruntime, or a fake of it.

    Raises UserError where ONNX Runtime has no CUDA, or cannot start it.
    """

    def __init__(self, path: Path, device: int = 0, ort: Any = None) -> None:
        ort = ort or importlib.import_module("onnxruntime")
        if PROVIDER not in ort.get_available_providers():
            raise UserError(
                "ONNX Runtime has no CUDA",
                f"the installed build offers {', '.join(ort.get_available_providers())}",
                "Run: pip uninstall onnxruntime && pip install 'callm-edge[gpu]'",
            )
        self._ort, self._device = ort, device
        options = ort.SessionOptions()
        options.log_severity_level = 3
        provider = {"device_id": device, "cudnn_conv_algo_search": "EXHAUSTIVE", "do_copy_in_default_stream": True}
        try:
            self._session = ort.InferenceSession(str(path), options, providers=[(PROVIDER, provider)])
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise BundleError(f"ONNX Runtime cannot load {path}", str(error), "Export the bundle again") from error
        # Where CUDA's libraries are missing it only warns, and goes on on the CPU.
        if PROVIDER not in self._session.get_providers():
            raise UserError(
                "ONNX Runtime cannot start CUDA",
                f"it fell back to {', '.join(self._session.get_providers())}",
                "Install the CUDA and cuDNN that this onnxruntime-gpu was built for",
            )
        self.name = f"onnxruntime-cuda-fp16 {ort.__version__}"
        self.graph_sha256 = sha256(path)

    def score(self, windows: np.ndarray) -> Scores:
        """See Scorer.score: any number of windows, copied to the GPU anew."""
        return Scores(*self._session.run(["mse", "psnr_db", "patch_mse", "error_map"], {"windows": windows}))

    def stream(self) -> WindowStream:
        """See Backend.stream."""
        return WindowStream(_Bound(self._ort, self._session, self._device, self.name))


class _Bound:
    """A Scorer of single windows with its own bound memory."""

    def __init__(self, ort: Any, session: Any, device: int, name: str) -> None:
        self.name = name
        self._session = session
        self._binding = session.io_binding()
        self._window = ort.OrtValue.ortvalue_from_shape_and_type((1, WINDOW, SIZE, SIZE), np.uint8, "cuda", device)
        self._binding.bind_ortvalue_input("windows", self._window)
        self._outputs = {
            output: ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cuda", device)
            for output, shape in OUTPUTS.items()
        }
        for output, value in self._outputs.items():
            self._binding.bind_ortvalue_output(output, value)

    def score(self, windows: np.ndarray) -> Scores:
        """(1, 16, 256, 256) uint8 -> Scores."""
        # A window is a view into the ring, which the next frame changes: the upload copies it.
        self._window.update_inplace(np.ascontiguousarray(windows))
        self._binding.synchronize_inputs()
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()
        return Scores(*(value.numpy() for value in self._outputs.values()))
