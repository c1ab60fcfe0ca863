"""Clips of a data set on disk for stage 2: each video or folder of pictures whole, and random stretches of it.

What is known of them is weak: that a clip is abnormal, perhaps a sentence why. Stage 1 gives the error peaks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from callm_edge.cascade import DEFAULT_FPS
from callm_edge.decision.box import peak_points
from callm_edge.errors import UserError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.evidence import JPEG_QUALITY
from callm_edge.sources import open_source
from callm_edge.stage1.backend import Backend
from callm_edge.stage1.ring import SCORED, WINDOW
from callm_edge.stage2.pictures import shown
from callm_edge.stage2.ways import Ways
from callm_export.footage import clip_sources
from callm_export.ground_truth import labelled_clips
from callm_export.vlm.clip_set import ClipRecord, ClipSet, held

LEAST = 0.6  # of a clip's length: what a random stretch has at least, so that what is wrong in it is not cut out


@dataclass(frozen=True)
class Footage:
    """A video or folder of pictures. name: of its group of clips. uri: of its source. abnormal: whether anywhere."""

    name: str
    uri: str
    abnormal: bool


def data_set(folder: Path, normal: int | None = None) -> list[Footage]:
    """Footage of a folder in the layout of `callm-edge evaluate`: test/ with labels.npz, and normal clips in train/.

    A test clip is abnormal where any frame of it is. A folder without test/ and labels.npz holds normal footage
    alone, as for `callm-edge train`. normal: how many normal clips are taken; None takes as many as there are test
    clips, or all. Raises UserError.
    """
    if folder.is_dir() and not any((folder / name).exists() for name in ("test", "labels.npz")):
        return [Footage(f"train-{name}", uri, False) for name, uri in clip_sources(str(folder))[:normal]]
    tests = labelled_clips(str(folder))
    with np.load(folder / "labels.npz") as labels:
        abnormal = {clip.name: bool(labels[clip.name].any()) for clip in tests}
    found = [Footage(f"test-{name}", str(_path(folder / "test", name)), abnormal[name]) for name in abnormal]
    if not (folder / "train").is_dir():
        raise UserError(f"{folder} holds no normal footage", f"there is no folder {folder / 'train'}")
    trains = clip_sources(str(folder))[: len(tests) if normal is None else normal]
    return [*found, *(Footage(f"train-{name}", uri, False) for name, uri in trains)]


def _path(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_dir() else next(folder.glob(f"{name}.*"))


class FootageClips:
    """Cuts clips of footage into a clip set. backend: of stage 1. fps: of folders of pictures.

    stretches: random stretches of each clip beside the whole, for learning. ways: usual ones, by that bundle.
    """

    def __init__(
        self,
        clips: ClipSet,
        backend: Backend,
        bundle_hash: str = "",
        fps: float | None = None,
        stretches: int = 0,
        ways: Ways | None = None,
    ) -> None:
        self.clips, self._backend, self._bundle_hash, self._ways = clips, backend, bundle_hash, ways
        self._fps, self._stretches = fps, stretches

    def cut(self, footage: Footage, progress: Callable[[], None] = lambda: None) -> list[ClipRecord]:
        """Decode, score and save; the group is complete then. progress: is told of every frame.

        Raises UserError where the footage has no frame.
        """
        frames, size, fps = self._read(footage, progress)
        if not frames:
            raise UserError(f"The clip '{footage.name}' is empty", f"{footage.uri} gave no frame")
        rng = np.random.default_rng(list(footage.name.encode()))
        spans = [(0, len(frames))]
        for _ in range(self._stretches):
            length = round(len(frames) * rng.uniform(LEAST, 1.0))
            first = int(rng.integers(0, len(frames) - length + 1))
            spans.append((first, first + length))
        records = []
        for number, (first, stop) in enumerate(spans):
            name = f"{footage.name}-{number:02d}"
            kept = tuple(frames[first + at] for at in held(stop - first, fps))
            Clip(name, self._bundle_hash, 0.0, kept, self._ways).save(self.clips.path(name))
            seen = [frames[first + at] for at in shown(stop - first)]
            records.append(
                ClipRecord(
                    name=name,
                    group=footage.name,
                    frames=tuple(frame.index for frame in seen),
                    fps=fps,
                    abnormal=footage.abnormal,
                    size=size,
                    peaks=tuple(frame.peaks for frame in seen),
                )
            )
        self.clips.add(footage.name, records)
        return records

    def _read(self, footage: Footage, progress: Callable[[], None]) -> tuple[list[ClipFrame], tuple[int, int], float]:
        """All frames, as JPEG since a long video would not fit into memory; (width, height); frames per second."""
        stream = self._backend.stream()
        frames: list[ClipFrame] = []
        size, last = (0, 0), -1
        with open_source(footage.uri, fps=self._fps) as source:
            for frame in source:
                if frame.index != last + 1:
                    stream.clear()
                last = frame.index
                size = frame.image.shape[1], frame.image.shape[0]
                frames.append(ClipFrame(frame.index, frame.time, _jpeg(frame.image)))
                stream.push(frame.image)
                if (scores := stream.score()) is not None:
                    at = len(frames) - WINDOW + SCORED
                    peaks = peak_points(scores.error_map[0], size)
                    frames[at] = replace(frames[at], score_db=float(scores.patch_psnr_db[0]), peaks=peaks)
                progress()
            fps = self._fps or source.fps or DEFAULT_FPS
        return frames, size, fps


def _jpeg(image: np.ndarray) -> bytes:
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"a frame of shape {image.shape} cannot be written as JPEG")
    return encoded.tobytes()
