"""What the frozen encoder sees of clips, computed once: it makes tuning on a CPU practical.

Of a clip are kept its frames, the crops around stage 1's error peaks and, for learning only, a guided crop of each
frame: around what is marked as abnormal where all others miss it. So the branch learns from more of what stage 1 may
show. A share of the clips to learn from is seen in gray, as many cameras see.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from callm_edge import atomic
from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.stage1.ort_session import cpu_session
from callm_edge.stage2.clip_encoder import encoded, with_motion
from callm_edge.stage2.motion import CHANNELS, FLOW, GRID
from callm_edge.stage2.pictures import CROPS, clip_pictures
from callm_edge.stage2.strangeness import STRANGE
from callm_edge.stage2.view import ClipView
from callm_export.vlm.clip_set import ClipRecord, ClipSet
from callm_export.vlm.crops import guided_points

LAYOUT = b"ways"  # what is kept of a clip: a part of the folder's name, so that nothing older is taken for it


class Features:
    """Features of the clips of a set, in its folder, by the encoder's sha256.

    vision: vision.onnx of the branch. threads: of ONNX Runtime. gray: share of the clips that are seen in gray.
    """

    def __init__(self, clips: ClipSet, vision: Path, threads: int = 1, gray: float = 0.0) -> None:
        self.clips, self._gray = clips, gray
        self._session: Any = cpu_session(vision, threads)
        digest = hashlib.sha256(vision.read_bytes() + LAYOUT).hexdigest()[:12]
        self.folder = clips.folder / "features" / digest

    def prepare(self, record: ClipRecord) -> None:
        """Compute what is not there yet."""
        path = self._path(record)
        if not path.exists():
            with atomic.replacing(path) as temporary:
                np.save(temporary, self._computed(record))

    def load(self, record: ClipRecord) -> np.ndarray:
        """(F (2 + CROPS), tokens, width + 18 of motion) float16 of the clip's F frames.

        They are followed by the crops by rank and the guided crops; where there is none, nothing stands in its place.
        Raises UserError.
        """
        path = self._path(record)
        try:
            found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path} cannot be read", str(error), "Delete it: it is computed again") from error
        return found

    def in_gray(self, record: ClipRecord) -> bool:
        """Whether this clip is one of those seen in gray: always the same ones."""
        return int(hashlib.sha256(record.name.encode()).hexdigest()[:8], 16) / 2**32 < self._gray

    def _computed(self, record: ClipRecord) -> np.ndarray:
        view = ClipView(Clip.load(self.clips.path(record.name)), CROPS, self.in_gray(record))
        found = self._encoded(view.pictures(), view.motion())
        guided = np.zeros_like(found[: len(view.images)])
        points = {at: point for at, point in enumerate(guided_points(record)) if point is not None}
        if points:
            images = [view.images[at] for at in points]
            pictures = clip_pictures(images, [(point,) for point in points.values()], crops=1)[len(points) :]
            motion = np.stack([view.flow.crop(at, point) for at, point in points.items()])
            guided[list(points)] = self._encoded(pictures, motion)
        return np.concatenate([found, guided])

    def _encoded(self, pictures: np.ndarray, motion: np.ndarray) -> np.ndarray:
        return with_motion(encoded(self._session, pictures), motion).astype(np.float16)

    def _path(self, record: ClipRecord) -> Path:
        return self.folder / f"{record.name}{'.gray' if self.in_gray(record) else ''}.npy"


def mirrored(features: np.ndarray) -> np.ndarray:
    """(P, tokens, width + 18) of pictures -> nearly what they have with left and right exchanged.

    The cells change places, and so do the ways; what the encoder sees in a cell stays as it is.
    """
    found = features.copy()
    cells = found[:, : GRID * GRID]
    cells[:] = cells.reshape(len(found), GRID, GRID, -1)[:, :, ::-1].reshape(cells.shape)
    motion = found[..., -CHANNELS:]
    for ways in (0, FLOW // 2, FLOW, FLOW + STRANGE):  # channels to the right, of which the left is the second next
        motion[..., [ways, ways + 2]] = motion[..., [ways + 2, ways]]
    return found


def elsewhere(features: np.ndarray, far: float, rng: np.random.Generator) -> np.ndarray:
    """(P, tokens, width + 18) of pictures -> float32, the same as if another camera saw another scene.

    Each channel is scaled and shifted, alike in all pictures and tokens, by what is normal with a standard deviation of
    `far`, of the scale and of the channel's own: Li et al., "A Simple Feature Augmentation for Domain Generalization",
    ICCV 2021. Motion is scaled only, its means and its largest flows each for themselves: what lies still does so there
    too, and people who are larger fill more of a cell. How strange the largest is, is so beside what is usual there.
    """
    found = features.astype(np.float32)
    seen, motion = found[..., :-CHANNELS], found[..., -CHANNELS:]
    scale, shift = 1 + far * rng.standard_normal(seen.shape[-1]), far * rng.standard_normal(seen.shape[-1])
    mean = seen.mean((0, 1))
    seen[:] = (seen - mean) * scale + mean + shift * seen.std((0, 1))
    mean, largest = np.exp(far * rng.standard_normal(2))
    motion *= np.repeat([mean, largest, mean, 1], [FLOW // 2, FLOW // 2, STRANGE, STRANGE])
    return found
