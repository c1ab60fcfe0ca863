"""The vision half of the branch on ONNX Runtime: pictures of a clip -> embeddings that the language model reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from callm_edge.errors import BundleError
from callm_edge.stage1.ort_session import cpu_session
from callm_edge.stage2.spec import FORMER, VISION


class ClipEncoder:
    """Vision encoder and video former of a branch. Calls from several threads are fine.

    folder: `stage2` of a bundle. width: of the language model that is to read the embeddings, where it is known; read
    it from the object otherwise. threads: of ONNX Runtime; 0 is one per core. Raises BundleError where a graph is
    missing, damaged, or made for another language model.
    """

    def __init__(self, folder: Path, width: int | None = None, threads: int = 0) -> None:
        self._vision, self._former = cpu_session(folder / VISION, threads), cpu_session(folder / FORMER, threads)
        given = self.width = int(self._former.get_outputs()[0].shape[-1])
        if width is not None and given != width:
            raise BundleError(
                f"The parts in {folder} do not fit",
                f"{FORMER} gives {given} numbers for a video token, the decoder reads {width}",
                "Tune the branch with the language model that is in the bundle",
            )

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) RGB uint8, of one clip or of several -> (N, tokens, width of a token) float."""
        found: np.ndarray = self._vision.run(None, {self._vision.get_inputs()[0].name: pictures})[0]
        return found

    def queries(self, features: np.ndarray) -> np.ndarray:
        """Features of one clip's pictures -> (32, width) float32."""
        given = {self._former.get_inputs()[0].name: features[None].astype(np.float32)}
        found: np.ndarray = self._former.run(None, given)[0][0]
        return found
