"""Decoded training footage: gray 256 x 256 frames of many clips in one memory-mapped file.

Footage is decoded once per training run, so that a resumed run starts at once and data larger than memory works.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from callm_edge import atomic
from callm_edge.cascade import DEFAULT_FPS
from callm_edge.errors import SourceError, UserError
from callm_edge.sources import Frame, Source, open_source
from callm_edge.sources.uri import VIDEO_SUFFIXES
from callm_edge.stage1.ingest import to_gray_256
from callm_export.autoencoder import SIZE, WINDOW

PLAZA_CLIPS, PLAZA_SECONDS, PLAZA_FIRST_SEED = 24, 40, 10_000


@dataclass(frozen=True)
class Footage:
    """Clips decoded to what stage 1 sees.

    clips: one (N_i, 256, 256) uint8 array each, views of a memory-mapped file.
    names: of the clips. fps: of all of them.
    """

    names: tuple[str, ...]
    clips: tuple[np.ndarray, ...]
    fps: float

    @property
    def frames(self) -> int:
        return sum(len(clip) for clip in self.clips)

    def split(self, held_out: float = 0.125) -> tuple[Footage, Footage]:
        """Training part and held-out part: every n-th clip, or the last stretch of a single clip.

        Raises SourceError where either part would hold no window.
        """
        if len(self.clips) > 1:
            every = max(2, round(1 / held_out))
            held = {i for i in range(len(self.clips)) if i % every == every - 1} or {len(self.clips) - 1}
            parts = tuple(
                Footage(
                    tuple(n for i, n in enumerate(self.names) if (i in held) == want),
                    tuple(c for i, c in enumerate(self.clips) if (i in held) == want),
                    self.fps,
                )
                for want in (False, True)
            )
        else:
            cut = min(round(len(self.clips[0]) * (1 - held_out)), len(self.clips[0]) - WINDOW)
            parts = tuple(
                Footage(self.names, (part,), self.fps)
                for part in (self.clips[0][: max(cut, 0)], self.clips[0][max(cut, 0) :])
            )
        for part in parts:
            if not any(len(clip) >= WINDOW for clip in part.clips):
                raise SourceError(
                    "There is too little footage to train on",
                    f"{self.frames} frames in {len(self.clips)} clip(s); both parts of it need {WINDOW} in a row",
                    "Record more",
                )
        return parts[0], parts[1]


class ClipSource(Source):
    """A decoded clip as a source, so that it is scored exactly as live footage is."""

    def __init__(self, name: str, frames: np.ndarray, fps: float) -> None:
        self.name, self.fps, self._frames = name, fps, frames

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._frames):
            yield Frame(index, index / (self.fps or DEFAULT_FPS), image)


def clip_sources(data: str) -> list[tuple[str, str]]:
    """(name, source URI) of every clip that a user's data text means.

    'plaza'; a video; a folder of images, of videos, or of clip folders, which may stand under `train/`.
    """
    if data == "plaza":
        return [
            (f"plaza-{seed}", f"test:plaza?seed={seed}&seconds={PLAZA_SECONDS}")
            for seed in range(PLAZA_FIRST_SEED, PLAZA_FIRST_SEED + PLAZA_CLIPS)
        ]
    folder = Path(data)
    if not folder.is_dir():
        return [(Path(data).name if folder.is_file() else data, data)]
    if (folder / "train").is_dir():
        folder = folder / "train"
    clips = sorted(p for p in folder.iterdir() if p.is_dir() or p.suffix.lower() in VIDEO_SUFFIXES)
    return [(clip.name, str(clip)) for clip in clips] or [(folder.name, str(folder))]


def decode(
    sources: Sequence[tuple[str, str]],
    folder: Path,
    limit_seconds: float | None = None,
    fps: float | None = None,
    progress: Callable[[int, float], None] = lambda frames, seconds: None,
) -> Footage:
    """Decode clips into `folder`, or open what an earlier call decoded there.

    limit_seconds: ends each clip early, by the frames' own times. fps: of folders of images.
    progress: is told frames and seconds so far.
    Raises SourceError where no clip holds a window.
    """
    index, data = folder / "footage.json", folder / "footage.u8"
    wanted = {"sources": [list(s) for s in sources], "limit_seconds": limit_seconds, "fps": fps}
    if index.exists() and data.exists():
        known = json.loads(index.read_text())
        if known["wanted"] == wanted:
            return _open(data, known)
    folder.mkdir(parents=True, exist_ok=True)
    lengths: list[int] = []
    rates: list[float] = []
    total, seconds = 0, 0.0
    with atomic.replacing(data) as partial, partial.open("wb") as file:
        for _, uri in sources:
            length, first = 0, None
            with open_source(uri, fps=fps) as source:
                for frame in source:
                    file.write(to_gray_256(frame.image).tobytes())
                    first = frame.time if first is None else first
                    length += 1
                    progress(total + length, seconds + frame.time - first)
                    if limit_seconds is not None and frame.time - first >= limit_seconds:
                        break
            lengths.append(length)
            total += length
            seconds += length / (source.fps or DEFAULT_FPS)
            rates.append(source.fps or DEFAULT_FPS)
    if not any(length >= WINDOW for length in lengths):
        raise SourceError(
            "No clip is long enough", f"a window is {WINDOW} frames, the longest clip has {max(lengths, default=0)}"
        )
    known = {
        "wanted": wanted,
        "names": [name for name, _ in sources],
        "lengths": lengths,
        "fps": float(np.median(rates)),
    }
    atomic.write_text(index, json.dumps(known))
    return _open(data, known)


def opened(folder: Path) -> Footage:
    """The footage that a training run left in `folder`. Raises UserError where there is none."""
    try:
        return _open(folder / "footage.u8", json.loads((folder / "footage.json").read_text()))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"There is no training footage in {folder}", str(error), "Give the --out folder of a training run"
        ) from error


def _open(path: Path, known: dict[str, Any]) -> Footage:
    lengths = known["lengths"]
    frames = np.memmap(path, np.uint8, "r", shape=(sum(lengths), SIZE, SIZE))
    ends = np.cumsum(lengths)
    clips = tuple(frames[end - n : end] for n, end in zip(lengths, ends, strict=True))
    return Footage(tuple(known["names"]), clips, known["fps"])
