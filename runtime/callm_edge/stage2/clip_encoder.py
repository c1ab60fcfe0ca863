"""The vision half of the branch on ONNX Runtime: pictures of a clip -> embeddings that the language model reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from callm_edge.errors import BundleError
from callm_edge.stage1.ort_session import cpu_session
from callm_edge.stage2.motion import CHANNELS
from callm_edge.stage2.prompts import FRAMES
from callm_edge.stage2.spec import FORMER, SPEC, VISION, Stage2Spec

AT_ONCE = 2  # pictures of a call: 16 need 350 MB more, and a third more time, since they leave the caches in between


def encoded(session: Any, pictures: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) RGB uint8 through the session of a vision.onnx -> (N, tokens, width of a token) float."""
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: pictures[at : at + AT_ONCE]})[0] for at in range(0, len(pictures), AT_ONCE)]
    return np.concatenate(parts)


def with_motion(features: np.ndarray, motion: np.ndarray | None, channels: int = CHANNELS) -> np.ndarray:
    """(N, tokens, width) of pictures, and (N, cells, 18) of how they move -> (N, tokens, width + channels).

    The first tokens are the cells. None: nothing is known to move. channels: how many of motion's are told.
    """
    joined = np.zeros((*features.shape[:2], features.shape[2] + channels), features.dtype)
    joined[..., : features.shape[2]] = features
    if motion is not None:
        joined[:, : motion.shape[1], features.shape[2] :] = motion[..., :channels]
    return joined


class ClipEncoder:
    """Vision encoder and video former of a branch. Calls from several threads are fine.

    folder: `stage2` of a bundle. width: of the language model that is to read the embeddings, where it is known; read
    it from the object otherwise. threads: of ONNX Runtime; 0 is one per core. crops: of each frame, that the former
    reads. moving: whether it reads motion too. Raises BundleError where a graph is missing, damaged, or made for
    another language model.
    """

    def __init__(self, folder: Path, width: int | None = None, threads: int = 0) -> None:
        self._vision, self._former = cpu_session(folder / VISION, threads), cpu_session(folder / FORMER, threads)
        self.crops = Stage2Spec.read(folder).crops
        pictures, read = FRAMES * (1 + self.crops), self._former.get_inputs()[0].shape[1]
        if isinstance(read, int) and read != pictures:
            raise BundleError(
                f"The parts in {folder} do not fit",
                f"{FORMER} reads {read} pictures, {SPEC} says {pictures}",
                "Copy the bundle again",
            )
        width_read, width_given = self._former.get_inputs()[0].shape[3], self._vision.get_outputs()[0].shape[2]
        self._told = width_read - width_given  # channels of motion: fewer, or none, of an earlier version's branches
        self.moving = self._told > 0
        given = self.width = int(self._former.get_outputs()[0].shape[-1])
        if width is not None and given != width:
            raise BundleError(
                f"The parts in {folder} do not fit",
                f"{FORMER} gives {given} numbers for a video token, the decoder reads {width}",
                "Tune the branch with the language model that is in the bundle",
            )

    def features(self, pictures: np.ndarray, motion: np.ndarray | None = None) -> np.ndarray:
        """(N, S, S, 3) RGB uint8 and (N, cells, 18) of them -> (N, tokens, width of a token) float.

        motion: None where it is not known, as of pictures from elsewhere.
        """
        found = encoded(self._vision, pictures)
        return with_motion(found, motion, self._told) if self.moving else found

    def queries(self, features: np.ndarray) -> np.ndarray:
        """Features of one clip's pictures -> (32, width) float32."""
        given = {self._former.get_inputs()[0].name: features[None].astype(np.float32)}
        found: np.ndarray = self._former.run(None, given)[0][0]
        return found
