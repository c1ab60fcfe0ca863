"""Test footage with its ground truth: which frames are abnormal, and where in the picture.

A data set on disk, whose names of clips are the keys of both files:

    test/<clip>/000.jpg ...   or test/<clip>.mp4
    labels.npz                (frames,) of 0 and 1 for each clip, 1 abnormal
    masks.npz                 optional: (frames, H, ceil(W / 8)) uint8, np.packbits of the pixel masks on the last axis

`plaza` stands for a fixed set of synthetic clips.
"""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from callm_edge.errors import UsageError, UserError
from callm_edge.sources import Source, open_source
from callm_edge.sources.uri import VIDEO_SUFFIXES
from callm_edge.stage1.scorer import SCORED, WINDOW

if TYPE_CHECKING:
    from callm_edge.sources.plaza import PlazaSource

PLAZA_CLIPS, PLAZA_SECONDS, PLAZA_FIRST_SEED = 20, 40.0, 20_000
LAYOUT = "Expected are test/<clip>/*.jpg (or test/<clip>.mp4) and labels.npz with one row of 0 and 1 per clip"


@dataclass(frozen=True)
class ClipTruth:
    """What is true of one clip.

    labels: (frames,) bool, True abnormal, of all its frames.
    distances: (N,) float64, pixels from each asked point to the nearest pixel of what is abnormal in its frame: 0
        inside, NaN where nothing is marked; None where the data set marks no pixels in this clip.
    """

    labels: np.ndarray
    distances: np.ndarray | None


class LabelledClip(ABC):
    """One clip of a test set. source: to be read once; frames: how many it should have."""

    name: str
    source: Source
    frames: int

    @abstractmethod
    def truth(self, points: np.ndarray, frames: np.ndarray, size: tuple[int, int]) -> ClipTruth:
        """The truth, asked for after the source was read.

        points: (N, 2) x, y in picture pixels; frames: (N,) the frame of each; size: (width, height) of the picture.
        Raises UserError where masks do not fit the pictures.
        """


class FolderClip(LabelledClip):
    """A clip on disk. masks: masks.npz, if it marks this clip."""

    def __init__(self, name: str, source: Source, labels: np.ndarray, masks: Path | None) -> None:
        self.name, self.source, self.frames = name, source, len(labels)
        self._labels, self._masks = labels, masks

    def truth(self, points: np.ndarray, frames: np.ndarray, size: tuple[int, int]) -> ClipTruth:
        """See LabelledClip.truth."""
        if self._masks is None:
            return ClipTruth(self._labels, None)
        # Read clip by clip: the masks of a large data set do not fit into memory together.
        with np.load(self._masks) as file:
            packed = file[self.name]
        wanted = (self.frames, size[1], (size[0] + 7) // 8)
        if packed.shape != wanted or packed.dtype != np.uint8:
            raise UserError(
                f"The masks of clip '{self.name}' in {self._masks} do not fit",
                f"they are {packed.dtype} {packed.shape}; {self.frames} pictures of {size[0]} x {size[1]} need "
                f"uint8 {wanted}",
                "Write them with np.packbits(mask, axis=-1)",
            )
        distances = [
            mask_distance(np.unpackbits(packed[frame], axis=-1)[:, : size[0]], point)
            for frame, point in zip(frames, points, strict=True)
        ]
        return ClipTruth(self._labels, np.asarray(distances, np.float64))


class PlazaClip(LabelledClip):
    """A clip of the plaza, which knows its own truth."""

    def __init__(self, name: str, source: PlazaSource) -> None:
        self.name, self.source, self.frames = name, source, source.plaza.frames
        self._plaza = source

    def truth(self, points: np.ndarray, frames: np.ndarray, size: tuple[int, int]) -> ClipTruth:
        """See LabelledClip.truth."""
        boxes = self._plaza.plaza.boxes
        distances = [
            min((box_distance(box[1:], point) for box in boxes(int(frame))), default=np.nan)
            for frame, point in zip(frames, points, strict=True)
        ]
        labels = np.array([bool(boxes(index)) for index in range(self.frames)])
        return ClipTruth(labels, np.asarray(distances, np.float64))


def mask_distance(mask: np.ndarray, point: np.ndarray) -> float:
    """Pixels from (x, y), 0.5 being the middle of the first pixel, to the nearest pixel set in (H, W); NaN if none."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return float("nan")
    # A pixel is a square: inside of it the distance is 0.
    dx = np.maximum(np.abs(columns + 0.5 - point[0]) - 0.5, 0)
    dy = np.maximum(np.abs(rows + 0.5 - point[1]) - 0.5, 0)
    return float(np.sqrt((dx**2 + dy**2).min()))


def box_distance(box: tuple[int, int, int, int], point: np.ndarray) -> float:
    """Pixels from (x, y) to the box (x, y, width, height); 0 inside."""
    x, y, width, height = box
    dx = max(x - point[0], 0, point[0] - (x + width))
    dy = max(y - point[1], 0, point[1] - (y + height))
    return float(np.hypot(dx, dy))


def labelled_clips(data: str, fps: float | None = None) -> list[LabelledClip]:
    """The test clips that a user's data text means: a folder of the layout above, or 'plaza'.

    fps: of folders of images. Everything that can be checked before hours of scoring is checked here.
    Raises UserError, naming the file or clip, for what does not fit together.
    """
    if data == "plaza":
        return plaza_clips()
    folder = Path(data)
    if not folder.is_dir():
        raise UsageError(f"There is no folder '{data}'", "", f"Give a data set's folder, or plaza. {LAYOUT}")
    if not (folder / "test").is_dir():
        raise UserError(f"{folder} holds no test footage", f"there is no folder {folder / 'test'}", LAYOUT)
    clips = _clip_paths(folder / "test")
    labels = _labels(folder / "labels.npz")
    _check_names(folder, set(clips), set(labels))
    masks = folder / "masks.npz"
    marked = _masked_clips(masks) if masks.is_file() else set()
    for name, path in clips.items():
        _check_length(name, path, labels[name])
    _check_classes(folder, labels)
    return [
        FolderClip(name, open_source(str(path), fps=fps), labels[name], masks if name in marked else None)
        for name, path in clips.items()
    ]


def plaza_clips(clips: int = PLAZA_CLIPS, seconds: float = PLAZA_SECONDS) -> list[LabelledClip]:
    """Always the same clips of the plaza, two kinds of anomaly in each; seeds that training does not use."""
    from callm_edge.plaza import ANOMALIES
    from callm_edge.sources.plaza import PlazaSource

    found: list[LabelledClip] = []
    for i in range(clips):
        # A step of 3 goes through all pairs of neighbours at that distance, so that no two kinds always meet.
        kinds = (ANOMALIES[i % len(ANOMALIES)], ANOMALIES[(i + 3) % len(ANOMALIES)])
        name = f"{PLAZA_FIRST_SEED + i}"
        found.append(
            PlazaClip(name, PlazaSource(seed=PLAZA_FIRST_SEED + i, anomalies=kinds, seconds=seconds, name=name))
        )
    return found


def _clip_paths(folder: Path) -> dict[str, Path]:
    from callm_edge.sources.folder import natural_key

    clips: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: natural_key(path.name)):
        if path.name.startswith(".") or not (path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES):
            continue
        name = path.name if path.is_dir() else path.stem
        if name in clips:
            raise UserError(
                f"The clip '{name}' is there twice", f"as {clips[name]} and as {path}", "Take one of them away"
            )
        clips[name] = path
    if not clips:
        raise UserError(f"{folder} holds no clips", "it has neither folders of images nor videos in it", LAYOUT)
    return clips


def _open_npz(path: Path) -> np.lib.npyio.NpzFile:
    try:
        file = np.load(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read", str(error), "Write it with np.savez") from error
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise UserError(f"{path} is not an archive of arrays", "it is a single array", "Write it with np.savez")
    return file


def _labels(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"There are no labels for the test footage: {path} is missing", "", LAYOUT)
    labels: dict[str, np.ndarray] = {}
    with _open_npz(path) as file:
        for name in file.files:
            try:
                values = file[name]
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                raise UserError(f"The labels of clip '{name}' in {path} cannot be read", str(error)) from error
            if values.ndim != 1 or not np.isin(values, (0, 1)).all():
                raise UserError(
                    f"The labels of clip '{name}' in {path} are not labels",
                    f"they are {values.dtype} {values.shape}",
                    "Give one row with a 0 (normal) or 1 (abnormal) for each frame",
                )
            labels[name] = values.astype(bool)
    return labels


def _masked_clips(path: Path) -> set[str]:
    with _open_npz(path) as file:
        return set(file.files)


def _check_names(folder: Path, clips: set[str], labels: set[str]) -> None:
    if missing := sorted(clips - labels):
        raise UserError(f"labels.npz in {folder} has no labels for {_listed(missing)}", "", LAYOUT)
    if missing := sorted(labels - clips):
        raise UserError(
            f"{folder / 'test'} lacks clips",
            f"labels.npz has labels for {_listed(missing)}",
            "Complete the copy: a score of a part of the test set is no score of the test set",
        )


def _listed(names: list[str], most: int = 5) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _check_length(name: str, path: Path, labels: np.ndarray) -> None:
    if len(labels) < WINDOW:
        raise UserError(
            f"The clip '{name}' is too short",
            f"it has {len(labels)} labels, and a window is {WINDOW} frames",
            "Take it out of test/ and labels.npz",
        )
    if path.is_dir():  # how many frames a video has shows only when it is decoded
        from callm_edge.sources.uri import is_image

        check_frames(name, sum(is_image(file) for file in path.iterdir()), len(labels))


def check_frames(name: str, frames: int, labels: int) -> None:
    """Raise UserError where a clip has not as many frames as labels."""
    if frames != labels:
        raise UserError(
            f"The clip '{name}' has {frames} frames and {labels} labels",
            "every frame needs its label",
            "Check that the clip is complete and that its labels are its own",
        )


def _check_classes(folder: Path, labels: dict[str, np.ndarray]) -> None:
    scored = np.concatenate([clip[SCORED : len(clip) - (WINDOW - 1 - SCORED)] for clip in labels.values()])
    if scored.all() or not scored.any():
        raise UserError(
            f"The labels in {folder / 'labels.npz'} hold one class only",
            f"all {len(scored)} scored frames are {'abnormal' if scored.all() else 'normal'}",
            "A test set needs both: without normal frames there are no false alarms, without abnormal ones no hits",
        )
